from __future__ import annotations

import csv
import io
import json
import re
import threading
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reliable_imports.errors import ConfigurationError, SourceError
from reliable_imports.sources import SourceOptions, open_source
from tests.sources.files import problems, read, refusal, unhurried, value, values

pytestmark = pytest.mark.promise(1)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "rows.csv"


def test_a_row_becomes_an_object_of_strings_in_the_headers_order(path: Path) -> None:
    items = read(path, b'b,a,"100%s"\r\n1,NA,\r\n"x,""y""", 02 ,z\r\n')
    assert [item.text for item in items] == [
        '{"b":"1","a":"NA","100%s":""}',
        '{"b":"x,\\"y\\"","a":" 02 ","100%s":"z"}',
    ]
    assert [(item.line, item.offset) for item in items] == [(2, 13), (3, 20)]


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
def test_every_line_end_is_one_and_stays_as_it_is_in_a_quoted_cell(path: Path, end: bytes) -> None:
    items = read(path, end.join([b"a,b", b'1,"x', b"", b'y"', b"", b"2,z"]))
    assert values(items) == [{"a": "1", "b": f"x{end.decode() * 2}y"}, {"a": "2", "b": "z"}]
    assert [item.line for item in items] == [2, 6]
    assert items[1].offset == path.read_bytes().index(b"2,z")


def test_a_byte_order_mark_is_no_part_of_the_first_name(path: Path) -> None:
    (item,) = read(path, b"\xef\xbb\xbfa,b\n1,2\n")
    assert value(item) == {"a": "1", "b": "2"}
    assert item.offset == 7


def test_a_short_and_a_long_row_fail_with_their_bytes_between_whole_neighbours(path: Path) -> None:
    items = read(path, b"a,b\n1,2\n3\n4,5,6\r\n7,8\n")
    assert values([items[0], items[3]]) == [{"a": "1", "b": "2"}, {"a": "7", "b": "8"}]
    assert problems(items) == [("short-row", b"3"), ("long-row", b"4,5,6")]
    assert items[1].problem == "the row has 1 cell, the header 2"
    assert (items[2].line, items[2].offset) == (4, 10)


def test_a_row_in_another_encoding_fails_alone(path: Path) -> None:
    items = read(path, b"a,b\n1,caf\xe9\n2,ok\n")
    assert problems(items) == [("bad-encoding", b"1,caf\xe9")]
    assert value(items[1]) == {"a": "2", "b": "ok"}
    assert items[0].problem == "the row cannot be decoded as utf-8"


def test_all_lines_of_a_quoted_record_in_another_encoding_are_kept(path: Path) -> None:
    items = read(path, b'a,b\n1,"x\ncaf\xe9\r\ny"\r\n2,ok\n')
    assert problems(items) == [("bad-encoding", b'1,"x\ncaf\xe9\r\ny"')]
    assert (value(items[1]), items[1].line) == ({"a": "2", "b": "ok"}, 5)


def test_a_nul_character_in_a_cell_is_data(path: Path) -> None:
    items = read(path, b'a,b\nx\0y,1\n"p\0\n""q",2\n\\u0000,3\n')
    assert values(items) == [{"a": "x\0y", "b": "1"}, {"a": 'p\0\n"q', "b": "2"}, {"a": "\\u0000", "b": "3"}]
    assert [item.text is None for item in items] == [True, True, False]


def test_a_bad_quote_fails_its_row_alone(path: Path) -> None:
    items = read(path, b'a,b\n"x"y,1\n2,z\n')
    assert problems(items) == [("bad-quoting", b'"x"y,1')]
    assert value(items[1]) == {"a": "2", "b": "z"}


def test_a_quote_within_an_unquoted_cell_is_a_character(path: Path) -> None:
    assert values(read(path, b'a,b\n5" pipe,1\n')) == [{"a": '5" pipe', "b": "1"}]


def test_the_header_in_the_middle_is_a_failed_item(path: Path) -> None:
    items = read(path, b"a,b\n1,2\na,b\n3,4\n")
    assert problems(items) == [("repeated-header", b"a,b")]


def test_a_quote_that_is_never_closed_refuses_the_file_where_its_row_begins(path: Path) -> None:
    error = refusal(path, b'a,b\n1,2\n3,"x\n4,5\n')
    assert (error.line, error.offset) == (3, 8)
    assert "never closed" in error.problem


def test_a_quote_closed_rows_later_by_another_one_refuses_the_file(path: Path) -> None:
    error = refusal(path, b'a,b\n1,"x\n2,y\n3,z\n4,"w"\n')
    assert (error.line, error.offset) == (2, 4)
    error = refusal(path, b'a,b\n1,"x\n2,y\n3,",w\n')
    assert (error.line, error.offset) == (2, 4)


def test_a_ragged_row_over_several_lines_is_no_reason_to_refuse_the_file(path: Path) -> None:
    assert problems(read(path, b'a,b\n1,"x\ny",z\n')) == [("long-row", b'1,"x\ny",z')]


def test_an_unclosed_quote_is_told_at_the_limit_and_not_at_the_end_of_the_file(path: Path) -> None:
    path.write_bytes(b'a,b\n1,"x\n' + b"2,y\n" * 3_000_000)
    source = open_source(path, SourceOptions(max_item_bytes=10_000))
    with pytest.raises(SourceError, match="not closed within 10000 bytes") as caught:
        list(source)
    assert (caught.value.line, caught.value.offset) == (2, 4)
    assert source.bytes_read < 1_000_000


def test_an_unclosed_quote_in_a_line_of_just_the_limit_is_told(path: Path) -> None:
    content = b'a,b\r\n"' + b"x" * 199_999 + b'\r\ny",2\r\n'
    assert refusal(path, content, max_item_bytes=200_000).line == 2
    assert len(read(path, content, max_item_bytes=300_000)) == 1


def test_a_row_over_the_limit_is_told_without_reading_all_of_it(path: Path) -> None:
    path.write_bytes(b"a,b\n1,2\n" + b"x" * 5_000_000)
    source = open_source(path, SourceOptions(max_item_bytes=10_000))
    with pytest.raises(SourceError, match="line 3, byte 8: the row holds more than 10000 bytes"):
        list(source)
    assert source.bytes_read < 1_000_000


def test_a_row_of_just_the_limit_is_read(path: Path) -> None:
    assert len(read(path, b"a\r\n12345\r\n12345", max_item_bytes=5)) == 2
    assert refusal(path, b"a\r\n123456\r\n", max_item_bytes=5).line == 2


def test_a_cell_of_five_megabytes_works_though_the_csv_modules_limit_is_smaller(path: Path) -> None:
    before = csv.field_size_limit(1000)
    try:
        cell = '"\r\n,' * 1_250_000
        items = read(path, f'a,b\n1,"{cell.replace(chr(34), chr(34) * 2)}"\n2,x\n'.encode())
        assert values(items) == [{"a": "1", "b": cell}, {"a": "2", "b": "x"}]
        csv.field_size_limit(2**30)
        read(path, f'a,b\n1,"{cell.replace(chr(34), chr(34) * 2)}"\n'.encode())
        assert csv.field_size_limit() == 2**30, "a higher limit of somebody else's was lowered"
    finally:
        csv.field_size_limit(before)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "the file is empty: no header line"),
        (b"\xef\xbb\xbf", "the file is empty: no header line"),
        (b"\n1,2\n", "first line is empty"),
        (b"\n\n", "first line is empty"),
        (b",,\n1,2,3\n", "names no columns; if line 2 is the header, set SourceOptions(skip_lines=1)"),
        (b'"",""\n1,2\n', "names no columns"),
        (b'""\nx\n', "names no columns"),
        (b"a,b,a\n1,2,3\n", 'names a column twice: "a"'),
        (b'a,"b"c\n1,2\n', "header cannot be read"),
        (b'a,"b\n1,2\n', "never closed"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "looks binary"),
        (b"PK\x03\x04\0\0\n", "zip archive is damaged"),
        ("a,b\n1,2\n".encode("utf-16"), "looks binary"),
    ],
)
def test_a_file_without_a_usable_header_is_refused(path: Path, content: bytes, problem: str) -> None:
    assert problem in str(refusal(path, content))


def test_a_header_without_rows_is_an_empty_source(path: Path) -> None:
    assert read(path, b"a,b\n") == []


def test_one_column_before_others_may_have_no_name(path: Path) -> None:
    assert values(read(path, b",a\n1,x\n")) == [{"": "1", "a": "x"}]


def test_columns_that_a_spreadsheet_left_without_a_name_are_ignored_while_they_are_empty(path: Path) -> None:
    items = read(path, b"id,v,,\n1,a,,\n2,b\n3,c,,x\n4,d,,,\n5\n6,f,\n")
    assert values([items[0], items[1], items[5]]) == [
        {"id": "1", "v": "a"},
        {"id": "2", "v": "b"},
        {"id": "6", "v": "f"},
    ]
    assert problems(items) == [("nameless-cell", b"3,c,,x"), ("long-row", b"4,d,,,"), ("short-row", b"5")]
    assert [item.problem for item in items if item.problem] == [
        "the row has a value in column 4, which has no name",
        "the row has 5 cells, the header 4",
        "the row has 1 cell, the header 4",
    ]
    assert values(read(path, b"id, ,v,\n1,,a,\n")) == [{"id": "1", "v": "a"}]
    assert problems(read(path, b"id, ,v,\n1,x,a,\n")) == [("nameless-cell", b"1,x,a,")]
    assert problems(read(path, b"id,v,\n1,a,\nid,v,\n")) == [("repeated-header", b"id,v,")]


def test_a_value_without_a_name_is_told_beside_quotes_too(path: Path) -> None:
    items = read(path, b'id,v,\n1,"a\nb",\n2,"c",x\n')
    assert value(items[0]) == {"id": "1", "v": "a\nb"}
    assert problems(items) == [("nameless-cell", b'2,"c",x')]


def test_rows_of_nothing_but_delimiters_are_no_items(path: Path) -> None:
    content = b"a,b\n1,2\n,\n , \n\n,,,,\n3,4\n,\n"
    items = read(path, content)
    assert values(items) == [{"a": "1", "b": "2"}, {"a": "3", "b": "4"}]
    assert [item.line for item in items] == [2, 7]
    assert values(read(path, b'a,b\n"",""\n')) == [{"a": "", "b": ""}], "somebody wrote these"
    kept = read(path, content, blank_rows="keep")
    assert [item.kind for item in kept] == [None, None, None, "short-row", "long-row", None, None]
    assert values([kept[1], kept[2]]) == [{"a": "", "b": ""}, {"a": " ", "b": " "}]


def test_an_empty_line_of_a_file_of_one_column_is_an_empty_cell(path: Path) -> None:
    content = b"a\nx\n\n \ny\n\n"
    assert values(read(path, content)) == [{"a": "x"}, {"a": ""}, {"a": " "}, {"a": "y"}, {"a": ""}]
    assert values(read(path, content, blank_rows="skip")) == [{"a": "x"}, {"a": "y"}]
    assert values(read(path, b"a\nx\n,,\n")) == [{"a": "x"}]
    assert values(read(path, b"a,\nx,\n\n,\n")) == [{"a": "x"}], "two columns, of which one has no name"


@pytest.mark.parametrize("line", [b"sep=;", b"SEP=;", b'"sep=;"'])
def test_the_delimiter_that_a_spreadsheet_says_in_the_first_line_is_obeyed(path: Path, line: bytes) -> None:
    for options in ({}, {"delimiter": ";"}, {"delimiter": "\t"}):
        items = read(path, b"\xef\xbb\xbf" + line + b"\r\nid;v\r\n1;a\r\n", **options)
        assert values(items) == [{"id": "1", "v": "a"}]
        assert items[0].line == 3
    assert values(read(path, b"sep=\t\nid\tv\n1\ta\n")) == [{"id": "1", "v": "a"}]
    assert values(read(path, "sep=|\nid|v\n1|a\n".encode("utf-16"), encoding="utf-16")) == [{"id": "1", "v": "a"}]


def test_what_only_looks_like_such_a_line_is_a_header(path: Path) -> None:
    assert values(read(path, b"sep=x,y\n1,2\n")) == [{"sep=x": "1", "y": "2"}]
    assert values(read(path, b"a,b\nsep=;,1\n")) == [{"a": "sep=;", "b": "1"}]


def test_lines_before_the_header_can_be_skipped(path: Path) -> None:
    content = b'Sales "report\nCreated\n\nid;v\n1;a\n'
    (item,) = read(path, content, skip_lines=3, delimiter=";")
    assert value(item) == {"id": "1", "v": "a"}
    assert (item.line, item.offset) == (5, content.index(b"1;a"))
    assert values(read(path, b"Report\nsep=;\nid;v\n1;a\n", skip_lines=1)) == [{"id": "1", "v": "a"}]
    assert "the file has 5 lines, and skip_lines is 6" in str(refusal(path, content, skip_lines=6))
    error = refusal(path, b"x\n\nid,v\n", skip_lines=1)
    assert (error.line, "if line 3 is the header, set SourceOptions(skip_lines=2)" in error.problem) == (2, True)


def test_a_file_without_a_header_is_read_with_declared_names(path: Path) -> None:
    header = ["id", "v"]
    assert values(read(path, b"1,a\n2,b\n", header=header)) == [{"id": "1", "v": "a"}, {"id": "2", "v": "b"}]
    assert [item.line for item in read(path, b"title\n1,a\n", skip_lines=1, header=header)] == [2]
    assert read(path, b"", header=header) == []
    assert problems(read(path, b"id,v\n1,a\n", header=header)) == [("repeated-header", b"id,v")]


def test_a_footer_and_what_follows_it_are_no_items(path: Path) -> None:
    path.write_bytes(b"id,v\n1,a\nTotal,1\n\nCreated by a program\nChecked,by,hand\n")
    source = open_source(path, SourceOptions(footer="Total"))
    assert values(list(source)) == [{"id": "1", "v": "a"}]
    assert (source.findings.left_out, source.findings.warnings) == ({"footer lines": 3}, [])


def test_a_row_after_the_footer_refuses_the_file(path: Path) -> None:
    error = refusal(path, b"id,v\nTotal energy,1\n2,b\n", footer="Total")
    assert (error.line, error.problem) == (3, "a row follows the footer, which begins in line 2")
    assert values(read(path, b"id,v\n1,a\nSum,1\nMean,1\n", footer="Sum|Mean")) == [{"id": "1", "v": "a"}]


def test_a_file_without_its_footer_may_be_cut_short_and_says_so(path: Path) -> None:
    path.write_bytes(b"id,v\n1,a\n")
    source = open_source(path, SourceOptions(footer="Total"))
    assert len(list(source)) == 1
    assert source.findings.warnings == ["no line fits the pattern of the footer; the file may be cut short"]


def test_a_short_row_can_be_an_item_without_the_fields_that_it_lacks(path: Path) -> None:
    items = read(path, b'a,b,c\n1\n"2\n",x\n3,4,5,6\n', short_rows="accept")
    assert values(items[:2]) == [{"a": "1"}, {"a": "2\n", "b": "x"}]
    assert problems(items) == [("long-row", b"3,4,5,6")]


def test_a_long_row_can_be_cut_and_the_source_says_how_many_were(path: Path) -> None:
    path.write_bytes(b"a,b\n1,2,3\n4\n5,6,,\n7,8\n")
    source = open_source(path, SourceOptions(long_rows="cut"))
    items = list(source)
    assert values([items[0], items[2], items[3]]) == [{"a": "1", "b": "2"}, {"a": "5", "b": "6"}, {"a": "7", "b": "8"}]
    assert problems(items) == [("short-row", b"4")]
    assert source.findings.left_out == {"rows with cells cut off": 2}


def test_a_quote_that_is_never_closed_makes_no_row_that_can_be_accepted(path: Path) -> None:
    error = refusal(path, b'a,b,c\n1,"x\n2,y,z\n3,"\n', short_rows="accept", long_rows="cut")
    assert (error.line, "not closed" in error.problem) == (2, True)


def test_an_escape_character_takes_the_meaning_from_what_follows(path: Path) -> None:
    content = b'a,b\n"x\\"y",1\nx\\,y,2\n\\\\,3\nn,\\\nm\n'
    assert values(read(path, content, escapechar="\\")) == [
        {"a": 'x"y', "b": "1"},
        {"a": "x,y", "b": "2"},
        {"a": "\\", "b": "3"},
        {"a": "n", "b": "\nm"},
    ]
    assert values(read(path, b'a,b\n"x\\,y,2\n', escapechar="\\", quotechar=None)) == [{"a": '"x,y', "b": "2"}]
    assert problems(read(path, b'a,b\n"x\\"y",1\n')) == [("bad-quoting", b'"x\\"y",1')]


def test_a_quote_within_an_unquoted_cell_can_fail_its_row(path: Path) -> None:
    content = b'a,b\n5" pipe,1\n"5"" pipe",2\n"",3\n\\"x,4\nx,"y"\n'
    stray = [("bad-quoting", b'5" pipe,1'), ("bad-quoting", b'\\"x,4')]
    assert problems(read(path, content, stray_quotes="fail")) == stray
    assert problems(read(path, content, stray_quotes="fail", escapechar="\\")) == stray[:1]


def test_an_empty_cell_without_quotes_can_be_told_from_one_with_quotes(path: Path) -> None:
    items = read(path, b'a,b,c\n,"",x\n"",,""\n"x,",,\n1,2,3\n', bare_empty="null")
    assert values(items) == [
        {"a": None, "b": "", "c": "x"},
        {"a": "", "b": None, "c": ""},
        {"a": "x,", "b": None, "c": None},
        {"a": "1", "b": "2", "c": "3"},
    ]
    assert values(read(path, b"a,b\n1,\n", bare_empty="null", quotechar=None)) == [{"a": "1", "b": None}]
    assert values(read(path, b"a\nx\n\n", bare_empty="null")) == [{"a": "x"}, {"a": None}]
    assert values(read(path, b'a,b\n"",\n', bare_empty="null", short_rows="accept")) == [{"a": "", "b": None}]


_QUOTABLE = st.tuples(st.text(st.sampled_from('a",;\\ \n\r'), max_size=5), st.booleans())


@unhurried
@given(
    rows=st.lists(st.lists(_QUOTABLE, min_size=3, max_size=3), min_size=1, max_size=4),
    delimiter=st.sampled_from([",", "|", " "]),
    escapechar=st.sampled_from([None, "\\"]),
)
def test_which_cells_stand_in_quotes_is_seen_in_every_row_that_can_be_read(
    tmp_path_factory: pytest.TempPathFactory,
    rows: list[list[tuple[str, bool]]],
    delimiter: str,
    escapechar: str | None,
) -> None:
    def written(cell: str, is_quoted: bool) -> str:
        if escapechar is not None:
            cell = cell.replace(escapechar, escapechar * 2)
        return '"' + cell.replace('"', '""') + '"' if is_quoted else cell

    # A cell that needs quotes has them; others may.
    special = {delimiter, '"', "\n", "\r"}
    cells = [[(text, quoted or bool(special & set(text))) for text, quoted in row] for row in rows]
    lines = [["x", "y", "z"], *[[written(*each) for each in row] for row in cells]]
    items = read(
        tmp_path_factory.getbasetemp() / "quotes.csv",
        "\n".join(map(delimiter.join, lines)).encode(),
        delimiter=delimiter,
        escapechar=escapechar,
        bare_empty="null",
        stray_quotes="fail",
        blank_rows="keep",
    )
    assert [list(row.values()) for row in values(items)] == [
        [None if not text and not quoted else text for text, quoted in row] for row in cells
    ]


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"escapechar": '"'}, "quotechar and escapechar are both"),
        ({"delimiter": "ab"}, "delimiter must be one character"),
        ({"header": "id"}, "header must be a list"),
        ({"header": []}, "header must name each column once"),
        ({"header": ["a", "a"]}, "header must name each column once"),
        ({"header": ["a", " "]}, "header must name each column once"),
        ({"skip_lines": -1}, "skip_lines must be a whole number"),
        ({"footer": "("}, "is no regular expression"),
        ({"short_rows": "cut"}, "short_rows must be 'fail' or 'accept', not 'cut'"),
        ({"blank_rows": "no"}, "blank_rows must be None or 'skip' or 'keep'"),
        ({"pointer": "data"}, "is no JSON pointer"),
        ({"pointer": "/a~2"}, "is no JSON pointer"),
    ],
)
def test_an_option_that_cannot_be_meant_is_refused(options: dict[str, Any], problem: str) -> None:
    with pytest.raises(ConfigurationError, match=re.escape(problem)):
        SourceOptions(**options)


def test_tabs_delimit_tsv_and_options_override(tmp_path: Path, path: Path) -> None:
    assert values(read(tmp_path / "rows.tsv", b'a\tb\n1,"\t"x\ty"\n')) == [{"a": '1,"', "b": "x\ty"}]
    assert values(read(path, b"a;b\n1;2\n", delimiter=";")) == [{"a": "1", "b": "2"}]
    assert values(read(path, b'a,b\n"x,y"\n', quotechar=None)) == [{"a": '"x', "b": 'y"'}]
    assert values(read(path, b"a,b\n'x,y',2\n", quotechar="'")) == [{"a": "x,y", "b": "2"}]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-be", "cp1252", "shift_jis"])
def test_a_declared_encoding_is_read(path: Path, encoding: str) -> None:
    # U+0A0D and U+0D0A hold the bytes of line ends, and of wide ones where they meet other characters.
    wide = "ਊ഍\u0d0a\u0a00Ċ" if encoding.startswith("utf") else "ü" if encoding == "cp1252" else "ソ表"
    text = f'a,b\r\n{wide},1\r\n"x\n{wide}",2\r3,4'
    items = read(path, text.encode(encoding), encoding=encoding)
    assert [list(row.values()) for row in values(items)] == [[wide, "1"], [f"x\n{wide}", "2"], ["3", "4"]]
    assert [item.line for item in items] == [2, 3, 5]
    assert items[0].offset == len("a,b\r\n".encode(encoding))


def test_a_broken_row_in_utf_16_keeps_its_bytes(path: Path) -> None:
    broken = b"1\0,\0\x00\xd8"
    items = read(path, "a,b\n".encode("utf-16") + broken + "\n2,x\n".encode("utf-16-le"), encoding="utf-16")
    assert problems(items) == [("bad-encoding", broken)]
    assert value(items[1]) == {"a": "2", "b": "x"}


_CELLS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8) | st.sampled_from(
    ['"', "\r", "\n", "\r\n", ",", "\0", "\\u0000", "%s", "\u2028", "\x85", "\x0b\x1c", "ÿ"]
)


@unhurried
@given(
    data=st.data(),
    dialect=st.sampled_from(["excel", "excel-tab", "unix"]),
    encoding=st.sampled_from(["utf-8", "utf-16"]),
)
def test_what_pythons_csv_module_writes_is_read_back_equal(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, dialect: str, encoding: str
) -> None:
    names = _CELLS.filter(lambda name: "\0" not in name and name.strip() != "")
    header = data.draw(st.lists(names, min_size=1, max_size=4, unique=True))
    if len(header) > 1 and data.draw(st.booleans()):
        header[0] = ""
    rows = data.draw(st.lists(st.lists(_CELLS, min_size=len(header), max_size=len(header)), max_size=5))
    rows = [row for row in rows if row != header]
    written = io.StringIO()
    # Python before 3.11 leaves a lone CR unquoted; quoting everything is right everywhere.
    csv.writer(written, dialect, quoting=csv.QUOTE_ALL).writerows([header, *rows])
    path = tmp_path_factory.getbasetemp() / "written.csv"
    options = {"encoding": encoding, "delimiter": "\t" if dialect == "excel-tab" else ","}
    items = read(path, written.getvalue().encode(encoding), **options)
    assert values(items) == [dict(zip(header, row, strict=True)) for row in rows]
    assert [list(value(item)) for item in items] == [header] * len(rows)


@unhurried
@given(st.lists(st.sampled_from(["a", "\r", "\n", "\r\n", ",", '"', "\0", "\udcff", "1,2\n", '"x",']), max_size=60))
def test_every_byte_of_every_row_is_in_an_item_or_the_file_is_refused(
    tmp_path_factory: pytest.TempPathFactory, pieces: list[str]
) -> None:
    content = b"h,i\n" + "".join(pieces).encode("utf-8", "surrogateescape")
    path = tmp_path_factory.getbasetemp() / "pieces.csv"
    path.write_bytes(content)
    try:
        items = list(open_source(path))
    except SourceError:
        return
    starts = [item.offset or 0 for item in items]
    assert starts == sorted(set(starts))
    ends = [*starts[1:], len(content)]
    for item, start, end in zip(items, starts, ends, strict=False):
        # Behind an item there may be lines of delimiters, up to the next one.
        part = content[start:end]
        if item.problem is not None:
            assert item.raw is not None
            assert part.startswith(item.raw)
            assert part[len(item.raw) :].strip(b"\r\n,") == b""
        else:
            row = next(csv.reader(io.StringIO(part.decode("utf-8", "surrogateescape"), newline="")))
            assert list(value(item).values()) == row
    between = content[4 : starts[0]] if starts else content[4:]
    assert between.strip(b"\r\n,") == b""


def test_two_threads_read_large_cells_at_once(tmp_path: Path) -> None:
    content = b'a,b\n1,"' + b"x" * 300_000 + b'"\n'
    results: list[str] = []

    def work(number: int) -> None:
        results.extend(json.dumps(row) for row in values(read(tmp_path / f"{number}.csv", content)))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert len(results) == 4
    assert len(set(results)) == 1
