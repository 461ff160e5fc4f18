from __future__ import annotations

import hashlib
import io
import re
import tracemalloc
import zipfile
from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import Any

import pytest
import xlsxwriter

from reliable_imports.errors import SourceError
from reliable_imports.sources import SourceOptions, open_source
from reliable_imports.sources.tables.sheets import column_name
from tests.sources.files import values

Fill = Callable[[Any, Any], None]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "rows.xlsx"


def workbook(path: Path, *sheets: tuple[str, Fill], **options: Any) -> None:
    with xlsxwriter.Workbook(path, options) as written:
        for name, fill in sheets:
            fill(written.add_worksheet(name), written)


def rows(*given: list[Any]) -> Fill:
    def fill(sheet: Any, _: Any) -> None:
        for number, row in enumerate(given):
            sheet.write_row(number, 0, row)

    return fill


def refusal(path: Path, **options: Any) -> SourceError:
    with pytest.raises(SourceError) as told:
        list(open_source(path, SourceOptions(**options)))
    return told.value


def test_a_number_that_is_shown_with_zeros_before_it_keeps_them(path: Path) -> None:
    def fill(sheet: Any, written: Any) -> None:
        postal, other = (written.add_format({"num_format": each}) for each in ("00000", "0.00"))
        sheet.write_row(1, 1, ["postal", "other"])
        for place, value in enumerate([1067, 80331, "A-1", 1.5, -7, None], start=2):
            sheet.write(place, 1, value, postal)
            sheet.write(place, 2, 1067, other)
        sheet.write_blank(20, 30, None, postal)

    workbook(path, ("one", fill))
    read = values(list(open_source(path, SourceOptions(header_row=2))))

    assert [row["postal"] for row in read] == ["01067", "80331", "A-1", 1.5, -7, None]
    assert {row["other"] for row in read} == {1067}


def test_merged_cells_are_told_unless_they_are_above_the_header(path: Path) -> None:
    def fill(sheet: Any, _: Any) -> None:
        sheet.merge_range("A1:B1", "A report")
        sheet.write_row(1, 0, ["region", "city"])
        sheet.merge_range("A3:A4", "North")
        sheet.write("B3", "Kiel")
        sheet.write("B4", "Bremen")

    workbook(path, ("one", fill))
    source = open_source(path, SourceOptions(header_row=2))

    assert [row["region"] for row in values(list(source))] == ["North", None]
    assert source.findings.warnings == [
        "cells are merged, A3:A4: only the first of them has the value, the others none"
    ]


def test_cells_keep_their_types(path: Path) -> None:
    given = {
        "whole": 42,
        "negative": -7.0,
        "fraction": 0.1,
        "large": 2**53 - 1,
        "huge": 1e300,
        "yes": True,
        "text": "007",
        "accents": "Žluťoučký\n🐎",
        "empty": None,
        "formula": 12.5,
    }
    moments = {
        "date": (date(2024, 2, 29), "yyyy-mm-dd", "2024-02-29"),
        "moment": (datetime(2024, 2, 29, 13, 14, 15, 500000), "yyyy-mm-dd hh:mm:ss.000", "2024-02-29T13:14:15.500000"),
        "time": (time(13, 14, 15), "hh:mm:ss", "13:14:15"),
        "duration": (timedelta(hours=36, minutes=30), "[h]:mm:ss", "PT131400S"),
    }

    def fill(sheet: Any, book: Any) -> None:
        for place, (name, value) in enumerate(given.items()):
            sheet.write_string(0, place, name)
            if name == "formula":
                sheet.write_formula(1, place, "=25/2", None, value)
            elif isinstance(value, str):
                sheet.write_string(1, place, value)
            elif value is not None:
                sheet.write(1, place, value)
        for place, (name, (moment, shown, _)) in enumerate(moments.items(), start=len(given)):
            sheet.write_string(0, place, name)
            sheet.write_datetime(1, place, moment, book.add_format({"num_format": shown}))

    workbook(path, ("Data", fill))
    items = list(open_source(path))
    assert values(items) == [given | {name: text for name, (_, _, text) in moments.items()}]
    assert items[0].text is not None
    assert '"whole":42,"negative":-7,"fraction":0.1,"large":9007199254740991,"huge":1e+300' in items[0].text.replace(
        "1e300", "1e+300"
    )
    assert items[0].line == 2


def test_a_cell_that_shows_an_error_fails_its_row(path: Path) -> None:
    def fill(sheet: Any, _: Any) -> None:
        sheet.write_row(0, 0, ["a", "b"])
        sheet.write_row(1, 0, [1, "#N/A"])
        sheet.write_formula(2, 0, "=1/0", None, "#DIV/0!")
        sheet.write_formula(2, 1, "=NA()", None, "#N/A")
        sheet.write_row(3, 0, [3, 4])

    workbook(path, ("Data", fill))
    items = list(open_source(path))
    assert [item.problem for item in items] == [None, "the cell A3 shows #DIV/0!", None]
    assert (items[1].kind, items[1].line) == ("cell-error", 3)
    assert values([items[0]]) == [{"a": 1, "b": "#N/A"}], "a text that looks like an error is a text"


def test_a_formula_that_nobody_has_calculated_fails_its_row(path: Path, tmp_path: Path) -> None:
    """As programs write it that do not calculate; read as an empty cell, it would wipe a column."""

    def fill(sheet: Any, _: Any) -> None:
        sheet.write_row(0, 0, ["a", "b"])
        for row in range(1, 4):
            sheet.write(row, 0, row)
        sheet.write_formula(1, 1, "=1+1", None, 2)
        sheet.write_formula(2, 1, "=2+2", None, 4)
        sheet.write_formula(3, 1, '=""', None, "")

    workbook(path, ("Data", fill))
    altered = tmp_path / "altered.xlsx"
    with zipfile.ZipFile(path) as given, zipfile.ZipFile(altered, "w", zipfile.ZIP_DEFLATED) as written:
        for info in given.infolist():
            content = given.read(info)
            content = content.replace(b"<f>2+2</f><v>4</v>", b"<f>2+2</f><v></v>")
            written.writestr(info.filename, content.replace(b'<c r="B4">', b'<c r="B4" t="str">'))
    items = list(open_source(altered))
    assert values([items[0], items[2]]) == [{"a": 1, "b": 2}, {"a": 3, "b": None}]
    assert (items[1].problem or "").startswith("the cell B3 has a formula, and no value was stored with it")


def test_the_sheet_is_the_first_one_or_that_which_is_named(path: Path) -> None:
    workbook(path, *((name, rows(["a"], [name])) for name in ("North", "South", "West")))
    source = open_source(path)
    assert values(list(source)) == [{"a": "North"}]
    assert source.findings.warnings == [
        'only the sheet "North" of the workbook was read, not "South", "West"; SourceOptions.sheet names one'
    ]
    for sheet in ("South", 2):
        source = open_source(path, SourceOptions(sheet=sheet))
        assert values(list(source)) == [{"a": "South"}]
        assert source.findings.warnings == []
    assert 'has no sheet \'East\'; it has "North", "South", "West"' in refusal(path, sheet="East").problem
    assert "has no sheet 4" in refusal(path, sheet=4).problem


def test_the_header_may_stand_lower_and_farther_right(path: Path) -> None:
    def fill(sheet: Any, _: Any) -> None:
        sheet.write(0, 0, "Report of the year")
        sheet.write_row(3, 2, ["a", 2024, None])
        sheet.write_row(4, 2, [1, 2])
        sheet.write_row(7, 2, [3])

    workbook(path, ("Data", fill))
    items = list(open_source(path, SourceOptions(header_row=4)))
    assert values(items) == [{"a": 1, "2024": 2}, {"a": 3, "2024": None}]
    assert [item.line for item in items] == [5, 8]
    assert "has no row 9" in refusal(path, header_row=9).problem


def test_a_header_that_does_not_name_the_columns_is_refused(path: Path) -> None:
    workbook(path, ("Data", rows(["a", "b", "a"], [1, 2, 3])))
    assert 'the row 1 of the sheet names a column twice: "a"' in refusal(path).problem
    workbook(path, ("Data", rows([], ["a"], [1])))
    assert "the row 1 of the sheet names no columns; SourceOptions.header_row" in refusal(path).problem
    workbook(path, ("Data", lambda sheet, _: None))
    assert "no row 1" in refusal(path).problem
    workbook(path, ("Data", rows(["a", "b", "c"], [1, 2, 3])))
    assert "names 3 columns, and 2 are the most" in refusal(path, max_fields=2).problem


def test_a_value_in_a_column_without_a_name_fails_its_row(path: Path) -> None:
    workbook(path, ("Data", rows(["a", None, "b"], [1, None, 2], [3, "lost", 4])))
    items = list(open_source(path))
    assert values(items[:1]) == [{"a": 1, "b": 2}]
    assert items[1].problem == "the cell B3 has a value, and its column no name"
    assert items[1].raw == b'[3,"lost",4]'


def test_one_far_cell_takes_neither_memory_nor_time(path: Path) -> None:
    def fill(sheet: Any, _: Any) -> None:
        sheet.write(0, 0, "a")
        sheet.write(1_048_575, 16_383, 1)

    workbook(path, ("Data", fill))
    assert path.stat().st_size < 10_000
    problem = refusal(path).problem
    assert "has 2 cells, and a rectangle around them, up to XFD1048576, has 17,179,869,184" in problem
    assert "delete what is far out" in problem


def test_cells_that_do_not_say_where_they_are_cannot_hide_one_that_is_far(path: Path, tmp_path: Path) -> None:
    workbook(path, ("Data", rows(["a"], *([[1]] * 2000))))
    altered = tmp_path / "altered.xlsx"
    with zipfile.ZipFile(path) as given, zipfile.ZipFile(altered, "w", zipfile.ZIP_DEFLATED) as written:
        for info in given.infolist():
            content = given.read(info)
            if info.filename == "xl/worksheets/sheet1.xml":
                content = re.sub(rb' r="A?\d+"', b"", content)
                content = content.replace(b"</sheetData>", b"<row>" + b"<c/>" * 16_000 + b"</row></sheetData>")
            written.writestr(info.filename, content)
    assert "up to" in refusal(altered).problem


def test_a_part_that_is_larger_than_the_archive_says_is_counted(path: Path) -> None:
    workbook(path, ("Data", rows(["a"], ["x"])))
    written = io.BytesIO()
    with zipfile.ZipFile(path) as given, zipfile.ZipFile(written, "w", zipfile.ZIP_DEFLATED) as archive:
        for info in given.infolist():
            content = given.read(info)
            if info.filename == "xl/sharedStrings.xml":
                content += b" " * 60_000_000
            archive.writestr(info.filename, content)
    stored = written.getvalue().replace((60_000_000 + 211).to_bytes(4, "little"), (1).to_bytes(4, "little"))
    path.write_bytes(stored)
    tracemalloc.start()
    try:
        assert "more than 250 times as much" in refusal(path).problem
        assert tracemalloc.get_traced_memory()[1] < 10_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("content", [b"", b"a,b\n1,2\n", b"PK\x03\x04\0\0", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"])
def test_what_is_no_workbook_is_refused(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    assert "no .xlsx workbook" in refusal(path).problem


def test_a_damaged_workbook_is_refused(path: Path) -> None:
    workbook(path, ("Data", rows(["a"], *([number] for number in range(500)))))
    stored = path.read_bytes()
    for place in range(100, len(stored) - 100, 97):
        altered = bytearray(stored)
        altered[place] ^= 0x55
        path.write_bytes(bytes(altered))
        try:
            items = list(open_source(path))
        except SourceError:
            continue
        assert len(items) == 500


def test_columns_have_the_names_that_a_workbook_shows() -> None:
    assert [column_name(place) for place in (0, 25, 26, 701, 702, 16_383)] == ["A", "Z", "AA", "ZZ", "AAA", "XFD"]


def test_the_hash_and_size_are_those_of_the_file(path: Path) -> None:
    workbook(path, ("Data", rows(["a"], [1])))
    source = open_source(path)
    list(source)
    assert source.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert source.size == source.total_bytes == path.stat().st_size


def test_names_of_ones_own_and_a_footer(path: Path) -> None:
    workbook(
        path, ("a", rows(["x", "x", None], ["p", 1, "q"], ["r", 2, None], [None], ["Source: an office"], ["2024"]))
    )
    source = open_source(path, SourceOptions(header=("x", "x_2", "z"), header_row=2, footer="Source"))

    assert values(source) == [{"x": "p", "x_2": 1, "z": "q"}, {"x": "r", "x_2": 2, "z": None}]
    assert source.findings.left_out == {"footer lines": 2}
    assert "names 2 columns, and the sheet has 3" in str(refusal(path, header=("x", "y")))


def test_a_footer_that_is_not_there_is_told(path: Path) -> None:
    workbook(path, ("a", rows(["x"], [1])))
    source = open_source(path, SourceOptions(footer="Source"))

    assert values(source) == [{"x": 1}]
    assert any("footer" in warning for warning in source.findings.warnings)
