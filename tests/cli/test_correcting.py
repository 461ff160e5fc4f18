"""`failures --to` and `reprocess --from`: the loop that people walk."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import xlsxwriter

from tests.cli.conftest import Run

People = Callable[..., Path]


@pytest.fixture
def failed(run: Run, people: People, tmp_path: Path) -> Path:
    """The failures of a batch of a good person, two without an address and an unknown one, in a file."""
    run("import", people(good=1, without_address=2, unknown=1), "--as", "people")
    file = tmp_path / "failed.csv"
    answer = run("failures", "--as", "people", "--to", file)
    assert (answer.status, answer.lines[0]) == (0, f"3 failed items of people written to {file}")
    return file


def edit(file: Path, *columns: tuple[str, str, str]) -> None:
    """Gives the rows that hold a text a value in a column."""
    with file.open(encoding="utf-8-sig", newline="") as before:
        rows = list(csv.reader(before))
    for text, column, value in columns:
        for row in rows:
            if text in row:
                row[rows[0].index(column)] = value
    with file.open("w", newline="") as after:
        csv.writer(after).writerows(rows)


def test_what_was_changed_is_run_again(run: Run, failed: Path) -> None:
    edit(failed, ("Hermit 0", "email", "h0@example.com"), ("Nobody", "name", "Ann"))
    tried = run("reprocess", "--from", failed, "--try")
    assert tried.status == 0
    assert f"2 of 3 items corrected in {failed}" in tried.lines
    assert "+2 would complete, 0 fail for the same reason, 0 have another reason" in tried.lines
    answer = run("reprocess", "--from", failed)
    assert answer.status == 0
    assert answer.lines[1].endswith(" corrects 2 items of batch 1")
    new_batch = answer.lines[1].split()[1]  # a try has left a gap
    assert any(line.startswith("corrected\tfrom failed.csv") for line in run("status", new_batch).lines)
    again = run("reprocess", "--from", failed)
    assert again.lines == [
        f"0 of 3 items corrected in {failed}; 2 corrected so before",
        "nothing to reprocess: no correction is left to be made",
    ]
    assert run("failures", "1", "--json").document["outstanding_failures"] == 1


def test_what_was_repeated_meanwhile_is_named_and_the_others_go_on(run: Run, failed: Path) -> None:
    reason = next(
        each["reason"]
        for each in run("failures", "--json").document["reasons"]
        if each["title"].startswith("LookupError")
    )
    run("reprocess", "1", "--reason", reason)
    edit(failed, ("Hermit 0", "email", "h0@example.com"), ("Nobody", "name", "Ann"))
    answer = run("reprocess", "--from", failed)
    assert answer.status == 1
    assert "refused: item 1/4 was repeated meanwhile by item 2/1, which has failed: correct that one" in answer.lines
    assert "batch 3 corrects 1 item of batch 1" in answer.lines


def test_what_an_earlier_run_has_begun_goes_on(run: Run, failed: Path, sql: Callable[..., Any]) -> None:
    edit(failed, ("Nobody", "name", "Ann"))
    held = run("reprocess", "--from", failed, "--hold").lines[1].split()[1]
    again = run("reprocess", "--from", failed)
    assert (
        f"batch {held} holds corrections of this file back; `reliable-imports process {held}` begins it" in again.lines
    )
    sql("UPDATE reliable_imports.import_batches SET is_held = false WHERE is_held")  # as a run that died leaves it
    again = run("reprocess", "--from", failed)
    assert (again.status, again.lines[1]) == (
        0,
        f"batch {held} was made from this file before, and has not ended; it goes on",
    )
    assert again.lines[2].startswith(f"batch {held} completed: 1 completed, 0 failed, 0 skipped of 1 item")


def test_a_workbook_is_written_and_read(run: Run, failed: Path) -> None:
    file = failed.with_suffix(".xlsx")
    assert run("failures", "1", "--to", file).status == 0
    assert run("reprocess", "--from", file, "--json").document["unchanged"] == 3
    from python_calamine import CalamineWorkbook

    header, *rows = CalamineWorkbook.from_path(str(file)).get_sheet_by_index(0).to_python()
    with xlsxwriter.Workbook(str(file)) as workbook:
        sheet = workbook.add_worksheet()
        sheet.write_row(0, 0, header)
        for number, row in enumerate(rows, 1):
            row[header.index("email")] = f"{number}@example.com"
            sheet.write_row(number, 0, row)
    document = run("reprocess", "--from", file, "--json").document
    assert (document["corrected"], document["batches"][0]["completed_items"]) == (3, 2)


def test_the_newest_batch_of_a_type_is_shown(run: Run, failed: Path) -> None:
    run("reprocess", "1")
    for arguments in (("people",), ("--as", "people")):
        assert run("status", *arguments, "--json").document["batch_id"] == 2
    assert run("status").status == 2


def test_a_constant_is_set(run: Run, failed: Path, sql: Callable[..., Any]) -> None:
    reason = next(
        each["reason"] for each in run("failures", "--json").document["reasons"] if "LookupError" in each["title"]
    )
    assert run("reprocess", "1", "--set", "name=Ann").status == 2, "no reason says for which"
    answer = run("reprocess", "--as", "people", "--reason", reason[:6], "--set", "name=null")
    assert answer.lines[0] == "batch 2 corrects 1 item of batch 1"
    assert sql("SELECT name FROM people WHERE email = 'n0@example.com'") == [(None,)]
    assert sql("SELECT corrected_from FROM reliable_imports.import_batches WHERE id = 2") == [('constants for "name"',)]


def test_a_constant_that_changes_nothing_is_not_called_repaired(run: Run, failed: Path) -> None:
    reason = run("failures", "1", "--json").document["reasons"][0]["reason"]
    for which in (("--as", "people"), ("1",)):
        answer = run("reprocess", *which, "--reason", reason, "--set", "name=Hermit 0", "--set", "email=null")
        again = run("reprocess", *which, "--reason", reason, "--set", "name=Hermit 0", "--set", "email=null")
        assert (again.status, again.out.count("nothing is outstanding with other values in these fields")) == (0, 1), (
            answer
        )


def test_what_cannot_be_is_said(run: Run, failed: Path, tmp_path: Path) -> None:
    for arguments, words in (
        (("failures", "--to", tmp_path / "failed.txt"), ".csv, a .jsonl or an .xlsx"),
        (("failures", "--to", tmp_path / "none" / "failed.csv"), f"there is no folder {tmp_path / 'none'}"),
        (("report", "people", "-o", tmp_path / "none" / "page.html"), f"there is no folder {tmp_path / 'none'}"),
        (("failures", "--plain"), "--plain belongs to --to"),
        (("reprocess", "1", "--all", "--from", failed), "--from says which items are meant"),
        (("reprocess", "--as", "addresses", "--from", failed), "holds items of people, not of addresses"),
        (("reprocess", "--from", tmp_path / "none.csv"), "does not exist"),
    ):
        answer = run(*arguments)
        assert answer.status == 2
        assert words in answer.err
    run("import", failed, "--as", "addresses")
    other = run("reprocess", "2", "--from", failed)
    assert (other.status, "item 1/2 is not of the lineage of batch 2" in other.err) == (2, True)
    edit(failed, ("1/2", "_wrong", "nothing"))
    refused = run("reprocess", "--from", failed, "--json")
    assert refused.status == 2
    assert "line 2: _wrong of item 1/2 is not what was written" in json.loads(refused.err)["error"]
