"""The SQL, Python and shell of docs/debugging.md are run as they stand, and its messages are those of the code."""

from __future__ import annotations

import ast
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from reliable_imports import BatchManager
from tests.conftest import Sql
from tests.core.conftest import manager
from tests.core.crashing_worker import worker_that_stops_at
from tests.running import ROOT, environment_of

__all__ = ["manager"]

PAGE = (ROOT / "docs" / "debugging.md").read_text(encoding="utf-8")
QUERIES = dict(re.findall(r"^```sql (\w+)\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL))


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


def test_every_block_of_sql_has_a_name_and_no_other() -> None:
    assert len(re.findall(r"^```sql", PAGE, re.MULTILINE)) == len(QUERIES)


@pytest.fixture
def half_done(manager: BatchManager, database: str) -> Iterator[int]:
    """A batch of 200 items in ranges of 50, whose worker stands in the second one; one item of the first has failed."""
    batch_id = manager.create_batch(
        "notes", [{"id": number, "text": "bad" if number == 2 else "ok"} for number in range(1, 201)]
    )
    with worker_that_stops_at(database, batch_id, 77) as worker:
        yield worker.pid
        worker.kill()
        worker.wait(timeout=60)
        manager.process_batch(batch_id)


def test_who_works_and_which_range_is_held(half_done: int, sql: Sql) -> None:
    ((run_id, state, _, process_id, *counts, _, error),) = sql(QUERIES["runs"])
    assert (state, process_id, counts, error) == ("running", half_done, [49, 1, 0], None)

    ((holder, range_number, _, holding_process, _, session_state, *_),) = sql(QUERIES["holders"])
    assert (holder, range_number, holding_process, session_state) == (run_id, 2, half_done, "idle in transaction")
    assert sql(QUERIES["held"]) == [(2, 51, 100)]
    assert sql(QUERIES["stalled"]) == []
    assert sql(QUERIES["blocking"]) == []


def test_a_worker_that_was_killed_leaves_a_stalled_batch(half_done: int, sql: Sql) -> None:
    os.kill(half_done, signal.SIGKILL)
    sql("UPDATE reliable_imports.import_runs SET heartbeat_at = now() - interval '3 minutes'")

    assert [(batch_id, open_items) for batch_id, _, open_items, _ in sql(QUERIES["stalled"])] == [(1, 150)]
    assert [state for _, state, *_ in sql(QUERIES["runs"])] == ["lost"]


def test_who_waits_for_whom(half_done: int, manager: BatchManager, database: str, sql: Sql) -> None:
    command = [
        sys.executable,
        "-c",
        "import psycopg2, sys; c = psycopg2.connect(sys.argv[1]).cursor();"
        "c.execute('SELECT FROM reliable_imports.import_ranges WHERE range_number = 2 FOR UPDATE')",
    ]
    with subprocess.Popen([*command, database]) as waiting:
        while not (found := sql(QUERIES["blocking"])):
            assert waiting.poll() is None
        assert [state for _, _, _, state, _ in found] == ["idle in transaction"]
        waiting.kill()


def test_what_happened_to_an_item_across_the_lineage(half_done: int, manager: BatchManager, sql: Sql) -> None:
    os.kill(half_done, signal.SIGKILL)
    manager.process_batch(1)
    repeat = manager.reprocess_batch(1).batch_id

    attempts = sql(QUERIES["attempts"])
    assert [(batch_id, attempt, outcome) for batch_id, attempt, _, outcome, *_ in attempts] == [
        (1, 1, "failed"),
        (repeat, 2, "failed"),
    ]
    messages = [message for _, _, _, message, _ in sql(QUERIES["log"])]
    assert messages[:2] == ["batch created", "run started"]
    assert "batch closed" in messages


@pytest.mark.parametrize("name", sorted(set(QUERIES) - {"runs", "holders", "held", "stalled", "blocking", "log"}))
def test_the_other_queries_run(manager: BatchManager, sql: Sql, name: str) -> None:
    manager.process_batch(manager.create_batch("notes", [{"id": 1, "text": "ok"}]))
    sql(QUERIES[name])


def test_the_shell_and_python_blocks_run(empty_database: str, tmp_path: Path) -> None:
    environment = {
        **environment_of(empty_database, tmp_path),
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
    }

    def run(*command: str) -> str:
        result = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
        assert result.returncode == 0, result.stderr[-2000:]
        return result.stdout + result.stderr

    subprocess.run(["reliable-imports", "import", "--as", "customer_data"], cwd=ROOT, env=environment, check=False)
    for block in blocks("bash"):
        run("bash", "-ec", block)
    logging, again = sorted(blocks("python"), key=lambda block: "import logging" not in block)
    told = run(sys.executable, "-c", logging + again)
    assert "failed\n" in told
    assert re.search(r"^INFO run started batch=2 run=2$", told, re.MULTILINE)


MESSAGES = set(re.findall(r"^\| `(.+?)` \| (?:debug|info|warning|error)", PAGE, re.MULTILINE))


def test_every_message_is_documented_and_every_documented_one_is_logged() -> None:
    logged: set[str] = set()
    for path in (ROOT / "reliable_imports").rglob("*.py"):
        for call in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(call, ast.Call) or not isinstance(call.func, ast.Attribute):
                continue
            owner = ast.unparse(call.func.value)
            if owner == "logger" or (call.func.attr == "say" and "output" not in owner):
                logged |= {
                    argument.value
                    for argument in call.args[: 3 if call.func.attr == "say" else 1]
                    if isinstance(argument, ast.Constant) and isinstance(argument.value, str)
                }
    logged -= {"debug", "info", "warning", "error"}
    assert logged <= MESSAGES
    code = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "reliable_imports").rglob("*.py"))
    for message in MESSAGES - {"run finished", "run interrupted"}:  # put together from the outcome's word
        assert f'"{message}"' in code, f"nothing logs {message!r}"
