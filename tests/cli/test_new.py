"""From an empty folder to rows in a table: `init`, `new` and `import`, and the test that was written."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import ROOT, Run

Sql = Callable[..., list[tuple[Any, ...]]]

CUSTOMERS = (
    "Bericht 2024;;;\r\n"
    "Kunden-Nr;Name;PLZ;Umsatz;Seit\r\n"
    "K-1;Müller;01067;1.234,50;31.01.2024\r\n"
    "K-2;Jürgens;80331;;01.02.2024\r\n"
).encode("cp1252")
EQUAL_ROWS = "item,qty\napple,1\napple,1\npear,2\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "team"
    made.mkdir()
    return made


def test_an_empty_folder_a_sample_and_the_rows_are_there(
    run: Run, folder: Path, sql: Sql, environment: dict[str, str], database: str
) -> None:
    (folder / "kunden.csv").write_bytes(CUSTOMERS)

    assert run("init", cwd=folder).status == 0
    made = run("new", "kunden", "--from", "kunden.csv", "--table", "sales.kunden", cwd=folder)
    assert made.status == 0, made.err
    imported = run("import", "kunden.csv", "--as", "kunden", cwd=folder)
    assert imported.status == 0, imported.out + imported.err
    again = run("import", "kunden.csv", "--as", "kunden", "--again", cwd=folder)
    assert again.status == 0, again.out + again.err

    assert sql("SELECT kunden_nr, name, plz, umsatz, seit::text FROM sales.kunden ORDER BY kunden_nr") == [
        ("K-1", "Müller", "01067", Decimal("1234.50"), "2024-01-31"),
        ("K-2", "Jürgens", "80331", None, "2024-02-01"),
    ]
    processor = (folder / "imports" / "processors" / "kunden.py").read_text(encoding="utf-8")
    assert 'dates = "%d.%m.%Y"' in processor
    written = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/test_kunden.py"],
        cwd=folder,
        env={**environment, "RELIABLE_IMPORTS_TEST_DSN": database, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert written.returncode == 0, written.stdout + written.stderr


def test_rows_without_a_key_are_stored_each_and_once(run: Run, folder: Path, sql: Sql) -> None:
    (folder / "fruit.csv").write_text(EQUAL_ROWS)
    assert run("new", "fruit", "--from", "fruit.csv", cwd=folder).status == 0  # in a folder that is no project yet

    for _ in range(2):
        assert run("import", "fruit.csv", "--as", "fruit", "--again", cwd=folder).status == 0
    (folder / "more.csv").write_text("item,qty\napple,1\n")
    assert run("import", "more.csv", "--as", "fruit", cwd=folder).status == 0

    assert sql("SELECT item, qty, source_file FROM fruit ORDER BY source_file, source_place") == [
        ("apple", 1, "fruit.csv"),
        ("apple", 1, "fruit.csv"),
        ("pear", 2, "fruit.csv"),
        ("apple", 1, "more.csv"),
    ]


def test_a_processor_is_written_for_a_table_that_exists(run: Run, folder: Path, sql: Sql) -> None:
    sql('CREATE SCHEMA shop; CREATE TABLE shop.orders ("orderNo" text PRIMARY KEY, total numeric NOT NULL)')
    (folder / "my orders.csv").write_text("Order-No;Total\nA1;1,50\nA2;2,25\n")

    made = run("new", "orders", "--from-table", "shop.orders", "--from", "my orders.csv", cwd=folder)
    assert made.status == 0, made.err
    assert "reliable-imports import 'my orders.csv' --as orders  import a file" in made.out
    imported = run("import", "my orders.csv", "--as", "orders", cwd=folder)
    assert imported.status == 0, imported.out + imported.err

    assert sql('SELECT "orderNo", total FROM shop.orders ORDER BY 1') == [
        ("A1", Decimal("1.50")),
        ("A2", Decimal("2.25")),
    ]
    assert not (folder / "imports" / "orders.sql").exists()
    missing = run("new", "others", "--from-table", "shop.others", cwd=folder)
    assert (missing.status, "there is no table shop.others" in missing.err) == (2, True)


def test_nothing_is_overwritten_unasked(run_without_database: Run, folder: Path) -> None:
    (folder / "fruit.csv").write_text(EQUAL_ROWS)
    begin = ("new", "fruit", "--from", "fruit.csv")
    assert run_without_database(*begin, cwd=folder).status == 0
    module = folder / "imports" / "fruit.py"
    module.write_text("# a week of work\n")

    refused = run_without_database(*begin, cwd=folder)
    assert (refused.status, "left as it is" in refused.err) == (2, True)
    assert module.read_text() == "# a week of work\n"
    assert run_without_database(*begin, "--force", cwd=folder).status == 0
    assert "FruitProcessor" in module.read_text()

    refused = run_without_database("init", cwd=folder)
    assert (refused.status, "left as it is; `reliable-imports new` adds to" in refused.err) == (2, True)
    assert not (folder / "README.md").exists()


def test_wrong_use_is_told_with_what_would_be_right(run_without_database: Run, folder: Path) -> None:
    (folder / "fruit.csv").write_text(EQUAL_ROWS)
    for arguments, told in (
        (["new", "Order Lines", "--from", "fruit.csv"], "did you mean order_lines?"),
        (["new", "fruit"], "give a sample with --from FILE"),
        (["new", "fruit", "--from", "nothing.csv"], "there is no such file"),
        (["new", "fruit", "--from", "fruit.csv", "--into", "my-imports"], "cannot be a package"),
        (["new", "fruit", "--from", "fruit.csv", "--table", "a b"], "no name of a table"),
        (["new", "fruit", "--from", "fruit.csv", "--table", "f" * 64], "63 bytes at most"),
    ):
        refused = run_without_database(*arguments, cwd=folder)
        assert (refused.status, told in refused.err) == (2, True), refused.err
    assert [path.name for path in folder.iterdir()] == ["fruit.csv"]


def test_what_was_guessed_is_one_document(run_without_database: Run, project: Path) -> None:
    (project / "fruit.csv").write_text("id,item,seen\n1,apple,31.01.2024\n2,pear,-\n")

    answer = run_without_database("new", "fruit", "--from", "fruit.csv", "--into", "shop/fresh", "--json")

    assert answer.document["key"]["columns"] == ["id"]
    assert answer.document["rows"] == 2
    assert answer.document["null_tokens"] == ["-"]
    assert [each["type"] for each in answer.document["columns"]] == ["integer", "text", "date"]
    assert (project / "shop" / "fresh" / "fruit.py").exists()  # within a package that the project names
    assert "fresh" not in (project / "pyproject.toml").read_text()


def test_a_folder_outside_of_the_project_becomes_one(run_without_database: Run, project: Path, tmp_path: Path) -> None:
    (project / "fruit.csv").write_text("id,item\n1,apple\n")

    assert run_without_database("new", "fruit", "--from", "fruit.csv", "--into", tmp_path / "other").status == 0

    assert (tmp_path / "other" / "imports" / "fruit.py").exists()
    assert 'processors = ["imports"]' in (tmp_path / "other" / "pyproject.toml").read_text()
    listed = run_without_database("processors", "--json", cwd=tmp_path / "other")
    assert [each["batch_type"] for each in listed.document["processors"]] == ["fruit"]
