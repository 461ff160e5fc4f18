from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum, IntEnum
from pathlib import PurePosixPath
from types import MappingProxyType
from typing import Any
from uuid import UUID

import numpy
import pandas
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reliable_imports import ImportBatchItem
from reliable_imports.items.json_check import MAX_NESTING, JsonChecker
from reliable_imports.items.json_read import loads
from reliable_imports.items.json_write import TooLarge, dumps_item
from tests.sources.files import unhurried
from tests.sources.test_json_lines import JSON_VALUES


class Colour(Enum):
    RED = "red"


class Size(IntEnum):
    LARGE = 3


class Text(str):
    __slots__ = ()


@dataclasses.dataclass
class Point:
    x: int
    at: date


class Customer(pydantic.BaseModel):
    full_name: str = pydantic.Field(alias="fullName")
    since: date


class HostileMapping(Mapping[str, int]):
    def __getitem__(self, name: str) -> int:
        raise ZeroDivisionError

    def __iter__(self) -> Iterator[str]:
        return iter(["a"])

    def __len__(self) -> int:
        return 1

    def __repr__(self) -> str:
        raise ZeroDivisionError


def nested(levels: int, innermost: Any = 1) -> Any:
    made = innermost
    for _ in range(levels):
        made = [made]
    return made


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (
            {"item": ImportBatchItem(1, 2, {"a": 1})},
            '{"item":{"batch_id":1,"item_number":2,"source_data":{"a":1},'
            '"line":null,"offset":null,"attempt":1,"prepared":null}}',
        ),
        ({"b": 1, "a": [True, None, 1.5, "é\n"]}, '{"b":1,"a":[true,null,1.5,"é\\n"]}'),
        ((1, (2,)), "[1,[2]]"),
        ("x", '"x"'),
        (None, "null"),
        ([10**30, -0.0, 1e22], "[" + str(10**30) + ",-0.0,1e22]"),
        ([Decimal("1.10"), Decimal("-0"), Decimal("1E+2")], "[1.10,-0,1E+2]"),
        (Decimal("0.100000000000000000000000000001"), "0.100000000000000000000000000001"),
        (datetime(2013, 1, 2, 3, 4, 5, tzinfo=timezone.utc), '"2013-01-02T03:04:05+00:00"'),
        ([date(2013, 1, 2), time(3, 4)], '["2013-01-02","03:04:00"]'),
        (UUID(int=1), '"00000000-0000-0000-0000-000000000001"'),
        ([Colour.RED, Size.LARGE, {"c": Colour.RED}], '["red",3,{"c":"red"}]'),
        (PurePosixPath("a/b"), '"a/b"'),
        (OrderedDict(b=1, a=Decimal(2)), '{"b":1,"a":2}'),
        (MappingProxyType({"a": {"b": ()}}), '{"a":{"b":[]}}'),
        ({Text("k"): Text("v")}, '{"k":"v"}'),
        (Point(1, date(2013, 1, 2)), '{"x":1,"at":"2013-01-02"}'),
        (Customer(fullName="J", since=date(2013, 1, 2)), '{"fullName":"J","since":"2013-01-02"}'),
        ([float("nan"), {"a": float("-nan")}, (1, float("nan"))], '[null,{"a":null},[1,null]]'),
        ([Decimal("NaN"), Decimal("sNaN"), {1: 2}.get(0)], "[null,null,null]"),
        ([timedelta(days=1, seconds=2, microseconds=500_000), -timedelta(hours=1)], '["P1DT2.5S","-PT3600S"]'),
        ([numpy.int64(-3), numpy.uint64(2**64 - 1), numpy.bool_(True)], "[-3,18446744073709551615,true]"),
        ([numpy.float64(1.5), numpy.float32(0.5), numpy.float64("nan"), numpy.float32("nan")], "[1.5,0.5,null,null]"),
        (numpy.longdouble("0.1000000000000000000"), "0.1"),
        ({numpy.str_("k"): numpy.str_("v")}, '{"k":"v"}'),
        (
            [
                numpy.datetime64("2024-01-02"),
                numpy.datetime64("2024-01-02T03:04:05.120", "ns"),
                numpy.datetime64("NaT"),
            ],
            '["2024-01-02","2024-01-02T03:04:05.12",null]',
        ),
        (
            [numpy.timedelta64(-1500, "ms"), numpy.timedelta64(2, "D"), numpy.timedelta64("NaT")],
            '["-PT1.5S","P2DT0S",null]',
        ),
        ([numpy.array([1, 2]), numpy.array([[1.5], [numpy.nan]]), numpy.array(3)], "[[1,2],[[1.5],[null]],3]"),
        (numpy.array(["2024-01-02"], dtype="datetime64[ns]"), '["2024-01-02T00:00:00"]'),
        ([pandas.NA, pandas.NaT], "[null,null]"),
        (
            [pandas.Timestamp("2024-01-02T03:04:05.000000001"), pandas.Timestamp("2024-01-02", tz="UTC")],
            '["2024-01-02T03:04:05.000000001","2024-01-02T00:00:00+00:00"]',
        ),
        (pandas.Timedelta(days=1, nanoseconds=1), '"P1DT0.000000001S"'),
        (pandas.Series({"a": 1.5, "b": None}), '{"a":1.5,"b":null}'),
        ({"n": 10**5000}, '{"n":1' + "0" * 5000 + "}"),
        (nested(MAX_NESTING), "[" * MAX_NESTING + "1" + "]" * MAX_NESTING),
        (nested(MAX_NESTING, Decimal(1)), "[" * MAX_NESTING + "1" + "]" * MAX_NESTING),
    ],
)
def test_each_python_type_has_its_documented_text(value: object, text: str) -> None:
    item = dumps_item(value)
    assert item.problem is None
    assert item.text == text
    assert JsonChecker().check(text) is None


@pytest.mark.parametrize(
    ("value", "kind", "problem"),
    [
        ({"items": [0, {"price": float("inf")}]}, "not-json-value", "$.items[1].price: Infinity is not JSON"),
        ([numpy.float64("inf")], "not-json-value", "$[0]: Infinity is not JSON"),
        ([numpy.complex128(1)], "not-json-value", "$[0]: a value of type complex128 is not JSON"),
        ([numpy.timedelta64(1, "M")], "not-json-value", "$[0]: a value of type timedelta64 is not JSON"),
        ([pandas.Series([1])], "not-json-value", "$[0]: an object's key of type int is not JSON"),
        ({"a": float("-inf")}, "not-json-value", "$.a: Infinity is not JSON"),
        ([Decimal("-Infinity")], "not-json-value", "$[0]: Infinity is not JSON"),
        ({"a b": b"x"}, "not-json-value", '$["a b"]: a value of type bytes is not JSON'),
        ({"a": {1}}, "not-json-value", "$.a: a value of type set is not JSON"),
        ({1: "x", "1": "y"}, "not-json-value", "$: an object's key of type int is not JSON"),
        ({"a": [{None: 1}]}, "not-json-value", "$.a[0]: an object's key of type NoneType is not JSON"),
        (object, "not-json-value", "$: a value of type type is not JSON"),
        (HostileMapping(), "not-json-value", "$: reading the item raised ZeroDivisionError"),
        (nested(MAX_NESTING + 1), "too-deep", "levels deep"),
        (nested(100_000), "too-deep", "levels deep"),
        (nested(100_000, {1}), "too-deep", "levels deep"),
    ],
)
def test_what_json_cannot_hold_is_a_problem_that_says_where(value: object, kind: str, problem: str) -> None:
    item = dumps_item(value)
    assert (item.text, item.kind) == (None, kind)
    assert problem in str(item.problem)
    assert item.raw


def test_what_contains_itself_is_a_problem() -> None:
    mapping: dict[str, object] = {"secret": "value"}
    mapping["self"] = mapping
    item = dumps_item(mapping)
    assert item.kind == "too-deep"
    assert "value" not in str(item.problem)
    assert len(str(item.problem)) < 500


def test_the_repr_that_is_kept_is_exact_but_bounded() -> None:
    small = {"a": [1, (2,), "é\ud800", b"\xff", {1.5: None}], "b": {3}}
    assert dumps_item(small).raw == repr(small).encode("utf-8", "backslashreplace")
    bomb: Any = {1}
    for _ in range(40):
        bomb = [bomb, bomb]
    for huge in (["x" * 10_000_000, {1}], [{1}, *range(10_000_000)], {"a": b"x" * 10_000_000}):
        raw = dumps_item(huge).raw
        assert raw is not None
        assert len(raw) < 70_000
    assert len(dumps_item({"a": {1}, "bomb": bomb}).raw or b"") < 70_000
    assert dumps_item([{1}, HostileMapping()]).raw == b"[{1}, <HostileMapping without a repr>]"


@pytest.mark.parametrize("value", ["a\0b", {"\0": 1}, ["\ud800"], {"k": {"\udfff": "é"}}, [Decimal(1), "\0"]])
def test_nul_characters_and_lone_surrogates_are_kept_raw_and_come_back(value: object) -> None:
    item = dumps_item(value)
    assert (item.text, item.problem) == (None, None)
    assert item.raw is not None
    assert loads(item.raw) == value
    item.raw.decode("utf-8")


def test_text_that_only_looks_like_an_escape_is_text() -> None:
    assert dumps_item("\\u0000 \\ud800").text == '"\\\\u0000 \\\\ud800"'


def test_an_item_over_the_limit_is_refused() -> None:
    assert dumps_item("é" * 50, max_bytes=102).text is not None
    with pytest.raises(TooLarge, match="103 bytes of JSON, and the limit is 102"):
        dumps_item("é" * 50 + "x", max_bytes=102)


@unhurried
@given(JSON_VALUES)
def test_json_values_come_back_exactly(value: Any) -> None:
    item = dumps_item(value)
    assert item.problem is None
    stored = item.text if item.text is not None else item.raw
    assert stored is not None
    assert loads(stored) == value
    assert json.dumps(loads(stored)) == json.dumps(value)


@unhurried
@given(JSON_VALUES, st.booleans(), st.sampled_from([None, 2]))
def test_text_is_read_as_the_standard_library_reads_it(value: Any, ensure_ascii: bool, indent: int | None) -> None:
    text = json.dumps(value, ensure_ascii=ensure_ascii, indent=indent)
    assert repr(loads(text)) == repr(json.loads(text))


@given(st.from_regex(r"-?(0|[1-9][0-9]{0,40})(\.[0-9]{1,40})?([eE][+-]?[0-9]{1,3})?", fullmatch=True))
def test_numbers_are_read_as_the_standard_library_reads_them(text: str) -> None:
    expected = json.loads(text)
    if expected in (float("inf"), float("-inf")):
        with pytest.raises(ValueError, match="too large for a float"):
            loads(text)
    else:
        assert repr(loads(text)) == repr(expected)
    assert loads(text, decimals=True) == json.loads(text, parse_float=Decimal)


@given(
    st.recursive(
        st.decimals(allow_nan=False, allow_infinity=False),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_decimals_come_back_with_all_their_digits(value: Any) -> None:
    item = dumps_item(value)
    assert loads(item.text if item.text is not None else item.raw or b"", decimals=True) == value


def test_numbers_are_floats_unless_decimals_are_asked_for() -> None:
    assert loads('{"a":0.1,"b":1}') == {"a": 0.1, "b": 1}
    exact = loads(b'{"a":0.10,"b":1,"c":1e999}', decimals=True)
    assert (str(exact["a"]), exact["b"], exact["c"]) == ("0.10", 1, Decimal("1e999"))


@pytest.mark.parametrize(
    ("text", "decimals", "problem"),
    [
        ('{"a":1e999}', False, "1e999 is too large for a float"),
        ("-1e999", False, "-1e999"),
        ("[1e99999999999999999999]", True, "too large for a Decimal"),
        ("NaN", False, "NaN is not JSON"),
        ("[-Infinity]", True, "-Infinity is not JSON"),
        ("9" * 5000, False, "an integer has more than 4300 digits"),
        ("[" * 100_000, False, "levels deep"),
        ("{", False, "Expecting property name"),
    ],
)
def test_what_python_cannot_hold_is_a_plain_value_error(text: str, decimals: bool, problem: str) -> None:
    with pytest.raises(ValueError, match=problem) as caught:
        loads(text, decimals=decimals)
    assert type(caught.value) in (ValueError, json.JSONDecodeError)


def test_check_says_what_is_wrong() -> None:
    assert JsonChecker().check('{"a":[1,2.5e-3,"x",null]}') is None
    assert JsonChecker().check("[1e999]") is None
    problem = JsonChecker().check('{"a":{"k":1,"k":2}}')
    assert problem is not None
    assert problem == ("repeated-key", 'the key "k" is repeated in one object')
    broken = JsonChecker().check('{"name":"Doe" "x"}')
    assert broken is not None
    assert broken.kind == "bad-json"
    assert "Doe" not in broken.text


def test_brackets_in_strings_are_no_nesting() -> None:
    assert JsonChecker().check('["' + "[" * 1000 + '\\"[","' + "{" * 1000 + '"]') is None
    assert JsonChecker().check("[" + ",".join(["[]"] * 1000) + "]") is None


def test_nothing_heavy_is_imported() -> None:
    code = """
import sys, reliable_imports.sources, reliable_imports.items.json_write
assert reliable_imports.items.json_write.dumps_item([{1}, float("nan")]).problem
assert not {"ijson", "pydantic", "click", "rich", "dagster", "numpy", "pandas"} & set(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_the_records_of_a_data_frame_are_items() -> None:
    frame = pandas.DataFrame(
        {
            "id": [1, 2],
            "qty": [3.0, None],
            "at": pandas.to_datetime(["2024-01-01", None]),
            "count": pandas.array([7, None], dtype="Int64"),
            "name": pandas.array(["x", None], dtype="string"),
            "kind": pandas.Categorical(["a", None]),
        }
    )
    expected = [
        '{"id":1,"qty":3.0,"at":"2024-01-01T00:00:00","count":7,"name":"x","kind":"a"}',
        '{"id":2,"qty":null,"at":null,"count":null,"name":null,"kind":null}',
    ]
    assert [dumps_item(record).text for record in frame.to_dict("records")] == expected
    assert [dumps_item(row).text for _, row in frame.iterrows()] == expected
