"""Corrections: repeats with data of their own. What failed stays as it was, and all else is as of other repeats."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from reliable_imports import (
    BatchManager,
    BatchStatus,
    ConfigurationError,
    ReprocessRequest,
    SetFields,
    SourceError,
    WhichItems,
)
from tests.core.conftest import Sql
from tests.core.doubles import NotesProcessor

pytestmark = pytest.mark.promise(8)

GOOD = {"id": 1, "text": "ok"}
BAD = {"id": 2, "text": "bad", "note": None}
REJECTED = {"id": 3, "text": "ok", "valid": False}


def delivered(manager: BatchManager, *items: Any) -> int:
    batch_id = manager.create_batch("notes", items)
    manager.process_batch(batch_id)
    return batch_id


def rows_of(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def write_rows(file: Path, *rows: dict[str, Any]) -> None:
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.fixture
def exported(manager: BatchManager, tmp_path: Path) -> Path:
    """The failures of a batch of three items, as JSON Lines."""
    delivered(manager, GOOD, BAD, REJECTED)
    file = tmp_path / "failed.jsonl"
    assert manager.export_failures(file).items == 2
    return file


def corrected(manager: BatchManager, file: Path) -> list[int | None]:
    """The batches that the corrections of a file have made, processed."""
    corrections = manager.read_corrections(file)
    made = []
    for first, data in corrections.found.to_make.items():
        made.append(
            manager.create_reprocess_batch(
                first, ReprocessRequest(corrections=data, corrected_from=corrections.source, requested_by="Ann")
            )
        )
        manager.process_batch(made[-1] or 0)
    return made


def test_a_row_says_which_item_it_is_and_what_is_wrong(exported: Path) -> None:
    bad, rejected = rows_of(exported)
    assert list(bad) == ["_item", "_line", "_wrong", "id", "text", "note"]
    assert (bad["_item"], bad["_line"], bad["note"], rejected["_item"]) == ("1/2", None, None, "1/3")
    assert "notes_text_not_bad" in bad["_wrong"]


def test_only_what_was_changed_is_repeated_with_its_own_data(manager: BatchManager, exported: Path, sql: Sql) -> None:
    bad, rejected = rows_of(exported)
    write_rows(exported, {**bad, "text": "good"}, rejected)
    assert corrected(manager, exported) == [2]
    batch = manager.get_batch(2)
    assert (batch.status, batch.total_items) == (BatchStatus.COMPLETED, 1)
    assert str(batch.corrected_from).startswith("failed.jsonl (")
    assert sql("SELECT text FROM notes WHERE id = 2") == [("good",)]
    assert json.loads(manager.list_items(1)[1].source_data) == BAD, "what was delivered stays as it was"
    assert manager.count_outstanding(1) == 1
    told = manager.list_logs(2)[0]
    assert told.message == "batch of corrections created"
    assert told.details is not None
    assert (told.details["requested_by"], told.details["corrected_from"]) == ("Ann", batch.corrected_from)


def test_the_same_file_twice_does_nothing(manager: BatchManager, exported: Path, sql: Sql) -> None:
    bad, rejected = rows_of(exported)
    write_rows(exported, {**bad, "text": "good"}, {**rejected, "id": 30})
    assert corrected(manager, exported) == [2]
    again = manager.read_corrections(exported)
    assert (again.found.to_make, again.found.refused, again.unchanged) == ({}, {}, 0)
    assert {str(item): str(by) for item, by in again.found.made.items()} == {"1/2": "2/1", "1/3": "2/2"}
    assert sql("SELECT count(*) FROM reliable_imports.import_batches") == [(2,)]


def test_corrections_whose_maker_died_are_gone_on_with(manager: BatchManager, exported: Path, sql: Sql) -> None:
    bad, rejected = rows_of(exported)
    write_rows(exported, {**bad, "text": "good"}, rejected)
    data = manager.read_corrections(exported).found.to_make[1]
    request = ReprocessRequest(corrections=data)
    begun = manager.create_reprocess_batch(1, request)
    again = manager.read_corrections(exported).found
    assert (again.to_make, again.under_way, again.held) == ({}, [begun], [])
    assert manager.create_reprocess_batch(1, request) == begun
    manager.process_batch(begun or 0)
    assert manager.read_corrections(exported).found.under_way == []
    assert manager.create_reprocess_batch(1, request) is None
    assert sql("SELECT id, text FROM notes WHERE id = 2") == [(2, "good")]


def test_corrections_that_were_cancelled_are_told_apart(manager: BatchManager, exported: Path) -> None:
    bad, rejected = rows_of(exported)
    write_rows(exported, {**bad, "text": "good"}, rejected)
    held = manager.create_reprocess_batch(
        1, ReprocessRequest(corrections=manager.read_corrections(exported).found.to_make[1], hold=True)
    )
    assert manager.read_corrections(exported).found.held == [held]
    manager.cancel_batch(held or 0)
    left = manager.export_failures(exported.with_name("left.jsonl"))
    assert (left.items, left.undone) == (1, 1), "what is outstanding and not in the file is told"
    [(_, why)] = manager.read_corrections(exported).found.refused.items()
    assert (
        why == f"was repeated meanwhile by item {held}/1, which a cancelled batch left undone: reprocess batch {held}"
    )


def test_what_became_of_an_item_is_told_to_the_end(manager: BatchManager, exported: Path) -> None:
    bad, rejected = rows_of(exported)
    manager.reprocess_batch(1, ReprocessRequest(from_item=2, to_item=2))
    manager.reprocess_batch(1, ReprocessRequest(corrections={"2/1": {**GOOD, "id": 2}}))
    write_rows(exported, {**bad, "text": "another"}, rejected)
    [(_, why)] = manager.read_corrections(exported).found.refused.items()
    assert why == "was repeated meanwhile by item 3/1, which was completed"


def test_what_was_repeated_meanwhile_is_refused_by_name(manager: BatchManager, exported: Path) -> None:
    bad, rejected = rows_of(exported)
    manager.reprocess_batch(1, ReprocessRequest(from_item=2, to_item=2))
    write_rows(exported, {**bad, "text": "good"}, {**rejected, "valid": True})
    found = manager.read_corrections(exported).found
    assert {str(item): why for item, why in found.refused.items()} == {
        "1/2": "was repeated meanwhile by item 2/1, which has failed: correct that one"
    }
    assert corrected(manager, exported) == [3], "the others go on"
    with pytest.raises(ConfigurationError, match="nothing was corrected: item 1/2 was repeated meanwhile"):
        manager.reprocess_batch(1, ReprocessRequest(corrections={"1/2": GOOD}))


def test_a_correction_that_failed_again_is_corrected_again(manager: BatchManager, exported: Path, sql: Sql) -> None:
    bad, _ = rows_of(exported)
    write_rows(exported, {**bad, "id": 20})
    corrected(manager, exported)
    manager.export_failures(exported)
    assert [row["_item"] for row in rows_of(exported)] == ["1/3", "2/1"]
    rejected, bad = rows_of(exported)
    assert bad["id"] == 20
    write_rows(exported, rejected, {**bad, "text": "good"})
    assert corrected(manager, exported) == [3]
    assert sql("SELECT text FROM notes WHERE id = 20") == [("good",)]


def test_several_batches_of_one_type_are_in_one_file(manager: BatchManager, exported: Path) -> None:
    delivered(manager, BAD)
    assert manager.export_failures(exported).items == 3
    write_rows(exported, *({**row, "text": "good", "valid": True} for row in rows_of(exported) if row["id"] != 3))
    assert corrected(manager, exported) == [3, 4]
    assert [manager.get_batch(batch_id).first_batch_id for batch_id in (3, 4)] == [1, 2]


Edit = Callable[[list[dict[str, Any]]], list[dict[str, Any]]]


REFUSED: list[tuple[Edit, str]] = [
    (lambda rows: [{**rows[0], "_item": "1/99"}], "line 1: there is no item 1/99"),
    (lambda rows: [{**rows[0], "_item": "17-Apr"}], 'line 1: _item is "17-Apr"'),
    (lambda rows: [rows[0], rows[0]], "line 2: item 1/2 stands in line 1 already"),
    (lambda rows: [{**rows[0], "_wrong": "nothing"}], "line 1: _wrong of item 1/2 is not what was written there"),
    (lambda rows: [{**rows[0], "_item": "1/3"}], "line 1: _wrong of item 1/3 is not what was written there"),
    (lambda rows: [rows[0], {**rows[1], "txet": "ok"}], 'line 2: the column "txet" is new'),
    (lambda rows: [{k: v for k, v in rows[0].items() if k != "text"}], 'the field "text" of item 1/2 is missing'),
    (lambda rows: [{k: v for k, v in rows[0].items() if k != "_line"}], "line 1: the column _line is missing"),
    (lambda rows: [], "has no rows"),
]


def test_what_may_not_be_changed_is_refused_before_anything_is_done(
    manager: BatchManager, exported: Path, sql: Sql
) -> None:
    rows = [{**row, "text": "good"} for row in rows_of(exported)]
    for edit, problem in REFUSED:
        write_rows(exported, *edit(rows))
        with pytest.raises(SourceError) as refused:
            manager.read_corrections(exported)
        assert problem in str(refused.value)
    assert sql("SELECT count(*) FROM reliable_imports.import_batches") == [(1,)]


def test_a_url_is_no_file_of_corrections(manager: BatchManager) -> None:
    with pytest.raises(ConfigurationError, match="read from a file, not from a URL"):
        manager.read_corrections("s3://bucket/failed.csv")


def test_columns_of_a_table_are_those_that_were_written(manager: BatchManager, exported: Path) -> None:
    file = exported.with_suffix(".csv")
    manager.export_failures(file)
    text = file.read_text(encoding="utf-8-sig")
    file.write_text(text.replace(",text", ",txet"))
    with pytest.raises(SourceError, match='line 1: the column "text" is missing; item 1/2 has it'):
        manager.read_corrections(file)
    file.write_text(text.replace("_wrong", "wrong"))
    with pytest.raises(SourceError, match="line 1: the column _wrong is missing"):
        manager.read_corrections(file)


def test_a_line_that_could_not_be_read_is_filled_in(manager: BatchManager, tmp_path: Path, sql: Sql) -> None:
    source = tmp_path / "notes.csv"
    source.write_text("id,text\n1,ok\n2,too,many\n")
    manager.process_batch(manager.create_batch("notes", manager.open_source("notes", source)))
    file = tmp_path / "failed.csv"
    manager.export_failures(file)
    header, row = file.read_text(encoding="utf-8-sig").splitlines()
    assert header == "_item,_line,_wrong,_raw,id,text"
    assert row.startswith("1/2,3,")
    assert row.endswith('"2,too,many",,')
    assert corrected(manager, file) == []
    file.write_text(f"{header}\n{row.removesuffix(',,')},2,many\n")
    corrected(manager, file)
    assert sql("SELECT text FROM notes WHERE id = 2") == [("many",)]
    assert manager.count_outstanding(1) == 0


def test_a_mapping_in_python_takes_just_its_items(manager: BatchManager, exported: Path) -> None:
    summary = manager.reprocess_batch(1, ReprocessRequest(corrections={(1, 2): {"id": 2, "text": "fine"}}))
    assert (summary.batch_id, summary.total_items, summary.completed_items) == (2, 1, 1)
    assert manager.get_batch(2).corrected_from == "Python"
    same = manager.reprocess_batch(1, ReprocessRequest(corrections={"1/2": {"id": 2, "text": "fine"}}))
    assert same.batch_id == 2, "the same twice does nothing"
    with pytest.raises(ConfigurationError, match="there is no item 9/9"):
        manager.reprocess_batch(1, ReprocessRequest(corrections={"9/9": {}}))
    with pytest.raises(ConfigurationError, match="item 1/3 cannot be kept as JSON"):
        manager.reprocess_batch(1, ReprocessRequest(corrections={"1/3": {"id": object()}}))


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"1/2": GOOD, (1, 2): BAD}, "item 1/2 is named twice in corrections"),
        ({(2**70, 1): GOOD}, "names no item in corrections"),
        ({"1/9": GOOD}, "there is no item 1/9"),
    ],
)
def test_a_mapping_that_names_no_items_is_refused(
    manager: BatchManager, exported: Path, given: dict[Any, Any], words: str
) -> None:
    with pytest.raises(ConfigurationError, match=words):
        manager.reprocess_batch(1, ReprocessRequest(corrections=given))


def test_a_callable_takes_what_it_changes(manager: BatchManager, exported: Path) -> None:
    def repaired(data: Any) -> Any:
        return {**data, "text": "good"} if data["text"] == "bad" else None

    summary = manager.reprocess_batch(1, ReprocessRequest(corrections=repaired))
    assert (summary.total_items, summary.completed_items) == (1, 1)
    assert manager.reprocess_batch(1, ReprocessRequest(corrections=repaired)).batch_id == 2
    assert manager.reprocess_batch(1, ReprocessRequest(corrections=dict)).batch_id == 2, "nothing is changed"


def test_constants_are_set_for_one_reason(manager: BatchManager, exported: Path) -> None:
    reason = next(each.reason for each in manager.failures(1) if "notes_text_not_bad" in each.title)
    request = ReprocessRequest(reasons=[reason], corrections=SetFields({"text": "set"}), corrected_from="a test")
    tried = manager.try_reprocess(1, request)
    assert [(item.item_number, item.rows[0].after["text"]) for item in tried.items if item.rows[0].after] == [
        (2, "set")
    ]
    assert manager.count_outstanding(1) == 2, "a try keeps nothing"
    begun = manager.create_reprocess_batch(1, request)
    assert begun is not None
    assert manager.create_reprocess_batch(1, request) == begun, "whoever made it may have died"
    others = ReprocessRequest(reasons=[reason], corrections=SetFields({"text": "more"}), corrected_from="a test")
    assert manager.create_reprocess_batch(1, others) is None
    manager.process_batch(begun)
    assert manager.create_reprocess_batch(1, request) is None
    assert manager.count_outstanding(1) == 1


def test_a_correction_never_overwrites_newer_data(manager: BatchManager, exported: Path, sql: Sql) -> None:
    delivered(manager, {"id": 2, "text": "newer"})
    summary = manager.reprocess_batch(1, ReprocessRequest(corrections={"1/2": {"id": 2, "text": "older"}}))
    assert summary.batch_id == 3
    assert sql("SELECT text FROM notes WHERE id = 2") == [("newer",)]


def test_two_corrections_to_one_key_are_duplicates(
    manager: BatchManager, exported: Path, monkeypatch: pytest.MonkeyPatch, sql: Sql
) -> None:
    monkeypatch.setattr(NotesProcessor, "natural_key", ("id",))
    both = {"1/2": {"id": 7, "text": "first"}, "1/3": {"id": 7, "text": "last"}}
    summary = manager.reprocess_batch(1, ReprocessRequest(corrections=both))
    assert (summary.completed_items, summary.skipped_items) == (1, 1)
    assert sql("SELECT text FROM notes WHERE id = 7") == [("last",)]


@pytest.mark.parametrize(
    "other", [{"canary": 2}, {"skip": "why"}, {"which": WhichItems.ALL}, {"reasons": ["x"]}, {"limit": 1}]
)
def test_what_contradicts_corrections_is_refused(other: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match="exclude each other"):
        ReprocessRequest(corrections={"1/2": {}}, **other)


def test_what_a_person_is_forgotten_for_is_refused(manager: BatchManager, exported: Path, sql: Sql) -> None:
    bad, rejected = rows_of(exported)
    write_rows(exported, {**bad, "text": "good"}, rejected)
    corrected(manager, exported)
    manager.erase({"text": "good"}, "notes")
    assert sql("SELECT count(*) FROM reliable_imports.import_items WHERE erased_at IS NOT NULL") == [(2,)]
    assert {str(item) for item in manager.read_corrections(exported).found.refused} == {"1/2"}


def test_sensitive_fields_are_masked_and_stay(
    manager: BatchManager, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(NotesProcessor, "sensitive", ("secret",))
    delivered(manager, {**BAD, "secret": "DE02"})
    file = tmp_path / "failed.jsonl"
    assert manager.export_failures(file).masked == ["secret"]
    [row] = rows_of(file)
    assert row["secret"] == "***"
    assert manager.read_corrections(file).unchanged == 1
    write_rows(file, {**row, "text": "good"})
    corrected(manager, file)
    assert json.loads(manager.list_items(2)[0].source_data)["secret"] == "DE02"


def test_the_plain_file_is_what_came(manager: BatchManager, tmp_path: Path) -> None:
    delivered(manager, GOOD, {**BAD, "phone": "+49", "empty": "", "none": None})
    for kind, expected in (
        ("csv", 'id,text,note,phone,empty,none\n2,bad,,+49,"",\n'),
        ("jsonl", '{"id":2,"text":"bad","note":null,"phone":"+49","empty":"","none":null}\n'),
    ):
        file = tmp_path / f"plain.{kind}"
        manager.export_failures(file, plain=True)
        assert file.read_text() == expected
        with pytest.raises(SourceError, match="the column _item is missing"):
            manager.read_corrections(file)
