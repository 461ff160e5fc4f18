from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Run

People = Callable[..., Path]
Sql = Callable[..., list[tuple[Any, ...]]]


@pytest.fixture
def failed_batch(run: Run, people: People) -> int:
    """A batch with a good person, two without an address and three unknown ones."""
    answer = run("import", people(good=1, without_address=2, unknown=3), "--as", "people", "--json")
    assert answer.status == 1
    return int(answer.document["batch_id"])


def _reason(run: Run, batch_id: int, error_type: str) -> str:
    reasons = run("failures", str(batch_id), "--json").document["reasons"]
    return next(
        str(reason["reason"]) for reason in reasons if error_type in (reason["rule"], reason["title"].partition(":")[0])
    )


def _repair(project: Path) -> None:
    """As a person does who has read why items failed: change the processor."""
    module = project / "shop" / "__init__.py"
    module.write_text(module.read_text().replace('== "Nobody"', '== "Somebody else"'))


def test_failures_are_run_again_after_a_repair(run: Run, project: Path, failed_batch: int, sql: Sql) -> None:
    _repair(project)
    answer = run("reprocess", str(failed_batch), "--note", "they moved in")
    assert answer.status == 1
    assert answer.lines[0] == "batch 2 repeats 5 items of batch 1"
    assert "3 completed, 2 failed" in answer.lines[1]
    assert "note\tthey moved in" in run("status", "2").lines
    assert "outstanding\t2 failures across its lineage" in run("status", "1").lines
    assert sql("SELECT count(*) FROM people") == [(4,)]


def test_one_reason_is_run_again_alone(run: Run, project: Path, failed_batch: int) -> None:
    _repair(project)
    answer = run("reprocess", str(failed_batch), "--reason", _reason(run, failed_batch, "LookupError"), "--json")
    assert answer.status == 0
    assert (answer.document["total_items"], answer.document["completed_items"]) == (3, 3)
    assert answer.document["outstanding_failures"] == 2


def test_two_reasons_are_both_taken(run: Run, failed_batch: int) -> None:
    one, two = _reason(run, failed_batch, "LookupError"), _reason(run, failed_batch, "ItemRejected")
    answer = run("failures", "1", "--reason", one, "--reason", two)
    failed = [line.partition("\t")[2] for line in answer.lines if line.startswith("failed\t")]
    assert failed == ["3 items of 1 batch, 3 for nothing else", "2 items of 1 batch, 2 for nothing else"]
    assert run("reprocess", "1", "--reason", two, "--json").document["total_items"] == 2
    assert run("reprocess", "1", "--reason", two, "--reason", one, "--json").document["total_items"] == 5
    refused = run("reprocess", "1", "--reason", two, "--reason", "nonsense")
    assert (refused.status, "'nonsense'" in refused.err) == (2, True)


def test_the_batches_whose_items_are_repeated_are_named(run: Run, failed_batch: int) -> None:
    rejected = _reason(run, failed_batch, "ItemRejected")
    assert run("reprocess", "1", "--reason", rejected).lines[0] == "batch 2 repeats 2 items of batch 1"
    assert run("reprocess", "2").lines[0] == "batch 3 repeats 5 items: 3 of batch 1, 2 of batch 2"
    assert run("reprocess", "2").lines[0] == "batch 4 repeats 5 items of batch 3"
    assert run("reprocess", "4", "--json").document["repeats"] == {"4": 5}


def test_nothing_outstanding_is_no_failure(run: Run, project: Path, people: People, sql: Sql) -> None:
    run("import", people(good=2), "--as", "people")
    answer = run("reprocess", "1")
    assert answer.status == 0
    assert answer.lines == ["nothing to reprocess: nothing is outstanding across the lineage of batch 1"]
    assert run("reprocess", "1", "--json").document["batch_id"] is None
    assert sql("SELECT count(*) FROM reliable_imports.import_batches") == [(1,)]


def test_an_unknown_reason_is_wrong_use(run: Run, failed_batch: int) -> None:
    answer = run("reprocess", str(failed_batch), "--reason", "nonsense")
    assert answer.status == 2
    assert answer.err.startswith(
        "error: no item of batch 1 failed for reason 'nonsense'; `reliable-imports failures 1`"
    )


def test_all_items_are_run_again_on_request(run: Run, people: People) -> None:
    run("import", people(good=2), "--as", "people")
    answer = run("reprocess", "1", "--all", "--json")
    assert (answer.status, answer.document["total_items"]) == (0, 2)


def test_an_old_item_overwrites_newer_data_only_on_request(run: Run, project: Path, tmp_path: Path, sql: Sql) -> None:
    old, new = tmp_path / "old.csv", tmp_path / "new.csv"
    old.write_text("email,name\nann@example.com,Nobody\n")
    new.write_text("email,name\nann@example.com,Ann\n")
    assert run("import", old, "--as", "people").status == 1
    assert run("import", new, "--as", "people").status == 0
    _repair(project)
    answer = run("reprocess", "1", "--json")
    assert (answer.status, answer.document["skipped_items"]) == (0, 1)
    assert sql("SELECT name FROM people") == [("Ann",)]
    assert run("reprocess", "1", "--all", "--overwrite-newer").status == 0
    assert sql("SELECT name FROM people") == [("Nobody",)]


def test_all_and_a_reason_exclude_each_other(run: Run, failed_batch: int) -> None:
    assert run("reprocess", str(failed_batch), "--all", "--reason", "x").status == 2


def test_nothing_is_taken_for_a_processor_that_is_not_there(
    run: Run, project: Path, failed_batch: int, sql: Sql
) -> None:
    module = project / "shop" / "__init__.py"
    module.write_text(module.read_text().replace("class PeopleProcessor", "class PersonsProcessor"))
    answer = run("reprocess", str(failed_batch))
    assert answer.status == 2
    assert "no processor for batch type 'people'" in answer.err
    assert sql("SELECT count(*) FROM reliable_imports.import_batches") == [(1,)]


def test_failures_are_given_up(run: Run, failed_batch: int) -> None:
    reason = _reason(run, failed_batch, "ItemRejected")
    answer = run("reprocess", "1", "--reason", reason[:6], "--skip", "they have no address")
    assert answer.status == 0
    assert answer.lines[0] == "batch 2 skips 2 items of batch 1"
    assert "outstanding\t3 failures across its lineage" in run("status", "1").lines
    assert run("verify").status == 0


def test_a_repeat_can_wait(run: Run, project: Path, failed_batch: int) -> None:
    answer = run("reprocess", "1", "--hold")
    assert answer.status == 0
    assert answer.lines[0] == "batch 2 holds back 5 items of batch 1"
    assert "held\tit waits until `reliable-imports process 2`" in run("status", "2").lines
    answer = run("reprocess", "1")
    assert answer.status == 0
    assert "batch 2 holds items back; `reliable-imports process 2` begins it" in answer.lines
    _repair(project)
    assert "3 completed, 2 failed" in run("process", "2").lines[0]


def test_all_lineages_of_a_type_are_run_again(run: Run, project: Path, people: People, failed_batch: int) -> None:
    run("import", people(good=0, without_address=1, unknown=1), "--as", "people", "--again")
    _repair(project)
    answer = run("reprocess", "--as", "people")
    assert answer.status == 1
    assert [line for line in answer.lines if " repeats " in line] == [
        "batch 3 repeats 5 items of batch 1",
        "batch 4 repeats 2 items of batch 2",
    ]
    document = run("reprocess", "--as", "people", "--json").document
    assert [batch["failed_items"] for batch in document["batches"]] == [2, 1]
    assert run("reprocess", "--as", "people", "--since", "2100-01-01").lines == [
        "nothing to reprocess: nothing of people that was asked for is outstanding"
    ]
    assert run("reprocess", "1", "--as", "people").status == 2
    assert run("reprocess").status == 2


def test_only_what_failed_under_other_code_is_run_again(run: Run, project: Path, failed_batch: int) -> None:
    assert "nothing to reprocess" in run("reprocess", "1", "--changed").lines[0]
    _repair(project)
    assert run("reprocess", "1", "--changed", "--limit", "4").lines[0].endswith(" repeats 4 items of batch 1")


def test_a_try_tells_what_a_repair_would_bring_and_keeps_nothing(
    run: Run, project: Path, failed_batch: int, sql: Sql
) -> None:
    _repair(project)
    before = sql("SELECT count(*), (SELECT count(*) FROM reliable_imports.import_batches) FROM people")
    answer = run("reprocess", str(failed_batch), "--try")
    assert (answer.status, answer.err) == (1, "")
    assert f"tried 5 items of people across the lineage of batch {failed_batch}; nothing was kept" in answer.lines
    assert "+3 would complete, 2 fail for the same reason, 0 have another reason" in answer.lines
    assert "ItemRejected" in answer.out
    sampled = run("reprocess", str(failed_batch), "--try", "--sample", "1", "--json").document
    assert (sampled["total_items"], sampled["tried_items"], sampled["would_complete"]) == (5, 2, 1)
    of_type = run("reprocess", "--as", "people", "--try", "--json").document
    assert (of_type["tried_items"], of_type["would_complete"]) == (5, 3)
    assert run("reprocess", "1", "--try", "--hold").status == 2
    everything = run("reprocess", str(failed_batch), "--all", "--try", "--json").document
    assert (everything["unchanged"], everything["created"], everything["failed"]) == (1, 3, 2)
    assert sql("SELECT count(*), (SELECT count(*) FROM reliable_imports.import_batches) FROM people") == before
