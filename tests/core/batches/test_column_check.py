"""What people are told where a source and the model of a processor do not fit each other."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import pyarrow
import pyarrow.parquet
import pydantic
import pytest
import xlsxwriter

from reliable_imports import BatchManager, ImportBatchItem, SourceError, SourceOptions, TableProcessor
from tests.core.conftest import Sql


class Person(pydantic.BaseModel):
    id: int
    name: str
    phone: str | None = None
    joined: str | None = pydantic.Field(None, alias="Joined On")


class PeopleProcessor(TableProcessor):
    table = "people"
    key = ("id",)
    model = Person


@pytest.fixture
def people(manager: BatchManager, sql: Sql, monkeypatch: pytest.MonkeyPatch) -> BatchManager:
    sql("CREATE TABLE people (id integer PRIMARY KEY, name text, phone text, joined text)")
    manager.registry.register(PeopleProcessor)
    return manager


def told(manager: BatchManager, items: Iterable[object], batch_type: str = "people") -> list[str]:
    batch_id = manager.create_batch(batch_type, items)
    warnings = list(manager.get_summary(batch_id).warnings)
    logged = [line.message for line in manager.list_logs(batch_id, levels=["warning"])]
    assert warnings == logged, "each is said once"
    return warnings


def csv_of(folder: Path, text: str) -> Path:
    path = folder / "people.csv"
    path.write_text(text)
    return path


def source(manager: BatchManager, folder: Path, text: str, batch_type: str = "people") -> Any:
    return manager.open_source(batch_type, csv_of(folder, text))


def test_a_header_that_fits_says_nothing(people: BatchManager, tmp_path: Path) -> None:
    assert told(people, source(people, tmp_path, "phone,id,Joined On,name\n1,2,3,4\n")) == []


def test_a_header_that_lacks_a_field_is_told_with_the_likeliest_column(people: BatchManager, tmp_path: Path) -> None:
    assert told(people, source(people, tmp_path, "id,name,Phone No.,joined on,x\n1,A,2,3,4\n")) == [
        'the header has no column for phone (is it "Phone No.", which no field is named for?), '
        'Joined On (is it "joined on", which no field is named for?)',
        'the model has no field for the columns "x"',
    ]


def test_a_header_without_rows_is_looked_at_too(people: BatchManager, tmp_path: Path) -> None:
    batch_id = people.create_batch("people", source(people, tmp_path, "id,name,phone\n"))
    assert people.get_summary(batch_id).warnings == ["the header has no column for Joined On"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            "id;name\n1;A\n",
            'the header "id;name" has none of the model\'s fields id, name, phone, Joined On; '
            "if the delimiter is ';', set SourceOptions(delimiter=';')",
        ),
        ("id\tname\n1\tA\n", "if the delimiter is '\\t', set"),
        ("Report\n\nid,name\n1,A\n", "if line 3 is the header, set SourceOptions(skip_lines=2)"),
        (
            "Report\nid|name\n1|A\n",
            "if the delimiter is '|' and line 2 is the header, set SourceOptions(delimiter='|', skip_lines=1)",
        ),
        ("ID,Names\n1,A\n", 'the header "ID, Names" has none of the model\'s fields'),
        ("ID,Names\n1,A\n", '; "ID" looks like id, "Names" looks like name'),
        ("sku,price\n1,2\n", 'the header "sku, price" has none of the model\'s fields'),
    ],
)
def test_a_header_without_any_field_of_the_model_is_refused(
    people: BatchManager, sql: Sql, tmp_path: Path, text: str, told: str
) -> None:
    with pytest.raises(SourceError) as caught:
        people.create_batch("people", source(people, tmp_path, text))
    assert told in str(caught.value)
    assert sql("SELECT count(*) FROM reliable_imports.import_batches") == [(0,)]


def test_a_first_line_that_is_data_is_not_shown(people: BatchManager, tmp_path: Path) -> None:
    with pytest.raises(SourceError) as caught:
        people.create_batch("people", source(people, tmp_path, "4711,Ann Smith,ann@example.com\n"))
    assert "Ann" not in str(caught.value)
    assert "4711" not in str(caught.value)
    assert "for a file without a header, set SourceOptions(header=[...])" in str(caught.value)


def test_a_declared_header_over_a_file_that_has_one_is_told(
    people: BatchManager, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PeopleProcessor, "source_options", SourceOptions(header=["Nr", "Who"]))
    with pytest.raises(SourceError, match=r"if the file has a header, set SourceOptions\(header=None\)"):
        people.create_batch("people", source(people, tmp_path, "id,name\n1,A\n"))


def test_a_delivery_that_was_made_before_is_not_looked_at_again(people: BatchManager, tmp_path: Path) -> None:
    first = people.create_batch("people", source(people, tmp_path, "id,name\n1,A\n"), idempotency_key="monday")
    again = people.create_batch("people", source(people, tmp_path, "x;y\n1;A\n"), idempotency_key="monday")
    assert again == first


@pytest.mark.parametrize("kind", ["dicts", "jsonl", "json", "envelope"])
def test_items_without_a_header_are_judged_by_the_names_of_the_first_and_the_text_of_all(
    people: BatchManager, tmp_path: Path, kind: Literal["dicts", "jsonl", "json", "envelope"]
) -> None:
    def made(last: Mapping[str, object]) -> Any:
        items = [{"id": number, "name": "x" * 500, "Phone": "1"} for number in range(1_000)] + [last]
        if kind == "dicts":
            return iter(items)
        path = tmp_path / f"people.{'jsonl' if kind == 'jsonl' else 'json'}"
        match kind:
            case "jsonl":
                path.write_text("\n".join(map(json.dumps, items)))
            case "json":
                path.write_text(json.dumps(items))
            case "envelope":
                path.write_text(json.dumps({"data": items}))
        return people.open_source("people", path)

    assert told(people, made({"id": 0, "name": "y"})) == [
        'no item has a value for phone (is it "Phone", which no field is named for?), Joined On'
    ]
    assert told(people, made({"id": 0, "name": "y", "phone": 2})) == [
        "no item has a value for Joined On",
        'the model has no field for the names "Phone"',
    ], "the last of the items has one"


def test_names_beyond_ascii_are_seen_however_they_are_written(people: BatchManager, tmp_path: Path) -> None:
    class Size(pydantic.BaseModel):
        id: int
        größe: str | None = None

    class SizesProcessor(TableProcessor):
        table = "sizes"
        key = ("id",)
        model = Size

    people.registry.register(SizesProcessor)
    items = [{"id": number} for number in range(200)] + [{"id": 1, "größe": "x"}]
    path = tmp_path / "sizes.jsonl"
    for ensure_ascii in (True, False):
        path.write_text("\n".join(json.dumps(item, ensure_ascii=ensure_ascii) for item in items), encoding="utf-8")
        assert told(people, people.open_source("sizes", path), "sizes") == []
    assert told(people, items, "sizes") == []
    assert told(people, items[:200], "sizes") == ["no item has a value for größe"]


def test_names_of_items_that_have_nothing_of_the_model_are_not_shown(people: BatchManager) -> None:
    assert told(people, [{"ann@example.com": 1}]) == [
        "none of the first items has one of the model's fields (id, name, phone, Joined On)"
    ]
    assert told(people, [["ann"], 1, "x", {"a", 1}]) == []


def test_other_columns_are_no_error_where_code_may_read_them(people: BatchManager, tmp_path: Path) -> None:
    class OwnRowsProcessor(PeopleProcessor):
        def to_row(self, item: ImportBatchItem) -> Mapping[str, Any]:
            return {"id": item.source_data["nr"], "name": item.source_data["who"]}

    people.registry.register(OwnRowsProcessor)
    (first, *others) = told(people, source(people, tmp_path, "nr,who\n1,A\n", "own_rows"), "own_rows")
    assert first.startswith('the header "nr, who" has none of the model\'s fields id, name, phone, Joined On')
    assert others == [
        "the header has no column for id, name, phone, Joined On",
        'the model has no field for the columns "nr", "who"',
    ]


def test_a_validator_before_the_model_may_make_fields_of_any_columns(people: BatchManager, tmp_path: Path) -> None:
    class Made(Person):
        @pydantic.model_validator(mode="before")
        @classmethod
        def made(cls, row: Any) -> Any:
            return {"id": row["nr"], "name": f"{row['first']} {row['last']}"}

    class MadeProcessor(PeopleProcessor):
        model = Made

    people.registry.register(MadeProcessor)
    assert told(people, source(people, tmp_path, "id,first,last\n1,A,B\n", "made"), "made") == []
    assert told(people, source(people, tmp_path, "nr,first,last,Phone\n1,A,B,1\n", "made"), "made")[1:] == [
        'the header has no column for phone (is it "Phone", which no field is named for?)'
    ]


def test_a_model_that_takes_all_columns_lacks_a_field_all_the_same(people: BatchManager, tmp_path: Path) -> None:
    class Open(Person):
        model_config = pydantic.ConfigDict(extra="allow")

    class OpenProcessor(PeopleProcessor):
        model = Open

    people.registry.register(OpenProcessor)
    assert told(people, source(people, tmp_path, "id,name,phone,more\n1,A,2,3\n", "open"), "open") == [
        "the header has no column for Joined On"
    ]


def test_processors_without_a_model_take_any_header(manager: BatchManager, tmp_path: Path) -> None:
    assert told(manager, manager.open_source("notes", csv_of(tmp_path, "x;y\n1;2\n")), "notes") == []


def test_long_lists_are_cut(people: BatchManager, tmp_path: Path) -> None:
    columns = [f"column number {number}" for number in range(30)]
    header = ",".join(["id", "name", "phone", "Joined On", *columns])
    (only,) = told(people, source(people, tmp_path, f"{header}\n{'1,' * 33}1\n"))
    assert only.endswith('"column number 9" and 20 more')


def test_items_are_read_once_and_in_order(people: BatchManager, sql: Sql) -> None:
    def items() -> Iterator[object]:
        for number in range(250):
            yield {"id": number, "name": "x", "phone": "1", "Joined On": "2"}

    assert told(people, items()) == []
    stored = sql("SELECT source_data ->> 'id' FROM reliable_imports.import_items ORDER BY item_number")
    assert stored == [(str(number),) for number in range(250)]


def test_what_a_file_left_out_is_in_the_log(
    people: BatchManager, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PeopleProcessor, "source_options", SourceOptions(footer="Total", long_rows="cut"))
    header = "id,name,phone,Joined On"
    batch_id = people.create_batch("people", source(people, tmp_path, f"{header}\n1,A,2,3,4\nTotal: 1\n"))
    (created,) = people.list_logs(batch_id)
    assert created.details is not None
    assert (created.details["rows with cells cut off"], created.details["footer lines"]) == (1, 1)
    assert told(people, source(people, tmp_path, f"{header}\n1,A,2,3\n")) == [
        "no line fits the pattern of the footer; the file may be cut short"
    ]


@pytest.mark.parametrize("kind", ["xlsx", "parquet"])
def test_the_columns_of_typed_tables_are_looked_at_too(people: BatchManager, tmp_path: Path, kind: str) -> None:
    def table(columns: dict[str, Any]) -> Any:
        path = tmp_path / f"people.{kind}"
        if kind == "parquet":
            pyarrow.parquet.write_table(pyarrow.table({name: [value] for name, value in columns.items()}), path)
        else:
            with xlsxwriter.Workbook(path) as workbook:
                sheet = workbook.add_worksheet()
                sheet.write_row(0, 0, columns)
                sheet.write_row(1, 0, columns.values())
        return people.open_source("people", path)

    assert told(people, table({"id": 1, "name": "A", "phone": "2", "Joined": "3"})) == [
        'the header has no column for Joined On (is it "Joined", which no field is named for?)'
    ]
    with pytest.raises(SourceError, match="has none of the model's fields"):
        people.create_batch("people", table({"sku": 1}))
