from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.cli.conftest import Run
from tests.running import until

People = Callable[..., Path]
Sql = Callable[..., list[tuple[Any, ...]]]


def test_an_import_without_failures_ends_with_0(run: Run, people: People, sql: Sql) -> None:
    answer = run("import", people(good=3), "--as", "people")
    assert (answer.status, answer.err) == (0, "")
    assert "batch 1 created: 3 items of people from " in answer.lines[0]
    assert "batch 1 completed: 3 completed, 0 failed, 0 skipped of 3 items" in answer.lines[1]
    assert sql("SELECT count(*) FROM people") == [(3,)]
    assert sql("SELECT runner FROM reliable_imports.import_runs") == [("cli",)]
    assert sql("SELECT requested_by LIKE 'cli:%%' FROM reliable_imports.import_batches") == [(True,)]


def test_an_import_with_failures_ends_with_1_and_says_why_and_what_next(run: Run, people: People) -> None:
    answer = run("import", people(good=2, without_address=2, unknown=1), "--as", "people")
    assert (answer.status, answer.err) == (1, "")
    assert "batch 1 completed with failures: 2 completed, 3 failed, 0 skipped of 5 items" in answer.out
    assert "3 items failed for 2 reasons" in answer.lines
    assert "ItemRejected: validate_item rejected the item" in answer.out
    assert 'item 3: {"email": null, "name": "Hermit 0"}' in answer.out
    assert "reliable-imports failures 1" in answer.out
    assert "reliable-imports reprocess 1" in answer.out


def test_an_import_makes_its_batch_and_works_it_on_one_connection_that_was_opened_before(
    run: Run, project: Path, people: People
) -> None:
    (project / "sessions.py").write_text(
        "from reliable_imports import BaseProcessor\n\n\n"
        "class SessionsProcessor(BaseProcessor):\n"
        "    def validate_item(self, item, ctx):\n"
        "        return ctx.fetch_value('''\n"
        "            SELECT backend_start < (SELECT created_at FROM reliable_imports.import_batches)\n"
        "            FROM pg_stat_activity WHERE pid = pg_backend_pid()''')\n\n"
        "    def process_item(self, item, ctx):\n"
        "        pass\n"
    )
    assert run("import", people(good=1), "--as", "sessions", "--processors", "sessions").status == 0


def test_a_package_that_cannot_be_imported_is_told_whatever_the_database_says(run: Run, people: People) -> None:
    nowhere = "postgresql://somebody@127.0.0.1:1/nothing"
    answer = run("import", people(good=1), "--as", "people", "--processors", "nowhere_to_be_found", "--dsn", nowhere)
    assert answer.status == 2
    assert "nowhere_to_be_found" in answer.err
    assert "127.0.0.1" not in answer.err
    assert "127.0.0.1" in run("import", people(good=1), "--as", "people", "--dsn", nowhere).err


def test_what_a_teams_module_holds_is_ended_with_the_process(run: Run, project: Path, people: People) -> None:
    with (project / "shop" / "__init__.py").open("a") as module:
        module.write("\n\nclass Journal:\n    file = open(HERE / 'journal.txt', 'w')\n    file.write('begun')\n")
    assert run("import", people(good=1), "--as", "people", PYTHONHASHSEED="0").status == 0
    assert (project / "shop" / "journal.txt").read_text() == "begun"


def test_create_stores_and_process_processes(run: Run, people: People, sql: Sql) -> None:
    created = run("create", "people", people(good=2, unknown=1))
    assert created.status == 0
    assert "reliable-imports process 1" in created.out
    assert sql("SELECT status FROM reliable_imports.import_batches") == [("pending",)]
    first, second = run("process", "1"), run("process", "1")
    assert (first.status, second.status) == (1, 1)
    assert first.out == second.out
    assert sql("SELECT count(*) FROM reliable_imports.import_attempts") == [(3,)]


def test_without_a_file_the_processors_own_source_is_imported(run: Run, sql: Sql) -> None:
    assert run("import", "--as", "people").status == 0
    assert sql("SELECT email FROM people ORDER BY 1") == [("ann@example.com",), ("ben@example.com",)]


def test_a_delivery_with_the_same_key_makes_no_second_batch(run: Run, people: People, sql: Sql) -> None:
    file = people(good=2)
    assert run("create", "people", file, "--key", "monday", "--json").document["created"] is True
    assert run("create", "people", file, "--key", "monday", "--json").document["created"] is False
    again = run("import", file, "--as", "people", "--key", "monday")
    assert again.status == 0
    assert again.lines[0].startswith("nothing stored: this delivery is batch 1 already")
    assert sql("SELECT id, status FROM reliable_imports.import_batches") == [(1, "completed")]


def test_a_file_that_was_stored_before_is_refused_unless_it_is_wanted_again(
    run: Run, people: People, sql: Sql, tmp_path: Path
) -> None:
    file = people(good=1, unknown=1)
    copy = tmp_path / "copy.jsonl"
    copy.write_bytes(file.read_bytes())
    assert run("create", "people", file).status == 0
    refused = run("import", copy, "--as", "people")
    assert (refused.status, refused.out) == (2, "")
    assert (
        "this is batch 1 already, and nothing was stored; `reliable-imports process 1` goes on with it" in refused.err
    )
    assert run("process", "1").status == 1
    refused = run("create", "people", file, "--key", "tuesday")
    assert "`reliable-imports reprocess 1` runs its failures again, and --again stores the same" in refused.err
    ((batches,),) = sql("SELECT count(*) FROM reliable_imports.import_batches")
    assert batches == 1

    again = run("import", copy, "--as", "people", "--again")
    assert again.status == 1
    assert f"warning: the same content is in batch 1 already, from {file}" in again.out


def test_a_key_that_comes_with_other_content_is_told(run: Run, people: People) -> None:
    assert run("create", "people", people(good=1), "--key", "monday").status == 0
    told = run("create", "people", people(good=2), "--key", "monday")
    assert told.status == 0
    assert "nothing stored: this delivery is batch 1 already" in told.out
    assert "its idempotency key names batch 1" in told.out
    document = run("create", "people", people(good=2), "--key", "monday", "--json").document
    assert document["created"] is False
    assert len(document["delivery_warnings"]) == 1


def test_json_lines_come_from_standard_input_too(run: Run, sql: Sql) -> None:
    answer = run("import", "-", "--as", "people", stdin=b'{"email":"a@example.com","name":"A"}\nbroken\n')
    assert answer.status == 1
    assert sql("SELECT source, total_items FROM reliable_imports.import_batches") == [("standard input", 2)]
    assert sql("SELECT name FROM people") == [("A",)]


def test_a_file_whose_name_is_no_text_is_imported(run: Run, people: People, sql: Sql) -> None:
    name = os.fsencode(people(good=1).parent) + b"/caf\xe9.jsonl"
    os.rename(people(good=1), name)
    answer = run("import", os.fsdecode(name), "--as", "people")
    assert answer.status == 0, answer.err
    assert sql("SELECT source LIKE '%%caf\\\\xe9.jsonl' FROM reliable_imports.import_batches") == [(True,)]


def test_ctrl_c_tells_how_to_go_on_and_going_on_finishes_the_batch(
    run: Run, people: People, environment: dict[str, str], project: Path, sql: Sql
) -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "reliable_imports", "import", str(people(good=3)), "--as", "slow"],
        cwd=project,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        reached = Path(environment["REACHED"])
        until(lambda: reached.exists() or process.poll() is not None or None)
        process.send_signal(signal.SIGINT)
        reached.with_name("interrupted").touch()
        try:
            _, err = process.communicate(timeout=120)
        finally:
            process.kill()
    assert process.returncode == 130
    assert err.splitlines() == [
        "error: interrupted; finished items of batch 1 are kept and the rest stay pending: "
        "`reliable-imports process 1` goes on"
    ]
    assert sql("SELECT status FROM reliable_imports.import_batches") == [("processing",)]
    assert run("process", "1").status == 0
    assert sql("SELECT mode, outcome FROM reliable_imports.import_runs ORDER BY id") == [
        ("import", "interrupted"),
        ("resume", "finished"),
    ]


def test_an_empty_batch_is_completed_with_a_warning(run: Run, tmp_path: Path) -> None:
    (tmp_path / "none.csv").write_text("email,name\n")
    answer = run("import", tmp_path / "none.csv", "--as", "people")
    assert answer.status == 0
    assert "warning: the batch has no items" in answer.lines


def test_where_the_deployment_migrates_commands_do_not(
    run_without_database: Run, environment: dict[str, str], empty_database: str, people: People
) -> None:
    environment |= {"RELIABLE_IMPORTS_DSN": empty_database, "RELIABLE_IMPORTS_MIGRATE": "no"}
    refused = run_without_database("batches")
    assert (refused.status, refused.out) == (3, "")
    assert "has no reliable_imports schema; run `reliable-imports migrate`" in refused.err

    assert run_without_database("migrate").status == 0
    answer = run_without_database("import", people(good=1), "--as", "people")
    # setup_sql is left to the deployment too, so the table is not there.
    assert (answer.status, "there is no table people" in answer.out) == (1, True)


def test_a_wrong_word_for_whether_to_migrate_is_told(run: Run) -> None:
    answer = run("batches", RELIABLE_IMPORTS_MIGRATE="perhaps")
    assert (answer.status, answer.err) == (2, "error: RELIABLE_IMPORTS_MIGRATE is 'perhaps'; it can be yes or no\n")


PARTS = """
from pathlib import Path
import pydantic
from reliable_imports import TableProcessor

class Part(pydantic.BaseModel):
    number: int
    colour: str | None = None

class PartsProcessor(TableProcessor):
    table = "parts"
    key = ("number",)
    model = Part
    setup_sql = Path(__file__).with_suffix(".sql")
"""


def test_what_a_header_lacks_is_said_once(run: Run, project: Path, tmp_path: Path) -> None:
    (project / "shop" / "parts.py").write_text(PARTS)
    (project / "shop" / "parts.sql").write_text(
        "CREATE TABLE IF NOT EXISTS parts (number integer PRIMARY KEY, colour text)"
    )
    file = tmp_path / "parts.csv"
    file.write_text("number,Colour,weight\n1,red,2\n")
    lacks = 'warning: the header has no column for colour (is it "Colour", which no field is named for?)'
    has = 'warning: the model has no field for the columns "weight"'

    created = run("create", "parts", file)
    file.write_text("number,Colour,weight\n1,blue,2\n")
    imported = run("import", file, "--as", "parts")
    for answer in (created, imported):
        assert answer.status == 0
        assert [line for line in answer.lines if line.startswith("warning")] == [lacks, has]
    assert [line["message"] for line in run("logs", "1", "--level", "warning", "--json").document["logs"]] == [
        lacks.removeprefix("warning: "),
        has.removeprefix("warning: "),
    ]

    file.write_text("number;colour\n1;red\n")
    refused = run("import", file, "--as", "parts")
    assert refused.status == 2
    assert "if the delimiter is ';', set SourceOptions(delimiter=';')" in refused.err


def test_a_try_tells_what_an_import_would_come_to_and_keeps_nothing(
    run: Run, project: Path, people: People, sql: Sql
) -> None:
    assert run("import", people(good=2), "--as", "people").status == 0
    sql("UPDATE people SET name = 'Somebody' WHERE email = (SELECT min(email) FROM people)")
    tables = "SELECT (SELECT array_agg(p::text) FROM people AS p), (SELECT count(*) FROM reliable_imports.import_items)"
    before = sql(tables)
    file = people(good=3, without_address=2, unknown=1)
    answer = run("import", file, "--as", "people", "--try")
    assert (answer.status, answer.err) == (1, "")
    assert answer.lines[0].startswith("tried 6 items of people from ")
    assert answer.lines[0].endswith("; nothing was kept")
    assert "1 created, 1 changed, 1 unchanged, 0 skipped, 3 failed" in answer.lines
    assert "3 items would fail for 2 reasons" in answer.lines
    assert any("\tname\tSomebody\t" in line for line in answer.lines)
    document = run("import", file, "--as", "people", "--try", "--json").document
    assert (document["created"], document["changed"], document["failed"]) == (1, 1, 3)
    changed = next(item for item in document["items"] if item["outcome"] == "changed")
    assert changed["rows"][0]["changes"]["name"]["before"] == "Somebody"
    assert run("import", people(good=1), "--as", "people", "--try", "--sample", "1").status == 0
    module = project / "shop" / "__init__.py"
    module.write_text(module.read_text().replace('source = HERE / "people.csv"', 'sensitive = ("name",)'))
    for json in ((), ("--json",)):
        masked = run("import", file, "--as", "people", "--try", *json).out
        assert "***" in masked
        assert "Somebody" not in masked
    refused = run("import", file, "--as", "people", "--sample", "1")
    assert (refused.status, "--sample is for --try alone" in refused.err) == (2, True)
    assert sql(tables) == before
