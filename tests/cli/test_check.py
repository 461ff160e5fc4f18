"""`check`: what it finds, and what it says to do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from reliable_imports.preflight.dagster import check_settings
from tests.cli.conftest import Answer, Run

Sql = Callable[..., list[tuple[Any, ...]]]

AIRLINES = """
from reliable_imports import TableProcessor


class AirlinesProcessor(TableProcessor):
    table = "airlines"
    key = ("carrier",)
"""


def found(answer: Answer, subject: str) -> list[tuple[str, str | None]]:
    return [(each["what"], each["next_step"]) for each in answer.document["findings"] if each["subject"] == subject]


def test_an_empty_database_is_fine_and_stays_empty(run_without_database: Run, empty_database: str) -> None:
    answers = [run_without_database("check", "--json", RELIABLE_IMPORTS_DSN=empty_database) for _ in range(2)]

    for answer in answers:
        assert (answer.status, answer.document["problems"]) == (0, 0)
        assert "the next command makes its" in found(answer, "schema")[0][0]


def test_a_schema_that_no_command_may_make_is_a_problem(run_without_database: Run, empty_database: str) -> None:
    answer = run_without_database("check", "--json", RELIABLE_IMPORTS_DSN=empty_database, RELIABLE_IMPORTS_MIGRATE="no")

    assert answer.status == 1
    assert found(answer, "schema")[0][1] == "reliable-imports migrate"


def test_what_is_wrong_with_a_table_is_told_with_what_to_do(run: Run, project: Path, sql: Sql) -> None:
    (project / "shop" / "airlines.py").write_text(AIRLINES)
    run("migrate")

    missing = run("check", "airlines", "--json")
    assert missing.status == 1
    assert "there is no table airlines" in found(missing, "airlines")[0][0]

    sql("CREATE TABLE airlines (carrier text, name text)")
    keyless = run("check", "airlines", "--json")
    assert keyless.status == 1
    assert "unique" in found(keyless, "airlines")[0][0]

    sql("ALTER TABLE airlines ADD PRIMARY KEY (carrier)")
    assert run("check", "airlines").status == 0


def test_a_file_is_compared_with_the_table_and_its_first_items_are_tried(run: Run, project: Path, sql: Sql) -> None:
    (project / "shop" / "airlines.py").write_text(AIRLINES)
    run("migrate")
    sql("CREATE TABLE airlines (carrier varchar(2) PRIMARY KEY, name text NOT NULL)")
    good, wrong, other = project / "good.csv", project / "wrong.csv", project / "other.csv"
    good.write_text("carrier,name\nUA,United\n")
    wrong.write_text("carrier,name\nUA,United\nTOO LONG,Nobody\n")
    other.write_text("plane;seats\nN1;5\n")

    fine = run("check", "airlines", good, "--json")
    assert (fine.status, found(fine, "file")) == (0, [("its first 1 items would go in", None)])
    failing = run("check", "airlines", wrong, "--json")
    assert failing.status == 1
    [(what, next_step)] = found(failing, "file")
    assert "1 of its first 2 items would fail" in what
    assert next_step is not None
    assert "--try" in next_step
    assert run("check", "airlines", other).status == 1
    assert sql("SELECT count(*) FROM airlines") == [(0,)]


def test_batches_that_rest_are_told_with_the_command_that_goes_on(
    run: Run, people: Callable[..., Path], sql: Sql
) -> None:
    run("create", "people", people(good=2))
    sql("UPDATE reliable_imports.import_batches SET status = 'processing', started_at = created_at WHERE id = 1")

    answer = run("check", "--json")

    assert answer.status == 0
    [(what, next_step)] = found(answer, "batches")
    assert "nobody works on batch 1" in what
    assert next_step == "reliable-imports process 1"


def test_a_url_that_another_driver_would_read_is_told(tmp_path: Path) -> None:
    (tmp_path / "dagster.yaml").write_text("storage:\n  postgres:\n    postgres_url: postgresql://host/dagster\n")
    assert [each.state.value for each in check_settings({"DAGSTER_HOME": str(tmp_path)})] == ["problem"]

    (tmp_path / "dagster.yaml").write_text("# postgresql://host\npostgres_url: postgresql+psycopg2://host/dagster\n")
    assert list(check_settings({"DAGSTER_HOME": str(tmp_path)})) == []
    assert [each.state.value for each in check_settings({"DAGSTER_HOME": str(tmp_path / "none")})] == ["problem"]
