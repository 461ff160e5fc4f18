from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.cli.conftest import Run

People = Callable[..., Path]
Sql = Callable[..., list[tuple[Any, ...]]]


def test_failures_tells_reasons_with_counts_and_values(run: Run, people: People) -> None:
    run("import", people(good=4, without_address=979, unknown=147), "--as", "people")
    answer = run("failures", "1")
    assert answer.status == 0
    assert answer.lines[0] == "1,126 items failed for 2 reasons"
    names = ["outstanding", "only", "failed", "reason", "state", "what", "values", "since", "batches"]
    assert answer.lines[1].split("\t") == names
    first, second = (dict(zip(names, line.split("\t"), strict=True)) for line in answer.lines[2:4])
    assert (first["outstanding"], first["only"], first["failed"], first["state"]) == ("979", "979", "979", "open")
    assert (second["failed"], second["batches"]) == ("147", "1")
    assert "there is no such person" in second["what"]


def test_failures_without_a_batch_are_those_of_all_that_wait(run: Run, people: People, tmp_path: Path) -> None:
    assert run("failures").lines == ["no failure is outstanding"]
    run("import", people(good=1, without_address=2), "--as", "people")
    run("import", people(unknown=2, without_address=1), "--as", "people")
    run("import", people(good=1), "--as", "addresses")
    answer = run("failures")
    assert answer.status == 0
    assert answer.lines[0] == "3 reasons are open"
    rows = [line.split("\t") for line in answer.lines[2:5]]
    assert [row[0] for row in rows] == ["3", "2", "1"]
    assert {(row[4], row[-1]) for row in rows} == {("people", "2, last 2"), ("people", "2"), ("addresses", "3")}
    assert f"reliable-imports failures --reason {rows[0][3]} " in answer.out
    assert f"reliable-imports reprocess --as people --reason {rows[0][3]} " in answer.out, "of both batches"
    assert run("failures", "--as", "addresses").lines[0] == "1 reason of addresses is open"
    assert run("failures", "--as", "nothing").lines == ["no failure of nothing is outstanding"]
    assert run("failures", "--limit", "1").lines[3] == "and 2 more reasons; --limit shows them"
    assert run("failures", "1", "--as", "people").status == 2


def test_failures_as_a_document(run: Run, people: People) -> None:
    run("import", people(good=1, without_address=2), "--as", "people")
    [reason] = run("failures", "--json").document["reasons"]
    assert reason.keys() >= {
        "reason", "title", "state", "batch_type", "items", "only", "outstanding", "first_seen", "last_seen", "values"
    }  # fmt: skip
    assert (reason["state"], reason["batch_type"]) == ("open", "people")
    assert (reason["items"], reason["only"], reason["outstanding"]) == (2, 2, 2)
    assert run("failures", "--as", "people", "--json").document["reasons"] == [reason]
    document = run("failures", "1", "--json").document
    assert document["reasons"] == [reason]
    assert (document["failed_items"], document["outstanding_failures"]) == (2, 2)


def test_failures_of_a_reason_are_all_that_is_known_of_it(run: Run, people: People) -> None:
    run("import", people(good=1, unknown=3), "--as", "people")
    [reason] = run("failures", "1", "--json").document["reasons"]
    answer = run("failures", "1", "--reason", reason["reason"][:4], "--limit", "2")
    assert answer.status == 0
    assert answer.lines[0] == reason["title"]
    facts = dict(line.split("\t", 1) for line in answer.lines if line.count("\t") == 1)
    assert facts["failed"] == "3 items of 1 batch, 3 for nothing else"
    assert (facts["state"], facts["outstanding"]) == ("open", "3 items, 3 for nothing else")
    heading = next(place for place, line in enumerate(answer.lines) if line.startswith("batch\titem\tline"))
    assert [line.split("\t")[1] for line in answer.lines[heading + 1 : heading + 3]] == ["2", "3"]
    assert answer.lines[heading + 3] == "and 1 more item; --limit shows them"
    assert "  File " in answer.out.split("traceback of the first sample:\n")[1]
    document = run("failures", "--reason", reason["reason"], "--json").document
    assert [item["item_number"] for item in document["items"]] == [2, 3, 4]
    assert document["items"][0]["source_data"] == {"email": "n0@example.com", "name": "Nobody"}
    assert document["reasons"][0]["days"][0]["items"] == 3


def test_what_people_say_of_a_reason(run: Run, people: People) -> None:
    run("import", people(good=1, unknown=3), "--as", "people")
    [reason] = run("failures", "--json").document["reasons"]
    prefix = reason["reason"][:5]
    said = run("failures", "--reason", prefix, "--note", "asked Ann")
    assert said.lines == [f"{reason['reason']} noted: {reason['title']}"]
    assert (
        "ignored until 2999-01-01 00:00:00, or it surges"
        in run("failures", "--reason", prefix, "--ignore", "few", "--until", "2999-01-01").out
    )
    answer = run("failures")
    assert answer.lines[0] == "0 reasons are open; 1 is ignored"
    [ignored] = run("failures", "--json").document["reasons"]
    assert (ignored["state"], ignored["ignored_why"], ignored["note"]) == ("ignored", "few", "asked Ann")
    told = run("failures", "--reason", prefix).out
    assert "\tasked Ann\n" in told
    assert ": few\n" in told
    run("failures", "--reason", prefix, "--no-ignore")
    assert run("failures").lines[0] == "1 reason is open"
    for wrong in (
        ["--note", "x"],
        ["--reason", prefix, "--note", "x", "--ignore", "y"],
        ["--reason", prefix, "--until", "2999-01-01"],
        ["--reason", prefix, "--ignore", "y", "--until", "2001-01-01"],
        ["--reason", prefix, "--note", ""],
        ["--reason", "zzz", "--note", "x"],
    ):
        assert run("failures", *wrong).status == 2, wrong


def test_a_batch_without_failures_says_so(run: Run, people: People) -> None:
    run("import", people(good=1), "--as", "people")
    assert run("failures", "1").lines == ["no item of batch 1 failed"]
    assert run("failures", "1", "--reason", "x").status == 2


def test_a_line_that_could_not_be_read_is_shown_as_it_stands(run: Run, tmp_path: Path) -> None:
    (tmp_path / "people.jsonl").write_bytes(b"[1, 2\n")
    run("import", tmp_path / "people.jsonl", "--as", "people")
    [reason] = run("failures", "1", "--json").document["reasons"]
    [item] = run("failures", "--reason", reason["reason"], "--json").document["items"]
    assert (item["source_data"], item["stage"]) == ("[1, 2", "read")


def test_raw_bytes_are_shown_as_the_text_that_they_are(run: Run, tmp_path: Path) -> None:
    (tmp_path / "people.jsonl").write_bytes(
        '{"name": "Zoë \\u0000 东京"}\n{"name": "Zoë\n'.encode() + b'{"n": "caf\xe9 \xc3\xab"}\n'
    )
    run("import", tmp_path / "people.jsonl", "--as", "addresses")
    reasons = [each["reason"] for each in run("failures", "1", "--json").document["reasons"]]
    wanted = [argument for reason in reasons for argument in ("--reason", reason)]
    shown = {each["item_number"]: each["source_data"] for each in run("failures", *wanted, "--json").document["items"]}
    assert shown == {1: {"name": "Zoë \0 东京"}, 2: '{"name": "Zoë', 3: '{"n": "caf\\xe9 ë"}'}
    assert '{"name": "Zoë' in run("failures", *wanted).out


def test_failures_after_a_repair_tell_what_is_outstanding_across_the_lineage(
    run: Run, people: People, project: Path
) -> None:
    run("import", people(good=1, without_address=2, unknown=3), "--as", "people")
    module = project / "shop" / "__init__.py"
    module.write_text(module.read_text().replace('== "Nobody"', '== "Somebody else"'))
    run("reprocess", "1")

    answer = run("failures", "1")
    rows = {row[2]: row for row in (line.split("\t") for line in answer.lines[2:4])}
    assert (rows["3"][0], rows["3"][4]) == ("0", "closed")
    assert (rows["2"][0], rows["2"][4]) == ("2", "open")
    [outstanding] = run("failures", "1", "--json").document["outstanding"]
    assert (outstanding["batch_id"], outstanding["items"], outstanding["stage"]) == (2, 2, "validate")
    assert f"reliable-imports reprocess 1 --reason {outstanding['reason']} " in answer.out
    assert [each["reason"] for each in run("failures", "--json").document["reasons"]] == [outstanding["reason"]]
    assert len(run("failures", "--all", "--json").document["reasons"]) == 2

    repaired = module.read_text().replace('return "@" in', "return True or").replace('["email"],', '["name"],')
    module.write_text(repaired + "# Of another length: Python may know a file by that, and the second of its change.\n")
    assert run("reprocess", "1").status == 0
    told = "nothing is outstanding across the lineage of batch 1: all was run again since"
    assert run("failures", "1").lines[-1] == told


def test_what_fails_for_a_new_reason_in_a_repeat_is_told_with_the_first_batch(
    run: Run, people: People, project: Path
) -> None:
    run("import", people(unknown=3), "--as", "people")
    module = project / "shop" / "__init__.py"
    module.write_text(module.read_text().replace("raise LookupError", "raise ConnectionError"))
    run("reprocess", "1")
    answer = run("failures", "1")
    assert "outstanding in the lineage of batch 1 for other reasons: 3 items" in answer.lines
    assert "ConnectionError" in answer.out


def test_what_a_cancelled_batch_left_undone_is_outstanding(run: Run, project: Path) -> None:
    run("create", "people", project / "shop" / "people.csv")
    run("cancel", "1")
    answer = run("failures", "1")
    assert answer.lines[0] == "no item of batch 1 failed"
    assert "2\t1\t-\tnot processed: the batch was cancelled" in answer.out
    assert "reliable-imports process 1" not in run("status", "1").out


def test_status_says_that_nobody_works_and_offers_to_process_first(
    run: Run, people: People, project: Path, sql: Sql
) -> None:
    run("create", "people", project / "shop" / "people.csv")
    assert run("status", "1").lines[-3:] == [
        "nobody works on this batch, and 2 items of it are open",
        "next:",
        "  reliable-imports process 1  process what is open",
    ]
    assert run("status", "1", "--json").document["is_worked"] is False

    # What a worker leaves that died after its first chunk.
    run("import", people(good=1, unknown=1), "--as", "people")
    sql(
        "UPDATE reliable_imports.import_batches SET status = 'processing', completed_items = NULL, "
        "failed_items = NULL, skipped_items = NULL, finished_at = NULL, total_items = 3 WHERE id = 2"
    )
    told = run("status", "2").lines
    assert "nobody works on this batch, and 1 item of it is open" in told
    assert told[told.index("next:") + 1].startswith("  reliable-imports process 2 ")
    assert told[told.index("next:") + 2].startswith("  reliable-imports failures 2 ")

    sql("UPDATE reliable_imports.import_runs SET ended_at = NULL, outcome = NULL, heartbeat_at = clock_timestamp()")
    assert "nobody works" not in run("status", "2").out
    assert run("status", "2", "--json").document["is_worked"] is True


def test_status_answers_with_0_also_for_a_failed_batch(run: Run, people: People) -> None:
    run("import", people(without_address=1_200), "--as", "people")
    answer = run("status", "1")
    assert answer.status == 0
    facts = dict(line.split("\t", 1) for line in answer.lines if line.count("\t") == 1)
    assert facts["status"] == "failed"
    assert (facts["items"], facts["failed"], facts["open"]) == ("1,200", "1,200", "0")
    document = run("status", "1", "--json").document
    assert (document["status"], document["failed_items"], document["outstanding_failures"]) == ("failed", 1200, 1200)
    assert [(each["runner"], each["mode"], each["state"]) for each in document["runs"]] == [
        ("cli", "import", "finished")
    ]


def test_batches_are_listed_newest_first_and_by_type_and_status(run: Run, people: People, project: Path) -> None:
    run("import", "--as", "people")
    run("create", "slow", project / "shop" / "people.csv")
    run("import", people(good=1, unknown=1), "--as", "people")
    rows = [line.split("\t") for line in run("batches").lines]
    assert [row[:3] for row in rows[1:]] == [
        ["3", "people", "completed_with_failures"],
        ["2", "slow", "pending"],
        ["1", "people", "completed"],
    ]

    def numbers(*options: str) -> list[int]:
        return [batch["batch_id"] for batch in run("batches", "--json", *options).document["batches"]]

    assert numbers("--type", "people") == [3, 1]
    assert numbers("--status", "pending") == [2]
    assert numbers("--limit", "1") == [3]
    assert run("batches", "--type", "nothing").lines == ["no batches"]


def test_logs_are_shown_by_level_and_item(run: Run, people: People) -> None:
    run("import", people(good=1, unknown=2), "--as", "people")
    answer = run("logs", "1")
    assert answer.status == 0
    assert answer.lines[0].split("\t") == ["time", "level", "run", "item", "message", "details"]
    assert "batch created" in answer.lines[1]
    bad = run("logs", "1", "--level", "error", "--json").document["logs"]
    assert {entry["message"] for entry in bad} == {"nobody is called so"}
    assert [entry["item_number"] for entry in bad] == [2, 3]
    assert {entry["level"] for entry in run("logs", "1", "--level", "warning", "--json").document["logs"]} == {
        "warning",
        "error",
    }
    assert [e["item_number"] for e in run("logs", "1", "--item", "3", "--json").document["logs"]] == [3]
    assert run("logs", "1", "--item", "999").lines == ["no such lines"]
    assert len(run("logs", "1", "--limit", "1").lines) == 2


def test_processors_are_listed_without_a_database(run_without_database: Run) -> None:
    answer = run_without_database("processors", RELIABLE_IMPORTS_DSN="postgresql://u@127.0.0.1:1/none")
    assert answer.status == 0
    assert [line.split("\t")[0] for line in answer.lines] == ["type", "addresses", "people", "slow", "unstartable"]
    [found] = [each for each in run_without_database("processors", "--json").document["processors"] if each["source"]]
    assert found["batch_type"] == "people"
    assert found["processor"] == "shop.PeopleProcessor"
    assert found["description"] == "People, by e-mail address.\n\nThose without one fail."


def test_processors_are_found_from_a_folder_below_by_variable_and_by_option(
    run_without_database: Run, project: Path, tmp_path: Path
) -> None:
    run = run_without_database
    below = project / "shop" / "below"
    below.mkdir()
    assert run("processors", cwd=below).status == 0
    nowhere = run("processors", cwd=tmp_path)
    assert nowhere.status == 2
    assert "--processors" in nowhere.err
    (project / "other").mkdir()
    (project / "other" / "__init__.py").write_text(
        "from reliable_imports import BaseProcessor\n"
        "class OthersProcessor(BaseProcessor):\n    def process_item(self, item, ctx): pass\n"
    )

    def types(*arguments: str, **variables: str) -> list[str]:
        document = run("processors", "--json", *arguments, **variables).document
        return [each["batch_type"] for each in document["processors"]]

    assert types(RELIABLE_IMPORTS_PROCESSORS="other") == ["others"]
    assert types("--processors", "other") == ["others"]
    both = ["addresses", "others", "people", "slow", "unstartable"]
    assert types("--processors", "other, shop") == both
    assert types("--processors", "other", "--processors", "shop") == both
