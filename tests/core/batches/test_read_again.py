"""Rows that could not be read when their file was are read again with what the processor declares now."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pydantic
import pytest

from reliable_imports import BatchManager, BatchSummary, SourceOptions, TableProcessor
from tests.core.conftest import Sql

pytestmark = pytest.mark.promise(8)


class Row(pydantic.BaseModel):
    id: int
    v: str | None = None


class RowsProcessor(TableProcessor):
    table = "rows"
    key = ("id",)
    model = Row


@pytest.fixture
def rows(manager: BatchManager, sql: Sql) -> BatchManager:
    sql("CREATE TABLE rows (id integer PRIMARY KEY, v text)")
    manager.registry.register(RowsProcessor)
    return manager


def imported(manager: BatchManager, path: Path, content: bytes) -> BatchSummary:
    path.write_bytes(content)
    return manager.process_batch(manager.create_batch("rows", manager.open_source("rows", path)))


def reprocessed(
    manager: BatchManager, batch_id: int, monkeypatch: pytest.MonkeyPatch, *, all_items: bool = False, **options: Any
) -> BatchSummary:
    monkeypatch.setattr(RowsProcessor, "source_options", SourceOptions(**options))
    return manager.reprocess_batch(batch_id, failed_items_only=not all_items)


@pytest.mark.parametrize(
    ("name", "before", "content", "after", "expected"),
    [
        ("x.csv", {}, b"id,v\n1,a\n2,caf\xe9\n", {"encoding": "cp1252"}, "café"),
        ("x.csv", {}, b'id,v\n2,"x\ncaf\xe9"\n1,a\n', {"encoding": "latin-1"}, "x\ncafé"),
        ("x.csv", {}, b'id,v\n1,a\n2,"x\\"y"\n', {"escapechar": "\\"}, 'x"y'),
        ("x.csv", {}, b'id,v\n1,a\n2,"x"y\n', {"quotechar": None}, '"x"y'),
        ("x.csv", {}, b"id,v\n1,a\n2\n", {"short_rows": "accept"}, None),
        ("x.csv", {}, b"id,v\n1,a\n2,x,y\n", {"long_rows": "cut"}, "x"),
        ("x.csv", {"stray_quotes": "fail"}, b'id,v\n1,a\n2,5"\n', {}, '5"'),
        ("x.csv", {}, b"sep=;\nid;v\n1;a\n2;caf\xe9\n", {"encoding": "cp1252"}, "café"),
        ("x.csv", {"delimiter": ";"}, b"id;v;\n1;a;\n2;caf\xe9\n", {"delimiter": ";", "encoding": "cp1252"}, "café"),
        ("x.tsv", {}, b"id\tv\n1\ta\n2\tcaf\xe9\n", {"encoding": "cp1252"}, "café"),
        ("x.csv", {"header": ["id", "v"]}, b"1,a\n2,caf\xe9\n", {"encoding": "cp1252", "header": ["id", "v"]}, "café"),
        ("x.csv", {"skip_lines": 1}, b"title\nid,v\n1,a\n2,caf\xe9\n", {"skip_lines": 1, "encoding": "cp1252"}, "café"),
        ("x.jsonl", {}, b'{"id":1,"v":"a"}\n{"id":2,"v":"caf\xe9"}\n', {"encoding": "cp1252"}, "café"),
    ],
)
def test_kept_bytes_are_read_with_the_present_options(
    rows: BatchManager,
    sql: Sql,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    before: Mapping[str, Any],
    content: bytes,
    after: Mapping[str, Any],
    expected: str | None,
) -> None:
    monkeypatch.setattr(RowsProcessor, "source_options", SourceOptions(**before))
    first = imported(rows, tmp_path / name, content)
    assert (first.completed_items, first.failed_items) == (1, 1)
    stored = sql("SELECT * FROM reliable_imports.import_items ORDER BY item_number")

    again = reprocessed(rows, first.batch_id, monkeypatch, **after)

    assert (again.completed_items, again.failed_items) == (1, 0)
    assert sql("SELECT v FROM rows ORDER BY id") == [("a",), (expected,)]
    kept = sql("SELECT * FROM reliable_imports.import_items WHERE batch_id = %s ORDER BY item_number", first.batch_id)
    assert [tuple(map(repr_of, row)) for row in kept] == [tuple(map(repr_of, row)) for row in stored]
    assert sql(
        "SELECT source_data ->> 'v', source_raw, read_problem FROM reliable_imports.import_items WHERE batch_id = %s",
        again.batch_id,
    ) == [(expected, None, None)]
    lines = [log.details for log in rows.list_logs(again.batch_id) if log.message == "reprocess batch created"]
    assert [line["items_read_again"] for line in lines if line] == [1]


def repr_of(value: object) -> object:
    return bytes(value) if isinstance(value, memoryview) else value


@pytest.mark.parametrize("mark", [b"", "\ufeff".encode("utf-16-be")])
def test_the_byte_order_that_a_mark_told_still_holds(
    rows: BatchManager, sql: Sql, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mark: bytes
) -> None:
    encoding = "utf-16" if mark else "utf-16-be"
    monkeypatch.setattr(RowsProcessor, "source_options", SourceOptions(encoding=encoding))
    first = imported(rows, tmp_path / "x.csv", mark + "id,v\n1,a\n2\n".encode("utf-16-be"))
    assert first.failed_items == 1
    again = reprocessed(rows, first.batch_id, monkeypatch, encoding=encoding, short_rows="accept")
    assert again.completed_items == 1
    assert sql("SELECT id FROM rows ORDER BY 1") == [(1,), (2,)]


def test_a_row_that_still_cannot_be_read_says_what_is_wrong_now(
    rows: BatchManager, sql: Sql, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = imported(rows, tmp_path / "x.csv", b"id,v\n1,caf\xe9,x\n2,\xe9\n")
    assert first.failed_items == 2
    again = reprocessed(rows, first.batch_id, monkeypatch, encoding="cp1252")
    assert (again.completed_items, again.failed_items) == (1, 1)
    assert sql(
        "SELECT read_problem_kind, source_raw = %s, source_line FROM reliable_imports.import_items "
        "WHERE batch_id = %s AND read_problem IS NOT NULL",
        b"1,caf\xe9,x",
        again.batch_id,
    ) == [("long-row", True, 2)]
    links = "SELECT data_batch_id, data_item_number FROM reliable_imports.import_items WHERE batch_id = %s ORDER BY 1"
    assert sql(links, again.batch_id) == [(None, None), (None, None)], "both are something else now"
    same = rows.reprocess_batch(first.batch_id)
    assert (same.failed_items, sql(links, same.batch_id)) == (1, [(again.batch_id, 1)]), "the last that has its own"
    third = reprocessed(rows, first.batch_id, monkeypatch, encoding="cp1252", long_rows="cut")
    assert (third.completed_items, third.failed_items) == (1, 0)
    assert sql("SELECT v FROM rows ORDER BY id") == [("café",), ("é",)]


def test_bytes_that_are_several_rows_now_stay_one_unreadable_item(
    rows: BatchManager, sql: Sql, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = imported(rows, tmp_path / "x.csv", b'id,v\n1,"a\n2,b",c\n')
    assert first.failed_items == 1
    again = reprocessed(rows, first.batch_id, monkeypatch, quotechar=None)
    assert (again.total_items, again.failed_items) == (1, 1)
    assert sql("SELECT DISTINCT read_problem_kind FROM reliable_imports.stored_items") == [("long-row",)]
    assert sql("SELECT count(*) FROM rows") == [(0,)]


def test_items_keep_their_order_and_their_links_around_those_that_are_read_again(
    rows: BatchManager, sql: Sql, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = [b"%d,\xe9" % number if number % 3 else b"%d,ok" % number for number in range(1, 601)]
    lines[::7] = [b"x%d,y" % number for number in range(len(lines[::7]))]  # these fail for the model
    first = imported(rows, tmp_path / "x.csv", b"id,v\n" + b"\n".join(lines))
    assert 200 < first.failed_items < 600, "more than are read at once"

    again = reprocessed(rows, first.batch_id, monkeypatch, encoding="cp1252")

    assert again.total_items == first.failed_items
    links = sql(
        "SELECT repeats_item_number, origin_item_number, source_line, earlier_attempts "
        "FROM reliable_imports.stored_items WHERE batch_id = %s ORDER BY item_number",
        again.batch_id,
    )
    failed = sql(
        "SELECT item_number FROM reliable_imports.import_batch_items "
        "WHERE batch_id = %s AND status = 'failed' ORDER BY 1",
        first.batch_id,
    )
    assert links == [(number, number, number + 1, 1) for (number,) in failed]
    assert again.failed_items == len(lines[::7])


def test_all_items_can_be_run_again_with_those_that_can_be_read_now(
    rows: BatchManager, sql: Sql, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = imported(rows, tmp_path / "x.csv", b'id,v\n1,a\n2,\xe9\n3,"\0"\n')
    again = reprocessed(rows, first.batch_id, monkeypatch, all_items=True, encoding="cp1252")
    assert (again.total_items, again.completed_items) == (3, 2)
    assert sql("SELECT v FROM rows ORDER BY id") == [("a",), ("é",)]
    kept = sql(
        "SELECT source_raw FROM reliable_imports.stored_items WHERE batch_id = %s AND item_number = 3", again.batch_id
    )
    assert bytes(kept[0][0]) == b'{"id":"3","v":"\\u0000"}', "what the server cannot read goes over as it is"


def test_items_that_were_no_rows_of_a_file_are_repeated_as_they_are(
    rows: BatchManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = rows.process_batch(rows.create_batch("rows", [{"id": 1, "v": {1}}]))
    again = reprocessed(rows, first.batch_id, monkeypatch, encoding="cp1252")
    assert again.failed_items == 1
