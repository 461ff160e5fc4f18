"""Failed items as a file and back: what nobody touches comes back as it was, what somebody edits as it was meant."""

from __future__ import annotations

import csv
import importlib
import re
import zipfile
from collections.abc import Collection, Mapping
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import xlsxwriter
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from reliable_imports import ConfigurationError
from reliable_imports.batches.corrections.cells import MISSING, Kind, is_same
from reliable_imports.batches.corrections.edits import Edits, has_decimal_commas, open_edited, rows_of
from reliable_imports.batches.corrections.export import FailedItem
from reliable_imports.batches.corrections.reshown import is_reshown
from reliable_imports.batches.corrections.sorting import ItemId
from reliable_imports.batches.corrections.written import write
from reliable_imports.items.json_read import loads
from reliable_imports.items.json_write import dumps_item

KINDS: tuple[Kind, ...] = ("csv", "jsonl", "xlsx")
FORMULAS = ("=", "+", "-", "@", "\t", "\r")

HOSTILE = st.sampled_from(
    [
        "",
        " ",
        "=1+1",
        "+49 30",
        "-5",
        "@SUM(A1)",
        "\t=1",
        "\r=1",
        "\n=1",
        "'=1",
        "''",
        "'",
        "007",
        "1e5",
        "true",
        "TRUE",
        "null",
        "***",
        "json:",
        "json:1",
        'json:"a"',
        "_x0041_",
        'a"b',
        "a,b;c\td",
        "one\r\ntwo",
        "one\rtwo",
        "\0",
        "\ud800",
        "\x1b[31m",
        "\ufeff",
        "\uffff",
        "http://example.com",
        "4/17",
        " padded ",
        "ä€😀",
        "\x85\u2028",
        "_item",
        "{}",
        "[1]",
    ]
)
TEXTS = HOSTILE | st.text(max_size=20)
NUMBERS = (
    st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.decimals(allow_nan=False, allow_infinity=False)
    | st.sampled_from([0, -1, 2**53 + 1, 10**400, Decimal("1E+400"), Decimal("0.10"), Decimal("-0.0"), 1e300])
)
SCALARS = st.none() | st.booleans() | NUMBERS | TEXTS
VALUES = SCALARS | st.lists(SCALARS, max_size=3) | st.dictionaries(TEXTS, SCALARS, max_size=3)
ITEMS = st.dictionaries(TEXTS, VALUES, max_size=6)


def stored(number: int, data: Any, *, missing: Collection[str] = ()) -> FailedItem:
    """An item as the database has it."""
    item = dumps_item(data)
    text = item.text if item.text is not None else item.raw
    assert text is not None
    assert item.problem is None
    return FailedItem(1, number, number + 1, loads(text, decimals=True), None, "genre: is empty", (), tuple(missing))


def written(path: Path, kind: Kind, items: list[FailedItem], sensitive: Collection[str] = ()) -> Path:
    file = path / f"failed.{kind}"
    columns = list(dict.fromkeys(name for item in items for name in (*item.cells(), *item.missing)))
    ours = ["_item", "_line", "_wrong"]
    ours += ["_value"] if any(not isinstance(item.data, dict) for item in items) else []
    write(file, kind, (item.shown(sensitive) for item in items), ours, columns, len(items))
    return file


def read(file: Path, kind: Kind, items: list[FailedItem], sensitive: Collection[str] = ()) -> dict[int, Any]:
    """What was changed, by the number of the item."""
    source = open_edited(file, kind)
    by_id = {ItemId(item.batch_id, item.item_number): item for item in items}
    known = frozenset(name for item in items for name in (*item.cells(), *item.missing))
    edits = Edits(source.name, kind, sensitive, known, by_id, has_decimal_commas=has_decimal_commas(source))
    rows = list(rows_of(source, kind))
    if kind != "jsonl":
        edits.check_columns(source.findings.columns or ())
    changed = {row.item.item_number: edits.of(row, ()) for row in rows}
    assert len(changed) == len(items)
    return {number: data for number, data in changed.items() if data is not MISSING}


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(items=st.lists(ITEMS | VALUES, min_size=1, max_size=4), sensitive=st.sets(TEXTS, max_size=2))
def test_what_nobody_touches_is_no_correction(
    kind: Kind, items: list[Any], sensitive: set[str], tmp_path: Path
) -> None:
    failed = [stored(number, data) for number, data in enumerate(items, start=1)]
    assert read(written(tmp_path, kind, failed, sensitive), kind, failed, sensitive) == {}


SAME_KIND = st.sampled_from(["text", "number", "boolean", "nested"]).flatmap(
    lambda kind: st.tuples(
        *[
            {
                "text": TEXTS.filter(bool),
                "number": NUMBERS,
                "boolean": st.booleans(),
                "nested": st.dictionaries(TEXTS, SCALARS, max_size=2),
            }[kind]
        ]
        * 2
    )
)


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(pairs=st.dictionaries(TEXTS, SAME_KIND, min_size=1, max_size=4))
@example(pairs={"a": ("x", "one\r\ntwo")})
def test_an_edited_cell_is_the_value_that_it_shows(
    kind: Kind, pairs: Mapping[str, tuple[Any, Any]], tmp_path: Path
) -> None:
    """A file that shows other values of the same kinds is a correction to these."""
    assume(not any(is_reshown(new, was) for was, new in pairs.values()))
    was = stored(1, {name: pair[0] for name, pair in pairs.items()})
    new = stored(1, {name: pair[1] for name, pair in pairs.items()})
    changed = read(written(tmp_path, kind, [new]), kind, [was]).get(1, was.data)
    # Spreadsheets write ends of lines their own way.
    assert is_same(_lines(changed), _lines(new.data))


def _lines(value: Any) -> Any:
    match value:
        case dict():
            return {name: _lines(each) for name, each in value.items()}
        case list():
            return list(map(_lines, value))
        case str():
            return value.replace("\r\n", "\n")
    return value


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(items=st.lists(st.dictionaries(TEXTS, TEXTS | st.lists(TEXTS), max_size=5), min_size=1, max_size=3))
def test_no_cell_of_a_csv_can_become_a_formula(items: list[dict[str, Any]], tmp_path: Path) -> None:
    failed = [stored(number, data) for number, data in enumerate(items, start=1)]
    with written(tmp_path, "csv", failed).open(encoding="utf-8-sig", newline="") as file:
        assert [cell for row in csv.reader(file) for cell in row if cell.startswith(FORMULAS)] == []


def test_no_cell_of_a_workbook_is_a_formula_or_a_link(tmp_path: Path) -> None:
    failed = [stored(1, {"a": "=1+1", "b": "{=1}", "c": "http://example.com", "=d": "mailto:a@b.c", "e": "-5"})]
    file = written(tmp_path, "xlsx", failed)
    with zipfile.ZipFile(file) as archive:
        sheet = archive.read("xl/worksheets/sheet1.xml").decode()
        names = archive.namelist()
    assert "<f>" not in sheet
    assert "hyperlink" not in sheet
    assert not any("externalLink" in name for name in names)


def test_cells_at_fault_are_marked_in_a_workbook(tmp_path: Path) -> None:
    faulty = stored(1, {"id": 1, "Release Date": "?", "genre": None})
    faulty = replace(faulty, fields=("release_date", "tags", "genre"), missing=("tags",))
    file = written(tmp_path, "xlsx", [faulty, stored(2, {"id": 2})])
    with zipfile.ZipFile(file) as archive:
        comments = archive.read("xl/comments1.xml").decode()
        sheet = archive.read("xl/worksheets/sheet1.xml").decode()
    # The columns are _item, _line, _wrong, id, Release Date, genre, tags; a fault of no column is said in _wrong.
    assert re.findall(r'<comment ref="(\w+)"', comments) == ["E2", "F2", "G2", "C3"]
    assert comments.count("genre: is empty") == 4
    styles = dict(re.findall(r'<c r="(\w+)" s="(\d+)"', sheet))
    assert styles["F2"] == styles["G2"] != styles.get("D2")


def edit_csv(file: Path, old: str, new: str) -> None:
    text = file.read_bytes().decode("utf-8-sig")
    assert old in text
    file.write_bytes(text.replace(old, new).encode())


def test_kinds_of_values_are_kept_and_json_says_otherwise(tmp_path: Path) -> None:
    was = {"title": 300, "zip": "01234", "votes": 5, "seen": True, "tags": ["a"], "none": None, "note": "x"}
    failed = [stored(1, was), stored(2, {**was, "none": 7})]
    file = written(tmp_path, "csv", failed)
    edit_csv(
        file,
        '1/1,2,genre: is empty,300,01234,5,true,"[""a""]",,x',
        '1/1,2,genre: is empty,"json:""300""",07,6,false,[],8,',
    )
    assert read(file, "csv", failed) == {
        1: {"title": "300", "zip": "07", "votes": 6, "seen": False, "tags": [], "none": 8, "note": ""}
    }


def test_a_spreadsheets_way_of_writing_changes_nothing(tmp_path: Path) -> None:
    failed = [stored(1, {"a": Decimal("1.50"), "b": True, "c": "one\r\ntwo", "d": "", "e": None, "f": "+49"})]
    file = written(tmp_path, "csv", failed)
    with file.open(encoding="utf-8-sig", newline="") as before:
        rows = list(csv.reader(before))
    rows[1] = [{"1.50": "1.5", "true": "TRUE", "one\r\ntwo": "one\ntwo"}.get(cell, cell) for cell in rows[1]]
    with file.open("w", encoding="utf-8-sig", newline="") as after:
        csv.writer(after, delimiter=";").writerows(rows)
    assert read(file, "csv", failed) == {}


SAVED = [  # what is stored, what a spreadsheet makes of it, and what a person makes of it
    ("007", "7", "8"),
    ("1.50", "1.5", "1.51"),
    ("1234567890123456", "1.23457E+15", "1.23458E+15"),
    (1234567890123456, "1.23457E+15", "1.3E+15"),
    ("1234567890123456", "1234567890123450", "1234567890123451"),
    ("1200000000000456", "1.2E+15", "1200000000000457"),
    ("true", "TRUE", "false"),
    ("2024-01-31", "31/01/2024", "30/01/2024"),
    ("2024-01-31", "1/31/24", "2024-01-30"),
    ("2024-01-31 10:05:00", "31.01.2024 10:05", "31.01.2024 10:06"),
    ("01/02/2024", "1/2/2024", "02/01/2024"),
    ("2024-01-31", "45322", "45323"),
    ("7", "7", "007"),
    ("1E+99999999999999999999", "1E+99999999999999999999", "1E+1"),
]


@pytest.mark.parametrize(("was", "saved", "edited"), SAVED)
def test_what_a_spreadsheet_makes_of_a_value_by_itself_is_no_edit(
    was: Any, saved: str, edited: str, tmp_path: Path
) -> None:
    failed = [stored(1, {"a": was, "b": "x"})]
    file = written(tmp_path, "csv", failed)
    for cell, expected in (
        (saved, {}),
        (edited, {1: {"a": edited if isinstance(was, str) else 13 * 10**14, "b": "x"}}),
    ):
        file.write_text(f"_item;_line;_wrong;a;b\n1/1;2;genre: is empty;{cell};x\n")
        assert read(file, "csv", failed) == expected


def test_numbers_with_a_decimal_comma_are_numbers_where_semicolons_delimit(tmp_path: Path) -> None:
    failed = [stored(1, {"a": Decimal("12.5"), "b": "1,5"}), stored(2, {"a": None, "b": "2"})]
    file = written(tmp_path, "csv", failed)
    rows = "a;b;_line;_wrong;_item\n12,5;1,5;2;genre: is empty;1/1\n13,25;2,0;3;genre: is empty;1/2\n"
    file.write_text(rows)
    assert read(file, "csv", failed) == {2: {"a": Decimal("13.25"), "b": "2,0"}}
    file.write_text('_item,_line,_wrong,a,b\n1/1,2,genre: is empty,"12,5","1,5"\n1/2,3,genre: is empty,,2\n')
    assert read(file, "csv", failed) == {1: {"a": "12,5", "b": "1,5"}}, "it may stand for thousands"


def test_a_cell_of_a_workbook_has_the_type_that_was_typed(tmp_path: Path) -> None:
    failed = [stored(1, {"title": 300, "zip": "01234", "votes": None, "note": "x"})]
    file = tmp_path / "edited.xlsx"
    with xlsxwriter.Workbook(file) as workbook:
        sheet = workbook.add_worksheet()
        sheet.write_row(0, 0, ["_item", "_line", "_wrong", "title", "zip", "votes", "note"])
        sheet.write_row(1, 0, ["1/1", 2, "genre: is empty"])
        sheet.write_string(1, 3, "300")
        sheet.write_number(1, 4, 7)
        sheet.write_number(1, 5, 12)
        sheet.write_string(1, 6, "json:null")
    assert read(file, "xlsx", failed) == {1: {"title": "300", "zip": "7", "votes": 12, "note": None}}


def test_sheets_that_people_put_before_ours_are_not_read(tmp_path: Path) -> None:
    failed = [stored(1, {"a": "x"})]
    file = tmp_path / "edited.xlsx"
    with xlsxwriter.Workbook(file) as workbook:
        workbook.add_worksheet("to do").write_string(0, 0, "ask Ann")
        sheet = workbook.add_worksheet("failures")
        sheet.write_row(0, 0, ["_item", "_line", "_wrong", "a"])
        sheet.write_row(1, 0, ["1/1", 2, "genre: is empty", "y"])
    assert read(file, "xlsx", failed) == {1: {"a": "y"}}


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_masked_stays_unless_it_is_replaced(kind: Kind, tmp_path: Path) -> None:
    data = {"iban": "DE02", "owner": {"iban": "DE03", "age": 5}, "name": "Ann"}
    failed = [stored(1, data), stored(2, data)]
    file = written(tmp_path, kind, failed, ("iban",))
    assert b"DE0" not in file.read_bytes()
    assert read(file, kind, failed, ("iban",)) == {}
    if kind == "jsonl":
        lines = file.read_text().splitlines()
        file.write_text(lines[0].replace("5", "6") + "\n" + lines[1].replace('"***"', '"DE09"', 1) + "\n")
        changed = read(file, kind, failed, ("iban",))
        assert changed == {1: {**data, "owner": {"iban": "DE03", "age": 6}}, 2: {**data, "iban": "DE09"}}


def test_the_package_for_workbooks_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def without(name: str) -> Any:
        raise ImportError(name)

    monkeypatch.setattr(importlib, "import_module", without)
    with pytest.raises(ConfigurationError, match=r"pip install 'reliable-imports\[excel\]'"):
        written(tmp_path, "xlsx", [stored(1, {"a": 1})])
    assert list(tmp_path.iterdir()) == []
