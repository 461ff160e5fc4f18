"""docs/invariants.md: every promise has guards that exist, and tests that carry its number."""

from __future__ import annotations

import ast
import importlib
import re
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psycopg2
import pytest

from reliable_imports.postgres.queries import load
from tests.promises.guards import GUARDS
from tests.running import ROOT

PAGE = (ROOT / "docs" / "invariants.md").read_text(encoding="utf-8")
SECTIONS = {int(number): text for number, text in re.findall(r"^## (\d+)\. (.*?)(?=^## |\Z)", PAGE, re.M | re.S)}
ROWS = [
    (promise, f"{kind} {name}", test)
    for promise, text in SECTIONS.items()
    for kind, name, test in re.findall(r"^\| (\w+) `([\w.]+)` \| .*? \| `(tests/.+?)` \|$", text, re.M)
]
CATALOGUE = """
    SELECT 'constraint ' || conname FROM pg_constraint WHERE connamespace = 'reliable_imports'::regnamespace
    UNION SELECT 'function ' || regexp_replace(proname, '_v[0-9]+$', '') FROM pg_proc
        WHERE pronamespace = 'reliable_imports'::regnamespace
    UNION SELECT 'view ' || viewname FROM pg_views WHERE schemaname = 'reliable_imports'
    UNION SELECT 'index ' || indexname FROM pg_indexes WHERE schemaname = 'reliable_imports'
    UNION SELECT 'trigger ' || tgname FROM pg_trigger JOIN pg_class ON pg_class.oid = tgrelid
        WHERE relnamespace = 'reliable_imports'::regnamespace
    UNION SELECT 'column ' || table_name || '.' || column_name FROM information_schema.columns
        WHERE table_schema = 'reliable_imports'
"""


def test_there_are_ten_promises_each_with_guards() -> None:
    assert list(SECTIONS) == list(range(1, 11))
    assert {promise for promise, _, _ in ROWS} == set(SECTIONS)
    # No row of a table was overlooked because it is spelt in another way.
    assert len(ROWS) == len(re.findall(r"^\| (?!guard|---)", PAGE, re.MULTILINE))


def test_the_page_names_the_guards_that_are_broken_before_a_release() -> None:
    assert set(ROWS) == {(guard.promise, guard.name, guard.test) for guard in GUARDS}


def test_every_guard_exists(database: str) -> None:
    with closing(psycopg2.connect(database)) as connection, connection.cursor() as cursor:
        cursor.execute(CATALOGUE)
        existing = {name for (name,) in cursor.fetchall()}
    for _, guard, _ in ROWS:
        kind, name = guard.split()
        if kind == "code":
            module, _, attribute = name.rpartition(".")
            assert hasattr(importlib.import_module(f"reliable_imports.{module}"), attribute), guard
        elif kind == "query":
            file_name, _, query = name.partition(".")
            assert query in load(f"{file_name}.sql"), guard
        else:
            assert guard in existing


def promises_of(path: Path) -> Iterator[tuple[str, set[int]]]:
    """The tests of a file, each with the promises that it is marked with, be it by its file or its parameters."""

    def marked(node: ast.AST) -> set[int]:
        calls = [call for call in ast.walk(node) if isinstance(call, ast.Call)]
        return {
            call.args[0].value
            for call in calls
            if ast.unparse(call.func) == "pytest.mark.promise"
            and isinstance(call.args[0], ast.Constant)
            and isinstance(call.args[0].value, int)
        }

    tree = ast.parse(path.read_text(encoding="utf-8"))
    of_file = {number for node in tree.body if isinstance(node, ast.Assign) for number in marked(node)}
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
            yield node.name, of_file.union(*map(marked, node.decorator_list))


@pytest.mark.parametrize("promise", SECTIONS)
def test_every_promise_has_tests_that_carry_its_number(promise: int) -> None:
    tests = {test for number, _, test in ROWS if number == promise}
    for test in tests:
        path, _, name = test.partition("::")
        assert promise in dict(promises_of(ROOT / path))[name], f"{test} is not marked with promise({promise})"


def test_no_test_carries_the_number_of_another_promise() -> None:
    for path in (ROOT / "tests").rglob("test_*.py"):
        for name, promises in promises_of(path):
            assert promises <= set(SECTIONS), f"{path.name}::{name}"
