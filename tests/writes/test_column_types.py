"""What is written is what was given, for every type of a column: alone, in bulk, with `returning`, and inserted."""

from __future__ import annotations

import enum
import ipaddress
import json
import pathlib
import uuid
from collections.abc import Mapping
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any, NamedTuple

import psycopg2
import psycopg2.extras
import pydantic
import pytest

from reliable_imports import BaseProcessor, BatchManager, ImportBatchItem, ImportContext, TableProcessor
from tests.writes.conftest import Register, Sql, said

pytestmark = pytest.mark.promise(2)

VALUES: list[Any] = []
"""What the items write; JSON could not hold all of it."""

TYPES = """
CREATE EXTENSION citext;
CREATE EXTENSION hstore;
CREATE TYPE colour AS ENUM ('red', 'light green');
CREATE TYPE pair AS (n integer, label text);
CREATE TYPE nest AS (inner_pair pair, numbers integer[]);
CREATE DOMAIN positive AS integer CHECK (VALUE > 0);
CREATE DOMAIN document AS jsonb CHECK (VALUE IS NOT NULL);
CREATE DOMAIN numbers AS integer[];
CREATE DOMAIN tone AS colour;
CREATE DOMAIN identifier AS uuid;
CREATE DOMAIN couple AS pair;
CREATE DOMAIN span AS int4range;
CREATE DOMAIN three AS varchar(3);
CREATE DOMAIN nested_document AS document;
"""


class Colour(enum.Enum):
    RED = "red"
    LIGHT_GREEN = "light green"


class Size(enum.IntEnum):
    LARGE = 3


class Shade(str, enum.Enum):
    RED = "red"


class Pair(NamedTuple):
    n: int | None
    label: str | None


class Line(pydantic.BaseModel):
    sku: str
    at: date | None = None


UUID = uuid.UUID("5f0c2a52-8f5e-4a53-9d0e-0b7d4d7d9a01")
UUID_TEXT = "5f0c2a52-8f5e-4a53-9d0e-0b7d4d7d9a01"
DAY = date(2024, 2, 29)
NOON = datetime(2024, 2, 29, 12, 30, 0, 500)
IN_BERLIN = datetime(2024, 2, 29, 12, 30, tzinfo=timezone(timedelta(hours=1)))
LONG = Decimal("0.10000000000000000000000001")
THIRTY = Decimal("12345678901234567890.1234567890")

_JSON: list[tuple[Any, str]] = [
    ([], "[]"),
    ({}, "{}"),
    (["a", "b"], '["a", "b"]'),
    ([1, 2], "[1, 2]"),
    ([1, "a", None, True, 1.5], '[1, "a", null, true, 1.5]'),
    ([[9.1, 48.2], [9.2, 48.3]], "[[9.1, 48.2], [9.2, 48.3]]"),
    ([[]], "[[]]"),
    ([{"a": 1}], '[{"a": 1}]'),
    ([[1], {"a": []}], '[[1], {"a": []}]'),
    ("123", '"123"'),
    ("hello", '"hello"'),
    ("", '""'),
    ("null", '"null"'),
    ('{"a": 1}', '"{\\"a\\": 1}"'),
    ('it\'s \\ 100% "é"', '"it\'s \\\\ 100% \\"é\\""'),
    (True, "true"),
    (False, "false"),
    (0, "0"),
    (10**29, "100000000000000000000000000000"),
    (1.5, "1.5"),
    (Decimal("1.10"), "1.10"),
    (LONG, "0.10000000000000000000000001"),
    (DAY, '"2024-02-29"'),
    (NOON, '"2024-02-29T12:30:00.000500"'),
    (time(12, 30), '"12:30:00"'),
    (UUID, f'"{UUID_TEXT}"'),
    (Colour.RED, '"red"'),
    (Size.LARGE, "3"),
    (Shade.RED, '"red"'),
    (pathlib.PurePosixPath("/a/b"), '"/a/b"'),
    (ipaddress.ip_address("10.0.0.1"), '"10.0.0.1"'),
    ((1, "a"), '[1, "a"]'),
    ((), "[]"),
    ({"a"}, '["a"]'),
    (set(), "[]"),
    (frozenset({7}), "[7]"),
    (Pair(1, "a"), '[1, "a"]'),
    (Line(sku="A", at=DAY), '{"at": "2024-02-29", "sku": "A"}'),
    ([Line(sku="A")], '[{"at": null, "sku": "A"}]'),
    ({"at": DAY, "each": [THIRTY, UUID, Colour.RED, {"in": {NOON}}]},
     f'{{"at": "2024-02-29", "each": [{THIRTY}, "{UUID_TEXT}", "red", {{"in": ["2024-02-29T12:30:00.000500"]}}]}}'),
    (psycopg2.extras.Json({"a": [1]}), '{"a": [1]}'),
    (psycopg2.extras.Json("x"), '"x"'),
    (psycopg2.extras.Json(None), "null"),
]  # fmt: skip

COLUMNS: dict[str, list[tuple[Any, str | None]]] = {
    "json": [*_JSON, (None, None)],
    "jsonb": [*_JSON, (None, None)],
    "integer[]": [
        ([], "{}"),
        ([1, 2], "{1,2}"),
        ([1, None], "{1,NULL}"),
        ([None], "{NULL}"),
        ([[1, 2], [3, 4]], "{{1,2},{3,4}}"),
        ([[]], "{}"),
        ((1, 2), "{1,2}"),
        ({7}, "{7}"),
        (set(), "{}"),
        ([Size.LARGE], "{3}"),
        ("{1,2}", "{1,2}"),
        ("{}", "{}"),
        (None, None),
    ],
    "bigint[]": [([2**62, -1], "{4611686018427387904,-1}")],
    "text[]": [
        ([], "{}"),
        (["a", "b c"], '{a,"b c"}'),
        (
            ["NULL", "null", "", "x,y", 'q"u', "\\b", "{}", " s ", None],
            '{"NULL","null","","x,y","q\\"u","\\\\b","{}"," s ",NULL}',
        ),
        (["%s", "it's", "é\n"], '{%s,it\'s,"é\n"}'),
        ([["a"], ["b"]], "{{a},{b}}"),
        ([[["a", None]]], "{{{a,NULL}}}"),
        (("a", "b"), "{a,b}"),
        ({"a"}, "{a}"),
        ([UUID, pathlib.PurePosixPath("/x"), Colour.LIGHT_GREEN], f'{{{UUID_TEXT},/x,"light green"}}'),
    ],
    "varchar(2)[]": [(["ab", "c"], "{ab,c}")],
    "boolean[]": [([True, False, None], "{t,f,NULL}")],
    "numeric[]": [([Decimal("1.10"), LONG, 1, 1.5], "{1.10,0.10000000000000000000000001,1,1.5}")],
    "uuid[]": [
        ([UUID, UUID], f"{{{UUID_TEXT},{UUID_TEXT}}}"),
        ([UUID_TEXT.upper()], f"{{{UUID_TEXT}}}"),
        ([[UUID], [None]], f"{{{{{UUID_TEXT}}},{{NULL}}}}"),
        ([], "{}"),
    ],
    "colour[]": [
        ([Colour.RED, Colour.LIGHT_GREEN], '{red,"light green"}'),
        (["red", None], "{red,NULL}"),
        ({Shade.RED}, "{red}"),
        ([[Colour.RED]], "{{red}}"),
        ([], "{}"),
    ],
    "jsonb[]": [
        ([{"a": 1}, {"b": [DAY]}], '{"{\\"a\\": 1}","{\\"b\\": [\\"2024-02-29\\"]}"}'),
        (["x", "5", 5, True], '{"\\"x\\"","\\"5\\"",5,true}'),
        ([{"a": 1}, None], '{"{\\"a\\": 1}",NULL}'),
        ([Line(sku="A")], '{"{\\"at\\": null, \\"sku\\": \\"A\\"}"}'),
        ([], "{}"),
    ],
    "date[]": [([DAY, None], "{2024-02-29,NULL}"), (["2024-02-29"], "{2024-02-29}"), ([], "{}")],
    "timestamp[]": [([NOON], '{"2024-02-29 12:30:00.0005"}')],
    "interval[]": [([timedelta(hours=2)], "{02:00:00}")],
    "bytea[]": [([b"\x00\xff"], '{"\\\\x00ff"}')],
    "inet[]": [([ipaddress.ip_address("10.0.0.1")], "{10.0.0.1}")],
    "pair[]": [([(1, "a b"), Pair(2, None)], '{"(1,\\"a b\\")","(2,)"}'), ([], "{}")],
    "int4range[]": [([psycopg2.extras.NumericRange(1, 5)], '{"[1,5)"}')],
    "positive[]": [([1, 2], "{1,2}")],
    "hstore": [
        ({"a": "1", "b": None}, '"a"=>"1", "b"=>NULL'),
        ({"n": 1, "d": DAY, "x": Decimal("1.10")}, '"d"=>"2024-02-29", "n"=>"1", "x"=>"1.10"'),
        ({"it's": 'q"u\\e, =>'}, '"it\'s"=>"q\\"u\\\\e, =>"'),
        ({}, ""),
        ("a=>1", '"a"=>"1"'),
        (None, None),
    ],
    "int4range": [
        (psycopg2.extras.NumericRange(1, 5), "[1,5)"),
        (psycopg2.extras.NumericRange(1, 5, "(]"), "[2,6)"),
        (psycopg2.extras.NumericRange(None, 5), "(,5)"),
        (psycopg2.extras.NumericRange(empty=True), "empty"),
        ("[1,5]", "[1,6)"),
        (None, None),
    ],
    "int8range": [(psycopg2.extras.NumericRange(2**40, None), "[1099511627776,)")],
    "numrange": [
        (psycopg2.extras.NumericRange(Decimal("1.10"), LONG + 2, "[]"), "[1.10,2.10000000000000000000000001]"),
        ("(1.5,)", "(1.5,)"),
    ],
    "daterange": [
        (psycopg2.extras.DateRange(DAY, date(2024, 3, 2)), "[2024-02-29,2024-03-02)"),
        ("[2024-02-29,2024-03-01]", "[2024-02-29,2024-03-02)"),
    ],
    "tsrange": [
        (
            psycopg2.extras.DateTimeRange(NOON, NOON + timedelta(days=1)),
            '["2024-02-29 12:30:00.0005","2024-03-01 12:30:00.0005")',
        ),
    ],
    "tstzrange": [
        (
            psycopg2.extras.DateTimeTZRange(IN_BERLIN, None),
            '["2024-02-29 11:30:00+00",)',
        ),
    ],
    "int4multirange": [("{[1,3),[5,7)}", "{[1,3),[5,7)}"), ("{}", "{}")],
    "pair": [
        ((1, "a b"), '(1,"a b")'),
        (Pair(1, 'it\'s "so", (x)\\'), '(1,"it\'s ""so"", (x)\\\\")'),
        (Pair(1, None), "(1,)"),
        ((None, ""), '(,"")'),
        ("(1,x)", "(1,x)"),
        (None, None),
    ],
    "nest": [(((1, "a"), [1, 2]), '("(1,a)","{1,2}")'), ((Pair(1, "a"), []), '("(1,a)",{})')],
    "positive": [(7, "7"), ("007", "7"), (Size.LARGE, "3")],
    "document": [([], "[]"), (["a"], '["a"]'), ("x", '"x"'), ({"a": DAY}, '{"a": "2024-02-29"}')],
    "nested_document": [([], "[]"), ("5", '"5"')],
    "numbers": [([1, 2], "{1,2}"), ([], "{}"), ((1,), "{1}")],
    "tone": [(Colour.LIGHT_GREEN, "light green"), ("red", "red")],
    "identifier": [(UUID, UUID_TEXT), (UUID_TEXT.upper(), UUID_TEXT)],
    "couple": [((1, "a"), "(1,a)"), (Pair(2, None), "(2,)")],
    "span": [(psycopg2.extras.NumericRange(1, 5), "[1,5)"), ("[1,5]", "[1,6)")],
    "three": [("abc", "abc"), ("a", "a")],
    "colour": [(Colour.RED, "red"), (Shade.RED, "red"), ("light green", "light green"), (None, None)],
    "uuid": [(UUID, UUID_TEXT), (UUID_TEXT.upper(), UUID_TEXT), (f"{{{UUID_TEXT}}}", UUID_TEXT), (None, None)],
    "inet": [
        (ipaddress.ip_address("10.0.0.1"), "10.0.0.1/32"),
        (ipaddress.ip_interface("10.0.0.1/24"), "10.0.0.1/24"),
        (ipaddress.ip_address("::1"), "::1/128"),
        ("10.0.0.1", "10.0.0.1/32"),
    ],
    "cidr": [
        (ipaddress.ip_network("10.0.0.0/8"), "10.0.0.0/8"),
        (ipaddress.ip_network("2001:db8::/32"), "2001:db8::/32"),
    ],
    "macaddr": [("08:00:2B:01:02:03", "08:00:2b:01:02:03")],
    "bytea": [
        (b"", "\\x"),
        (b"\x00\x01\xff'\\", "\\x0001ff275c"),
        (bytearray(b"ab"), "\\x6162"),
        (memoryview(b"ab"), "\\x6162"),
        ("\\x6162", "\\x6162"),
        (None, None),
    ],
    "interval": [
        (timedelta(days=1, hours=2), "1 day 02:00:00"),
        (timedelta(0), "00:00:00"),
        (timedelta(milliseconds=1), "00:00:00.001"),
        ("1 mon", "1 mon"),
    ],
    "time": [(time(12, 30, 0, 5), "12:30:00.000005"), ("24:00", "24:00:00")],
    "timetz": [
        (time(12, 30, tzinfo=timezone(timedelta(hours=2))), "12:30:00+02"),
        ("12:30+02", "12:30:00+02"),
    ],
    "date": [(DAY, "2024-02-29"), ("2024-02-29", "2024-02-29"), ("infinity", "infinity"), (None, None)],
    "timestamp": [
        (NOON, "2024-02-29 12:30:00.0005"),
        (DAY, "2024-02-29 00:00:00"),
        ("2024-02-29T12:30", "2024-02-29 12:30:00"),
        (datetime.max, "9999-12-31 23:59:59.999999"),
    ],
    "timestamptz": [
        (IN_BERLIN, "2024-02-29 11:30:00+00"),
        ("2024-02-29T12:30:00+01:00", "2024-02-29 11:30:00+00"),
        (NOON, "2024-02-29 12:30:00.0005+00"),
    ],
    "numeric": [
        (LONG, "0.10000000000000000000000001"),
        (THIRTY, "12345678901234567890.1234567890"),
        (Decimal("1E+3"), "1000"),
        (Decimal("1E-30"), "0.000000000000000000000000000001"),
        (Decimal("1.10"), "1.10"),
        (Decimal("NaN"), "NaN"),
        (10**29, "100000000000000000000000000000"),
        (0.1, "0.1"),
        ("1e3", "1000"),
        (Size.LARGE, "3"),
    ],
    "numeric(10,2)": [(Decimal("1.005"), "1.01"), (1, "1.00"), ("1.005", "1.01"), (Decimal("-0.004"), "0.00")],
    "double precision": [(0.1, "0.1"), (1e300, "1e+300"), (float("nan"), "NaN"), (float("-inf"), "-Infinity")],
    "real": [(0.1, "0.1"), ("1e-3", "0.001")],
    "integer": [(7, "7"), ("007", "7"), (Size.LARGE, "3"), (-(2**31), "-2147483648"), (None, None)],
    "bigint": [(2**63 - 1, "9223372036854775807"), ("7", "7")],
    "smallint": [(-5, "-5")],
    "boolean": [(True, "true"), (False, "false"), ("yes", "true"), ("0", "false"), (None, None)],
    "text": [
        ("", ""),
        ("it's \\ 100% \"é\"\n\x1e\x1f", "it's \\ 100% \"é\"\n\x1e\x1f"),
        ("NULL", "NULL"),
        (7, "7"),
        (Decimal("1.10"), "1.10"),
        (DAY, "2024-02-29"),
        (UUID, UUID_TEXT),
        (Colour.RED, "red"),
        (Shade.RED, "red"),
        (pathlib.PurePosixPath("/a b"), "/a b"),
        (ipaddress.ip_address("10.0.0.1"), "10.0.0.1"),
        (ipaddress.ip_network("10.0.0.0/8"), "10.0.0.0/8"),
        (pydantic.HttpUrl("https://example.org/a?b=%20"), "https://example.org/a?b=%20"),
        (None, None),
    ],
    "varchar(3)": [("abc", "abc"), ("ab    ", "ab ")],
    "char(3)": [("ab", "ab"), ("", "")],
    "citext": [("Ann", "Ann"), (Colour.RED, "red")],
    "bit(3)": [("101", "101")],
    "bit varying": [("10101", "10101")],
    "money": [(Decimal("12.50"), "$12.50"), ("12.50", "$12.50"), (12, "$12.00")],
    "point": [("(1,2)", "(1,2)")],
    "polygon": [("((0,0),(0,1),(1,1))", "((0,0),(0,1),(1,1))")],
    "tsvector": [("fat cat", "'cat' 'fat'")],
    "tsquery": [("fat & cat", "'fat' & 'cat'")],
    "jsonpath": [("$.a", '$."a"')],
    "xml": [("<a>&lt;</a>", "<a>&lt;</a>")],
    "regclass": [("pg_class", "pg_class")],
}  # fmt: skip
"""For each type of a column: values as a program has them, and the text that the column must show afterwards."""


class WritingProcessor(BaseProcessor):
    """Writes one of the values, or each of them into a column of its own."""

    def process_item(self, item: ImportBatchItem, ctx: ImportContext) -> None:
        data = item.source_data
        row = {"id": item.batch_id * 1000 + item.item_number, "way": data["way"]}
        if "value" in data:
            row |= {"value": VALUES[data["value"]], "given": data["value"]}
        else:
            row |= {f"value_{number}": value for number, value in enumerate(VALUES)}
        match data["way"]:
            case "alone" | "in bulk":
                ctx.upsert("target", row, key="id")
            case "returning":
                ctx.upsert("target", row, key="id", returning="id")
            case "inserted":
                ctx.insert("target", row)


@pytest.mark.parametrize("column", COLUMNS)
def test_a_column_gets_what_was_given(manager: BatchManager, register: Register, sql: Sql, column: str) -> None:
    if column == "xml" and not _has_xml(sql):
        pytest.skip("this server is built without XML")
    cases = COLUMNS[column]
    VALUES[:] = [value for value, _ in cases]
    names = [f"value_{number}" for number in range(len(cases))]
    sql(TYPES)
    sql(f"CREATE TABLE target (id bigint PRIMARY KEY, way text, {', '.join(f'{name} {column}' for name in names)})")
    register(WritingProcessor)

    ways = {"alone": 1, "in bulk": 60, "returning": 1, "inserted": 1}
    problems = []
    for way, count in ways.items():
        batch_id = manager.create_batch("writing", [{"way": way}] * count)
        manager.process_batch(batch_id)
        problems += said(manager, batch_id)[:1]

    # Of json, only the spaces are ours to choose.
    shown = ", ".join(f"{name}::jsonb::text" if column == "json" else f"{name}::text" for name in names)
    written = sql(f"SELECT way, count(*), ARRAY[{shown}] AS texts FROM target GROUP BY way, texts")
    texts = [text for _, text in cases]
    assert sorted(written) == sorted((way, count, texts) for way, count in ways.items()), problems


def test_values_of_many_kinds_are_neighbours_in_one_column(manager: BatchManager, register: Register, sql: Sql) -> None:
    VALUES[:] = [value for value, _ in _JSON]
    sql(TYPES)
    sql("CREATE TABLE target (id bigint PRIMARY KEY, given integer, way text, value jsonb)")
    register(WritingProcessor)
    items = [{"value": number, "way": "in bulk"} for _ in range(10) for number in range(len(_JSON))]

    summary = manager.process_batch(manager.create_batch("writing", items))

    assert summary.completed_items == len(items)
    written = sql("SELECT given, value::text, count(*) FROM target GROUP BY 1, 2 ORDER BY 1, 2")
    assert written == [(number, wanted, 10) for number, (_, wanted) in enumerate(_JSON)]


def test_a_value_that_no_column_can_hold_fails_its_item_alone(
    manager: BatchManager, register: Register, sql: Sql
) -> None:
    VALUES[:] = [{"a": "\0"}, {"a": object()}, {"a": float("nan")}, {"a": "\ud800"}, {"a": 1}]
    sql("CREATE TABLE target (id bigint PRIMARY KEY, given integer, way text, value jsonb)")
    register(WritingProcessor)
    items = [{"value": number % 5, "way": "in bulk"} for number in range(60)]
    batch_id = manager.create_batch("writing", items)

    summary = manager.process_batch(batch_id)

    assert (summary.completed_items, summary.failed_items) == (12, 48)
    assert sql("SELECT given, value::text, count(*) FROM target GROUP BY 1, 2") == [(4, '{"a": 1}', 12)]


# Fields of a model


class Model(NamedTuple):
    """A field of a model: its annotation, the type of its column, JSON of the source, and what the column must show."""

    annotation: Any
    column: str
    source: str
    wanted: str | None


FIELDS = {
    "a list of texts that is empty": Model(list[str], "jsonb", "[]", "[]"),
    "a list of texts": Model(list[str], "jsonb", '["a", "b"]', '["a", "b"]'),
    "a list of numbers": Model(list[int], "jsonb", "[1, 2]", "[1, 2]"),
    "lists in a list": Model(list[list[float]], "jsonb", "[[9.1, 48.2], []]", "[[9.1, 48.2], []]"),
    "a list of models": Model(
        list[Line], "jsonb", '[{"sku": "A", "at": "2024-02-29"}]', '[{"at": "2024-02-29", "sku": "A"}]'
    ),
    "a list of models that is empty": Model(list[Line], "jsonb", "[]", "[]"),
    "a model": Model(Line, "jsonb", '{"sku": "A", "at": "2024-02-29"}', '{"at": "2024-02-29", "sku": "A"}'),
    "anything: a list": Model(Any, "jsonb", "[]", "[]"),
    "anything: objects": Model(Any, "jsonb", '[{"a": [1, null]}]', '[{"a": [1, null]}]'),
    "anything: a text": Model(Any, "jsonb", '"hello"', '"hello"'),
    "anything: digits in a text": Model(Any, "jsonb", '"123"', '"123"'),
    "anything: a number": Model(Any, "jsonb", "1.5", "1.5"),
    "anything: true": Model(Any, "jsonb", "true", "true"),
    "anything: nothing": Model(Any, "jsonb", "null", None),
    "a text in json": Model(str, "json", '"123"', '"123"'),
    "JSON in a text": Model(pydantic.Json[Any], "jsonb", r'"[1, \"a\"]"', '[1, "a"]'),
    "dates by name": Model(dict[str, date], "jsonb", '{"a": "2024-02-29"}', '{"a": "2024-02-29"}'),
    "decimals by name": Model(dict[str, Decimal], "jsonb", '{"a": 1.10}', '{"a": 1.10}'),
    "identifiers in a list": Model(list[uuid.UUID], "jsonb", f'["{UUID_TEXT.upper()}"]', f'["{UUID_TEXT}"]'),
    "enums in a list": Model(list[Colour], "jsonb", '["red"]', '["red"]'),
    "addresses in a list": Model(list[pydantic.IPvAnyAddress], "jsonb", '["10.0.0.1"]', '["10.0.0.1"]'),
    "URLs in a list": Model(list[pydantic.HttpUrl], "jsonb", '["https://example.org"]', '["https://example.org/"]'),
    "a set in json": Model(set[str], "jsonb", '["a"]', '["a"]'),
    "a tuple in json": Model(tuple[int, date], "jsonb", '[1, "2024-02-29"]', '[1, "2024-02-29"]'),
    "a list in an array": Model(list[str], "text[]", '["a", "NULL", ""]', '{a,"NULL",""}'),
    "an empty list in an array": Model(list[str], "text[]", "[]", "{}"),
    "a set in an array": Model(set[str], "text[]", '["a"]', "{a}"),
    "a tuple in an array": Model(tuple[int, ...], "integer[]", "[1, 2]", "{1,2}"),
    "lists in an array": Model(list[list[int]], "integer[]", "[[1, 2], [3, 4]]", "{{1,2},{3,4}}"),
    "identifiers in an array": Model(list[uuid.UUID], "uuid[]", f'["{UUID_TEXT}"]', f"{{{UUID_TEXT}}}"),
    "enums in an array": Model(list[Colour], "colour[]", '["red", "light green"]', '{red,"light green"}'),
    "models in an array": Model(list[Line], "jsonb[]", '[{"sku": "A"}]', '{"{\\"at\\": null, \\"sku\\": \\"A\\"}"}'),
    "objects in an array": Model(list[dict[str, int]], "jsonb[]", '[{"a": 1}]', '{"{\\"a\\": 1}"}'),
    "decimals in an array": Model(list[Decimal], "numeric[]", f"[{LONG}, {THIRTY}]", f"{{{LONG},{THIRTY}}}"),
    "texts by name": Model(dict[str, str | None], "hstore", '{"a": "1", "b": null}', '"a"=>"1", "b"=>NULL'),
    "a NamedTuple": Model(Pair, "pair", '[1, "a b"]', '(1,"a b")'),
    "a tuple": Model(tuple[int, str], "pair", '[1, "a b"]', '(1,"a b")'),
    "an identifier": Model(uuid.UUID, "uuid", f'"{UUID_TEXT.upper()}"', UUID_TEXT),
    "an identifier in text": Model(uuid.UUID, "text", f'"{UUID_TEXT.upper()}"', UUID_TEXT),
    "an enum": Model(Colour, "colour", '"light green"', "light green"),
    "an enum in text": Model(Colour, "text", '"red"', "red"),
    "an enum of numbers": Model(Size, "integer", "3", "3"),
    "an address": Model(pydantic.IPvAnyAddress, "inet", '"10.0.0.1"', "10.0.0.1/32"),
    "an address in text": Model(ipaddress.IPv4Address, "text", '"10.0.0.1"', "10.0.0.1"),
    "a network": Model(ipaddress.IPv4Network, "cidr", '"10.0.0.0/8"', "10.0.0.0/8"),
    "a URL": Model(pydantic.HttpUrl, "text", '"https://example.org/a"', "https://example.org/a"),
    "another URL": Model(pydantic.AnyUrl, "text", '"s3://bucket/key"', "s3://bucket/key"),
    "a path": Model(pathlib.Path, "text", '"/a/b"', "/a/b"),
    "bytes": Model(bytes, "bytea", '"ab"', "\\x6162"),
    "a duration": Model(timedelta, "interval", '"P1DT2H"', "1 day 02:00:00"),
    "an instant": Model(pydantic.AwareDatetime, "timestamptz", '"2024-02-29T12:30:00+01:00"', "2024-02-29 11:30:00+00"),
    "a decimal": Model(Decimal, "numeric", str(LONG), str(LONG)),
    "a decimal of thirty digits": Model(Decimal, "numeric", str(THIRTY), str(THIRTY)),
    "a decimal with an exponent": Model(Decimal, "numeric", "1.230e-3", "0.001230"),
    "a decimal with zeros behind": Model(Decimal, "numeric", "1.10", "1.10"),
    "a decimal in a text": Model(Decimal, "numeric", f'"{LONG}"', str(LONG)),
    "a decimal or nothing": Model(Decimal | None, "numeric", str(LONG), str(LONG)),
    "a decimal or a text": Model(Decimal | str, "text", str(LONG), str(LONG)),
    "a decimal in a tuple": Model(tuple[Decimal, int], "jsonb", f"[{LONG}, 1]", f"[{LONG}, 1]"),
    "a decimal by name": Model(dict[str, Decimal], "jsonb", f'{{"a": {LONG}}}', f'{{"a": {LONG}}}'),
    "a large whole number": Model(int, "numeric", str(10**29), str(10**29)),
    "a float": Model(float, "double precision", "0.1", "0.1"),
}


@pytest.mark.parametrize("decimals", [False, True], ids=["", "decimals"])
def test_a_column_gets_what_the_source_has_for_a_field(
    manager: BatchManager, register: Register, sql: Sql, tmp_path: pathlib.Path, decimals: bool
) -> None:
    names = {f"value_{number}": field for number, field in enumerate(FIELDS.values())}
    sql(TYPES)
    columns = ", ".join(f"{name} {field.column}" for name, field in names.items())
    sql(f"CREATE TABLE target (id integer PRIMARY KEY, {columns})")
    annotations = {name: field.annotation for name, field in names.items()}
    register(_table_processor("target", annotations, decimals=decimals))
    values = ", ".join(f'"{name}": {field.source}' for name, field in names.items())
    problems: list[str] = []
    for ids in (range(1), range(1, 61)):
        source = tmp_path / f"{len(ids)}.jsonl"
        source.write_text("".join(f'{{"id": {each}, {values}}}\n' for each in ids))
        batch_id = manager.create_batch("declared", manager.open_source("declared", source))
        manager.process_batch(batch_id)
        problems += said(manager, batch_id)[:1]

    written = sql(
        f"SELECT ARRAY[{', '.join(f'{name}::text' for name in names)}] AS texts, count(*) FROM target GROUP BY 1"
    )
    [(texts, count)] = written or [([], 0)]
    assert dict(zip(FIELDS, texts, strict=False)) == {name: field.wanted for name, field in FIELDS.items()}, problems
    assert count == 61


class Money(pydantic.BaseModel):
    amount: Decimal
    parts: list[Decimal] = []


def test_a_decimal_keeps_its_digits_wherever_it_stands_in_the_model(
    manager: BatchManager, register: Register, sql: Sql, tmp_path: pathlib.Path
) -> None:
    sql("CREATE TABLE target (id integer PRIMARY KEY, value jsonb)")
    register(_table_processor("target", {"value": list[Money]}))
    text = f'[{{"parts": [{THIRTY}, 1.10], "amount": {LONG}}}]'
    source = tmp_path / "in.json"
    source.write_text(json.dumps([{"id": 1, "value": "HERE"}]).replace('"HERE"', text))

    manager.process_batch(manager.create_batch("declared", manager.open_source("declared", source)))

    assert sql("SELECT value::text FROM target") == [(text,)]


def test_a_declared_row_of_a_dataclass_is_written_by_its_columns(
    manager: BatchManager, register: Register, sql: Sql
) -> None:
    import dataclasses

    @dataclasses.dataclass
    class Shape:
        id: int
        tags: list[str]
        colours: set[Colour]
        owner: uuid.UUID

    class ShapesProcessor(TableProcessor):
        table = "shapes"
        key = ("id",)
        model = Shape

    sql(TYPES)
    sql("CREATE TABLE shapes (id integer PRIMARY KEY, tags jsonb, colours colour[], owner uuid)")
    register(ShapesProcessor)
    items = [{"id": number, "tags": [], "colours": ["red"], "owner": UUID_TEXT} for number in range(60)]

    assert manager.process_batch(manager.create_batch("shapes", items)).completed_items == 60

    written = sql("SELECT tags::text, colours::text, owner::text, count(*) FROM shapes GROUP BY 1, 2, 3")
    assert written == [("[]", "{red}", UUID_TEXT, 60)]


def test_a_row_of_csv_is_written_by_its_columns(
    manager: BatchManager, register: Register, sql: Sql, tmp_path: pathlib.Path
) -> None:
    class Host(pydantic.BaseModel):
        id: uuid.UUID
        kind: Colour
        ip: pydantic.IPvAnyAddress
        home: pydantic.HttpUrl
        folder: pathlib.Path
        notes: pydantic.Json[Any]

    class HostsProcessor(TableProcessor):
        table = "hosts"
        key = ("id",)
        model = Host

    sql(TYPES)
    sql("CREATE TABLE hosts (id uuid PRIMARY KEY, kind colour, ip inet, home text, folder text, notes jsonb)")
    register(HostsProcessor)
    source = tmp_path / "hosts.csv"
    source.write_text(f'id,kind,ip,home,folder,notes\n{UUID_TEXT},red,10.0.0.1,https://example.org/a,/srv,"[""x""]"\n')

    batch_id = manager.create_batch("hosts", manager.open_source("hosts", source))

    assert manager.process_batch(batch_id).completed_items == 1
    written = sql("SELECT id::text, kind::text, host(ip), home, folder, notes::text FROM hosts")
    assert written == [(UUID_TEXT, "red", "10.0.0.1", "https://example.org/a", "/srv", '["x"]')]
    result = manager.list_items(batch_id)[0].result or {}
    assert (result["target_table"], result["target_id"]) == ("hosts", UUID_TEXT)


@pytest.mark.parametrize("key_type", ["uuid", "date", "colour", "numeric", "inet", "timestamptz", "bytea", "int4range"])
def test_a_key_may_be_of_any_type(manager: BatchManager, register: Register, sql: Sql, key_type: str) -> None:
    sql(TYPES)
    sql(f"CREATE TABLE target (id {key_type} PRIMARY KEY, n integer)")
    VALUES[:] = [COLUMNS[key_type][0][0]]
    wanted = COLUMNS[key_type][0][1]

    class KeyProcessor(BaseProcessor):
        def process_item(self, item: ImportBatchItem, ctx: ImportContext) -> Any:
            ctx.upsert("target", {"id": VALUES[0], "n": item.item_number}, key="id")
            return {"target_table": "target"}

    register(KeyProcessor)

    assert manager.process_batch(manager.create_batch("key", [{}] * 20)).completed_items == 20
    assert sql("SELECT id::text, n FROM target") == [(wanted, 20)]


def _table_processor(target: str, annotations: Mapping[str, Any], *, decimals: bool = False) -> type[TableProcessor]:
    fields: Any = {name: (annotation, ...) for name, annotation in annotations.items()}
    row_model = pydantic.create_model("Row", id=(int, ...), **fields)
    decimals_wanted = decimals

    class DeclaredProcessor(TableProcessor):
        table = target
        key = ("id",)
        model = row_model
        decimals = decimals_wanted

    return DeclaredProcessor


def _has_xml(sql: Sql) -> bool:
    try:
        return bool(sql("SELECT '<a/>'::xml"))
    except psycopg2.errors.FeatureNotSupported:
        return False


@pytest.mark.parametrize("items", [1, 20])
def test_an_interval_of_certain_fields_is_read_as_these_say(
    manager: BatchManager, register: Register, sql: Sql, items: int
) -> None:
    sql("CREATE TABLE spans (id integer PRIMARY KEY, days interval day, minutes interval minute)")
    sql("CREATE TABLE alone (days interval day, minutes interval minute); INSERT INTO alone VALUES ('5', '7')")

    class SpansProcessor(BaseProcessor):
        def process_item(self, item: ImportBatchItem, ctx: ImportContext) -> None:
            ctx.upsert("spans", {"id": item.item_number, "days": "5", "minutes": "7"}, key="id")

    register(SpansProcessor)
    manager.process_batch(manager.create_batch("spans", [{}] * items))

    assert sql("SELECT DISTINCT days, minutes FROM spans") == sql("SELECT days, minutes FROM alone")


def test_an_instant_is_the_same_in_an_array_as_alone(manager: BatchManager, register: Register, sql: Sql) -> None:
    sql("CREATE TABLE moments (id integer PRIMARY KEY, moment timestamp, moments timestamp[])")
    noon = datetime(2024, 1, 1, 12, tzinfo=timezone(timedelta(hours=2)))

    class MomentsProcessor(BaseProcessor):
        def process_item(self, item: ImportBatchItem, ctx: ImportContext) -> None:
            row = {"id": item.item_number, "moment": noon, "moments": [noon, None]}
            ctx.upsert("moments", row, key="id", returning="id" if item.item_number == 1 else None)

    register(MomentsProcessor)
    assert manager.process_batch(manager.create_batch("moments", [{}] * 20)).completed_items == 20

    assert sql("SELECT DISTINCT moments = ARRAY[moment, NULL] FROM moments") == [(True,)]


def test_an_instant_is_not_taken_for_local_time_within_a_row_or_a_range(
    manager: BatchManager, register: Register, sql: Sql
) -> None:
    sql("CREATE TYPE stop AS (at timestamp, track integer)")
    sql("CREATE TABLE moments (id integer PRIMARY KEY, stop stop, open tsrange)")
    noon = datetime(2024, 1, 1, 12, tzinfo=timezone(timedelta(hours=2)))
    values = [{"stop": (noon, 1)}, {"open": (noon, noon)}]

    class MomentsProcessor(BaseProcessor):
        def process_item(self, item: ImportBatchItem, ctx: ImportContext) -> None:
            ctx.upsert("moments", {"id": item.item_number, **values[item.item_number - 1]}, key="id")

    register(MomentsProcessor)
    batch_id = manager.create_batch("moments", [{}, {}])
    manager.process_batch(batch_id)

    first, second = said(manager, batch_id)
    assert "a datetime with a zone cannot be part of a row whose attribute has none" in first
    assert "a datetime with a zone cannot be a bound of a range without one" in second
