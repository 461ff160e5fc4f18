"""What a sample says: how its file is read, and what its columns hold."""

from __future__ import annotations

import dataclasses
import gzip
import json
import zipfile
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pytest
import xlsxwriter

from reliable_imports import SourceOptions
from reliable_imports.errors import SourceError
from reliable_imports.scaffold.code import stored_value, table_sql
from reliable_imports.scaffold.draft import Draft, draft_from_file

_COLUMNS = '{"name": {"0": "Ann", "1": "Ben"}, "age": {"0": 7, "1": 8}}'
_MAP = json.dumps({code: {"name": code, "cities": [{"id": 1}, {"id": 2}]} for code in ("DE", "FR", "IT")})


def drafted(folder: Path, content: str | bytes, name: str = "sample.csv") -> Draft:
    file = folder / name
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return draft_from_file("sample", str(file))


def options_of(draft: Draft) -> dict[str, Any]:
    default = SourceOptions()
    names = [field.name for field in dataclasses.fields(SourceOptions)]
    return {
        name: getattr(draft.options, name) for name in names if getattr(draft.options, name) != getattr(default, name)
    }


def types_of(draft: Draft) -> dict[str, str]:
    return {each.name: each.sql for each in draft.columns}


@pytest.mark.parametrize(
    ("content", "options"),
    [
        ("id,name\n1,Ann\n2,Ben\n", {}),
        ("id;name\n1;a, b\n2;c\n", {"delimiter": ";"}),
        ("id;x;y\n1;1,5;2,5\n2;3,5;4,5\n", {"delimiter": ";"}),
        ("id\tnote\n1\ta, b\n2\tc\n", {"delimiter": "\t"}),
        ("id|name\n1|a\n2|b\n", {"delimiter": "|"}),
        ("sep=;\nid;name\n1;a\n", {}),
        ("id,name\n1,Löwe\n2,Bär\n".encode("cp1252"), {"encoding": "cp1252"}),
        ("id,name\n1,Řehoř Šťastný\n2,Žďár\n".encode("cp1250"), {"encoding": "cp1250"}),
        ("id,name\n1,Санкт-Петербург\n2,Новосибирск\n".encode("cp1251"), {"encoding": "cp1251"}),
        ("id,name\n1,Győr\n".encode("utf-16"), {"encoding": "utf-16"}),
        ("id,name\n1,Löwe\n".encode("utf-8-sig"), {}),
        ("id,name\n1,Löwe\n2,Bär\n".encode() + b"3,K\xf6ln\n", {}),  # one broken byte is no other encoding
        ("Report 2024\nmade on 1 May\n\nid,name\n1,a\n2,b\n", {"skip_lines": 3}),
        ("# made by a program\nid,name\n1,a\n2,b\n", {"skip_lines": 1}),
        ("# made by a program\n# in May, in a hurry\nid,name\n1,a\n2,b\n", {"skip_lines": 2}),
        ("# id,name\n1,a\n2,b\n", {}),
        ("id,x\n1,5\n2,6\n3,7\nTotal,18\n", {"footer": "Total,"}),
        ("id,x,y\n1,5,a\n2,6,b\n3,7,c\n\nSource: an office\n", {"footer": "Source: an office"}),
        ("name,x,y\na,1,2\nb,3,4\nc,,\n", {}),
        ("name,x,y\na,1,2\nb,3,4\nSource: an office,,\n", {"footer": "Source: an office,,"}),
        ("1.5,2,a\n2.5,3,b\n", {"header": ("column_1", "column_2", "column_3")}),
        ("id,x,x,\n1,2,3,\n", {"header": ("id", "x", "x_2", "column_4"), "skip_lines": 1}),
        (",x,,y\n1,a,b,3\n2,c,d,4\n", {"header": ("column_1", "x", "column_3", "y"), "skip_lines": 1}),
        ("x,y\nfirst,1,2\nsecond,3,4\n", {"header": ("row_name", "x", "y"), "skip_lines": 1}),
        ("a,b,c\n1,2,3\n4,5\n6,7,8\n", {"short_rows": "accept"}),
        ("a,b,c,d\n1,2\n3,4\n5,6,7,8\n", {"short_rows": "accept"}),
        ("a,b\n1,2\n3,4,x\n5,6\n", {"header": ("a", "b", "column_3"), "skip_lines": 1, "short_rows": "accept"}),
        ("country,1960,1961\nA,1.5,2\nB,3.5,4\n", {}),
        ("id;text;n\n1;a, b, c;1,5\n2;d, e, f;2,5\n", {"delimiter": ";"}),
        ('id,text\n1,"a \\"b\\" c"\n2,d\n', {"escapechar": "\\"}),
        ('id,text\n1,"C:\\new"\n2,"a" b\n3,d\n', {}),
        ('id,"x\n(cm)",x,x\n1,2,3,4\n', {"header": ("id", "x\n(cm)", "x", "x_2"), "skip_lines": 2}),
        (
            'a,"b\r\nc"\r\n1,2\r\n3,4,x\r\n5,6\r\n',
            {"header": ("a", "b\r\nc", "column_3"), "skip_lines": 2, "short_rows": "accept"},
        ),
    ],
)
def test_how_a_file_is_read(tmp_path: Path, content: str | bytes, options: dict[str, Any]) -> None:
    assert options_of(drafted(tmp_path, content)) == options


@pytest.mark.parametrize(
    ("values", "sql"),
    [
        (["1", "-20", "0"], "integer"),
        (["3000000000"], "bigint"),
        (["12345678901234567890"], "numeric"),
        (["1.50", "2", "-0.25"], "numeric"),
        (["1e-05", "2.5"], "numeric"),
        (["1e3", "2.5"], "numeric"),
        (["1e3", "25"], "text"),
        (["007", "12"], "text"),
        (["+49 221 1", "+49 30 2"], "text"),
        (["12%", "5%"], "text"),
        (["1", "x"], "text"),
        (["true", "FALSE"], "boolean"),
        (["Y", "N"], "text"),
        (["2024-01-31", "2023-02-01"], "date"),
        (["2024-02-30"], "text"),
        (["2024-01-31 10:00", "2024-01-31T10:00:00.5"], "timestamp"),
        (["2024-01-31T10:00:00Z", "2024-01-31 10:00:00+02"], "timestamptz"),
        (["2024-01-31T10:00:00.123456789"], "text"),
        (["2024-01-31T10:00:00Z", "2024-01-31T10:00:00"], "text"),
        (["05:17", "23:59:59"], "time"),
        (["25:00", "05:17"], "text"),
        (["5f3e2a10-0000-4000-8000-000000000001"], "uuid"),
        (['"1,234"', '"5,678"'], "text"),
        (["1.234", "2.500"], "numeric"),
        (["1.234", "985"], "text"),  # 1234 and 985, perhaps
        (["1.234", "1985"], "numeric"),
        (['"1 234,50"', '"985,00"'], "numeric"),
    ],
)
def test_what_a_column_holds(tmp_path: Path, values: list[str], sql: str) -> None:
    content = "key,x\n" + "".join(f"k{place},{value}\n" for place, value in enumerate(values))

    assert types_of(drafted(tmp_path, content))["x"] == sql


@pytest.mark.parametrize(
    ("values", "told"),
    [
        (["12.5 %", "3%"], "percentages; for numbers, "),
        (["€ 12.50", "7.00 EUR"], "amounts with a currency; for numbers, "),
        (["31.12.24", "01.02.25"], 'a year of two digits; if so, make the column date and declare dates = {"x": '),
        (["31-Dec-24"], "a year of two digits"),
        (["01/02/2024"], 'order of day and month no value tells; make the column date, and declare dates = {"x": '),
        (["1'234", "2'500"], "digits in groups of three"),
        (["(12.50)", "3.00-"], "numbers in brackets"),
        (
            ["1.234", "985"],
            'perhaps between thousands; if so, make the column numeric and declare decimal_comma = ("x",)',
        ),
        (["1.234", "2.500"], "three digits after each point, which is taken for a decimal point; if it stands "),
        (['"1,234.50"', "7"], "numbers with commas, perhaps between thousands; for numbers, "),
        (["31. Januar 2024", "1. März 2024"], "dates with the month in words; for dates, "),
        (["31.01.2024", "2024-02-01"], "dates written in several ways; make the column date and declare dates = "),
        (['"=""007"""'], "texts as formulas of a spreadsheet"),
        ([" a b", "c"], "1 value with blanks around; to have them without, declare strip = True"),
        (["a\0b", "c"], "1 value with a NUL character"),
        (["ja", "Nein"], "words for yes and no: ja, nein; for true and false, "),
        (["Y", "N"], "words for yes and no: n, y; make the column boolean"),
    ],
)
def test_what_is_left_as_text_is_told_where_the_column_stands(tmp_path: Path, values: list[str], told: str) -> None:
    draft = drafted(tmp_path, "key,x\n" + "".join(f"k{place},{value}\n" for place, value in enumerate(values)))

    before, _, _ = table_sql(draft).partition(f"    x {types_of(draft)['x']},")
    comment = " ".join(line.strip(" -") for line in before.partition("key text,\n")[2].splitlines())
    assert told in comment


@pytest.mark.parametrize(
    ("values", "form"),
    [
        (["31.01.2024", "01.02.2024"], "%d.%m.%Y"),
        (["31/01/2024", "1/2/2024"], "%d/%m/%Y"),
        (["1/31/2024", "02/01/2024"], "%m/%d/%Y"),
        (["2024/01/31"], "%Y/%m/%d"),
        (["31-Jan-2024"], "%d-%b-%Y"),
        (["Jan 31 2024"], "%b %d %Y"),
        (["31.01.2024 10:15"], "%d.%m.%Y %H:%M"),
        (["1/31/2024 3:05:00 PM"], "%m/%d/%Y %I:%M:%S %p"),
    ],
)
def test_how_a_date_is_written(tmp_path: Path, values: list[str], form: str) -> None:
    draft = drafted(tmp_path, "key,x\n" + "".join(f"k{place},{value}\n" for place, value in enumerate(values)))
    column = draft.columns[1]

    assert column.kind.form == form
    read = stored_value(draft, column, values[0])
    assert (read.date() if isinstance(read, datetime) else read) == date(2024, 1, 31)


def test_days_that_may_be_months_are_dates_only_if_another_column_tells(tmp_path: Path) -> None:
    alone = drafted(tmp_path, "id,x\n1,01/02/2024\n2,03/04/2024\n")
    told = drafted(tmp_path, "id,x,y\n1,01/02/2024,31/12/2024\n2,03/04/2024,01/01/2024\n")

    assert types_of(alone)["x"] == "text"
    assert [each.kind.form for each in told.columns[1:]] == ["%d/%m/%Y", "%d/%m/%Y"]


@pytest.mark.parametrize(
    ("content", "tokens", "sql"),
    [
        ("key,x,y\na,1,NA\nb,NA,2.5\n", {"NA"}, {"x": "integer", "y": "numeric"}),
        ("key,x,y\na,1,\nb,?,2024-01-01\n", {"?", ""}, {"x": "integer", "y": "date"}),
        ("key,x,y\na,NA,b\nc,d,e\n", set(), {"x": "text", "y": "text"}),
        ("key,x,y\na,-,3\nb,4,5\n", {"-"}, {"x": "integer", "y": "integer"}),
        ("key,x,y\na, 1, b\nc, 2,  \n", {""}, {"x": "integer", "y": "text"}),
    ],
)
def test_what_stands_for_no_value(tmp_path: Path, content: str, tokens: set[str], sql: dict[str, str]) -> None:
    draft = drafted(tmp_path, content)

    assert draft.null_tokens == tokens
    assert {name: each for name, each in types_of(draft).items() if name in sql} == sql


def test_a_code_that_is_spelt_like_no_value_stays_a_code(tmp_path: Path) -> None:
    codes = ["NA", "DE", "FR", "US", "GB", "IT", "ES", "PT", "PL", "SE", "NO", "KP"]
    rows = [f"{code},{'NA' if code == 'KP' else 5}\n" for code in codes]
    draft = drafted(tmp_path, "iso,gdp\n" + "".join(rows))

    assert types_of(draft) == {"iso": "text", "gdp": "text"}
    assert "NA" not in draft.null_tokens


def test_decimal_commas_are_told_from_commas_between_thousands(tmp_path: Path) -> None:
    comma = drafted(tmp_path, "id;x;y\n1;1.234,50;1.234\n2;0,75;5.678\n")
    thousands = drafted(tmp_path, 'id,x\n1,"1,234"\n2,"12,345"\n')

    assert [each.kind.name for each in comma.columns[1:]] == ["decimal comma", "decimal comma"]
    assert types_of(thousands)["x"] == "text"


def test_digits_of_a_column_that_is_named_for_something_else_stay_text(tmp_path: Path) -> None:
    assert types_of(drafted(tmp_path, "id,zip,Phone Number\n1,10115,5551234\n"))["zip"] == "text"


@pytest.mark.parametrize(
    ("content", "basis", "columns"),
    [
        ("x,id\n1,1\n1,2\n", "columns", ("id",)),
        ("name,x\na,1\nb,1\n", "columns", ("name",)),
        ("x,price\n1,2.5\n1,3.5\n", "all", ("x", "price")),
        ("x,y,z\na,p,1.5\nb,q,1.5\na,q,2.5\n", "all", ("x", "y", "z")),  # x and y differ by chance
        ("x,y\n1,a\n1,a\n", "place", ("source_file", "source_place")),
        ("day,x\n13.2.2024,1\n1.2.2024,2\n01.02.2024,3\n", "all", ("day", "x")),
        ("at,x\n2024-01-31T10:00Z,1\n2024-01-31T11:00+01:00,2\n", "all", ("at", "x")),
        ("at,x\n2024-01-31T10:00Z,1\n2024-01-31T10:00+01:00,2\n", "columns", ("at",)),
        ("day,nr\n13.2.2024,1\n1.2.2024,2\n01.02.2024,3\n", "columns", ("nr",)),
        ("x,price\n1,2.5\n1,2.50\n", "place", ("source_file", "source_place")),
        (
            "x,country,year\n" + "".join(f"1,c{c},{y}\n" for c in range(20) for y in range(1990, 2000)),
            "columns",
            ("country", "year"),
        ),
        (
            "day,x,station,month\n" + "".join(f"{d},1,s{s},5\n" for s in range(20) for d in range(1, 11)),
            "columns",
            ("day", "station", "month"),
        ),
    ],
)
def test_what_tells_rows_apart(tmp_path: Path, content: str, basis: str, columns: tuple[str, ...]) -> None:
    key = drafted(tmp_path, content).key

    assert key is not None
    assert (key.basis, key.columns) == (basis, columns)


def test_a_key_has_a_value_in_every_row(tmp_path: Path) -> None:
    key = drafted(tmp_path, "code,id,x\nNA,1,NA\nb,2,3\n").key

    assert key is not None
    assert key.columns == ("id",)


def test_a_field_that_some_items_lack_is_in_no_key(tmp_path: Path) -> None:
    draft = drafted(tmp_path, json.dumps([{"x": 1, "y": "a"}, {"x": 1}, {"x": 2, "y": "a"}]), "sample.json")

    assert draft.key is not None
    assert draft.key.basis == "place"


@pytest.mark.parametrize(
    ("document", "pointer", "columns"),
    [
        ([{"id": 1, "at": "2024-01-01T00:00:00Z", "sku": "007"}], None, ["integer", "timestamptz", "text"]),
        ({"count": 2, "rows": [{"id": 1}, {"id": 2}]}, None, ["integer"]),
        ({"errors": [{"e": 1}], "result": {"rows": [{"id": 1}, {"id": 2}]}}, "/result/rows", ["integer"]),
        ([{"id": 1, "tags": ["a"], "price": 1.10}, {"id": 2}], None, ["integer", "jsonb", "numeric"]),
        ([{"id": 1, "x": "a"}, {"id": 2, "x": 5}], None, ["integer", "text"]),
        ([{"id": 1, "x": True}, {"id": 2, "x": 5}], None, ["integer", "jsonb"]),
    ],
)
def test_json(tmp_path: Path, document: object, pointer: str | None, columns: list[str]) -> None:
    draft = drafted(tmp_path, json.dumps(document), "sample.json")

    assert draft.options.pointer == pointer
    assert list(types_of(draft).values()) == columns


def test_a_workbook_with_a_title_and_two_columns_of_one_name(tmp_path: Path) -> None:
    file = tmp_path / "sample.xlsx"
    book = xlsxwriter.Workbook(str(file))
    book.add_worksheet("Notes").write(0, 0, "read this")
    sheet = book.add_worksheet("Data")
    sheet.write(0, 0, "Report")
    sheet.write_row(2, 0, ["Region", "Sales", "Sales"])
    for row in range(5):
        sheet.write_row(3 + row, 0, [f"R{row}", row, row + 0.5])
    sheet.write(9, 0, "Source: an office")
    sheet.write(10, 0, "made on 1 May")
    book.close()
    draft = draft_from_file("sample", str(file))

    assert options_of(draft) == {
        "sheet": "Data",
        "header": ("Region", "Sales", "Sales_2"),
        "header_row": 4,
        "footer": "Source: an office",
    }
    assert types_of(draft) == {"region": "text", "sales": "integer", "sales_2": "numeric"}
    assert draft.sample is not None
    assert draft.sample.rows == 5


@pytest.mark.parametrize("name", ["sample.zip", "sample.txt.gz", "sample.dat"])
def test_a_file_whose_name_says_little(tmp_path: Path, name: str) -> None:
    content = "id;näme;x\n1;Müller;1,5\n2;x;2,5\n".encode("cp1252")
    if name.endswith(".zip"):
        with zipfile.ZipFile(tmp_path / name, "w") as archive:
            archive.writestr("inner.csv", content)
        content = (tmp_path / name).read_bytes()
    draft = drafted(tmp_path, gzip.compress(content) if name.endswith(".gz") else content, name)

    assert types_of(draft) == {"id": "integer", "naeme": "text", "x": "numeric"}


def test_what_is_no_object_is_left_to_fail_beside_objects(tmp_path: Path) -> None:
    draft = drafted(tmp_path, '{"id": 1}\n[5]\n{"id": 2, "v": NaN}\n', "sample.jsonl")

    assert draft.sample is not None
    assert (draft.sample.rows, draft.sample.problems) == (1, {"no-object": 1, "bad-json": 1})
    assert draft.sample.said["bad-json"] == "NaN is not JSON"


@pytest.mark.parametrize(
    ("values", "sql", "remark"),
    [
        ('1, "1", 1.50', "text", "2 numbers beside texts, which become texts too"),
        ('{"a": 1}, "1"', "jsonb", "texts beside lists or objects; each stays what it is"),
        ('true, "true"', "jsonb", "texts beside true and false; each stays what it is"),
        ("true, 1", "jsonb", ""),
    ],
)
def test_values_of_several_types_stay_what_they_are_or_that_is_told(
    tmp_path: Path, values: str, sql: str, remark: str
) -> None:
    items = [f'{{"id": "k{place}", "x": {value}}}' for place, value in enumerate(values.split(", "))]
    draft = drafted(tmp_path, "\n".join(items), "sample.jsonl")

    assert (draft.columns[1].sql, draft.columns[1].remark) == (sql, remark)


@pytest.mark.parametrize(
    ("content", "options", "first"),
    [
        (_MAP, {"member_name": "key"}, {"key": "DE", "name": "DE", "cities": [{"id": 1}, {"id": 2}]}),
        ('{"a": {"key": 1}, "b": {"key": 2}}', {"member_name": "member"}, {"member": "a", "key": 1}),
        (
            '{"at": 1, "by": {"a": {"x": 1}, "b": {"x": 2}}}',
            {"pointer": "/by", "member_name": "key"},
            {"key": "a", "x": 1},
        ),
    ],
)
def test_an_object_of_objects_is_read_with_their_names(
    tmp_path: Path, content: str, options: dict[str, Any], first: dict[str, Any]
) -> None:
    draft = drafted(tmp_path, content, "sample.json")

    assert options_of(draft) == options
    assert draft.first[0] == first
    assert draft.key is not None
    assert draft.key.columns == ("key",)


def test_a_file_that_holds_no_rows_of_names_is_refused(tmp_path: Path) -> None:
    unread = "none of its rows can be read: an item is no object with names, .* jq -c"
    with pytest.raises(SourceError, match=unread):
        drafted(tmp_path, "[1, 2]", "e.json")
    for name, content in (("a.json", "[]"), ("b.json", '{"x": {"y": 1}}'), ("c.csv", ""), ("d.json", _COLUMNS)):
        with pytest.raises(SourceError):
            drafted(tmp_path, content, name)
