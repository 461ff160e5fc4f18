"""What every way must do: one test for all of them, from outside, by their commands and by SQL."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg2

from benchmarks.databases import Databases
from benchmarks.developer_time.file import AT_FAULT, MISSING_CUSTOMERS, OrdersFile, Row, write_file, write_rows
from benchmarks.developer_time.ways import HERE, Way

_ROWS = "SELECT order_no, customer_id, sku, quantity, unit_price::text, ordered_on::text, note FROM shop.orders"
_HOLD_KEY = "INSERT INTO shop.orders VALUES (%s, %s, %s, %s, %s, %s, %s)"
_WAITS = "SELECT pid FROM pg_catalog.pg_stat_activity WHERE {} = ANY (pg_catalog.pg_blocking_pids(pid))"
_PATIENCE = 900  # seconds for one command

CHECKS = (
    "the good rows are in, with their values",
    "of two rows for one order the later one counts",
    "no bad row is in, and each is named",
    "each bad row is named with the column at fault",
    "each bad row is kept as it came",
    "rows that are too short are named like others",
    "the command says how many rows were bad",
    "received = imported + rejected, by a query",
    "the file once more changes no row",
    "the file once more names no row twice",
    "failures run again without the file, and go in where the cause is gone",
    "the other failures stay open, each once",
    "an old failure that runs again overwrites no newer row",
    "that a row failed before it went in is still known",
    "a delivery with all rows put right settles what is open",
    "killed with SIGKILL in the middle and gone on: all is in, once",
    "two imports of the file at the same time: all is in, once",
    "the import is a run in an orchestrator, with the number of bad rows",
)

Found = dict[str, str]
"""What was found by each check: nothing if it holds, else what is wrong."""


def accept(way: Way, databases: Databases, share: float, say: Callable[[str], None]) -> Found:
    """Run all checks with so large a *share* of the file. A check that cannot be made counts as failed."""
    found: Found = {}
    with tempfile.TemporaryDirectory(prefix="developer-time-") as folder:
        for story in (_deliveries, _killed, _at_once, _orchestrated):
            say(f"developer_time: {way.name}, {story.__name__.strip('_')}")
            with databases.fresh() as dsn, _Job(way, dsn, Path(folder) / story.__name__, share) as job:
                try:
                    story(job, found)
                except Exception as error:
                    found["the story " + story.__name__.strip("_")] = f"{type(error).__name__}: {error}"[:300]
    missing = found.pop("the story deliveries", None) or "was not reached"
    for check in CHECKS:
        found.setdefault(check, missing)
    return {check: found[check] for check in CHECKS}


class _Job:
    """One way on one database, in a copy of its folder."""

    def __init__(self, way: Way, dsn: str, folder: Path, share: float) -> None:
        self.way = way
        self.dsn = dsn
        shutil.copytree(way.folder, folder, ignore=shutil.ignore_patterns("__pycache__"))
        self.folder = folder
        (folder / "home").mkdir()
        self.file = write_file(folder / "orders.csv", share)
        self.environment = {
            **os.environ,
            "DATABASE_URL": dsn,
            "RELIABLE_IMPORTS_DSN": dsn,
            "DAGSTER_HOME": str(folder / "home"),
            "HOME": str(folder / "home"),
            "DLT_DATA_DIR": str(folder / "home"),
            "RUNTIME__DLTHUB_TELEMETRY": "false",
            "DAGSTER_DISABLE_TELEMETRY": "yes",
            "PYTHONPATH": os.pathsep.join([str(folder), *filter(None, sys.path)]),
        }
        (folder / "home" / "dagster.yaml").write_text("telemetry:\n  enabled: false\n")

    def __enter__(self) -> _Job:
        with closing(psycopg2.connect(self.dsn)) as connection, connection, connection.cursor() as cursor:
            cursor.execute((HERE / "shop.sql").read_text(encoding="utf-8"))
        for command in self.way.set_up:
            output, status = self.run(command)
            if status:
                raise RuntimeError(f"{command} ended with {status}: {output[-1000:]}")
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def start(self, command: Sequence[str]) -> subprocess.Popen[str]:
        return subprocess.Popen(
            command,
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def run(self, command: Sequence[str]) -> tuple[str, int]:
        with self.start(command) as process:
            output, _ = process.communicate(timeout=_PATIENCE)
        return output, process.returncode

    def query(self, query: str) -> list[Any]:
        with closing(psycopg2.connect(self.dsn)) as connection, connection, connection.cursor() as cursor:
            cursor.execute(query)
            return cursor.fetchall() if cursor.description else []

    def rows(self) -> dict[str, Row]:
        return {row[0]: row for row in self.query(_ROWS)}

    def open_rejects(self) -> list[tuple[str, str, str]]:
        return self.query(self.way.rejects)


def _deliveries(job: _Job, found: Found) -> None:
    """The file, the file again, a newer delivery, the missing customers, a retry, and all put right."""
    way, file = job.way, job.file
    output, _ = job.run(way.import_file(file.path))
    rows, rejects = job.rows(), job.open_rejects()
    repeated = {order_no: row for order_no, row in file.good.items() if row[6] == "changed by phone"}
    once = file.good.keys() - repeated.keys()
    found[CHECKS[0]] = _differ({key: rows.get(key) for key in once}, {key: file.good[key] for key in once}, output)
    found[CHECKS[1]] = _differ({key: rows.get(key) for key in repeated}, repeated)
    named = sorted(order_no for order_no, _, _ in rejects)
    none = "" if rows and rejects else "no row is in, or none is named"
    found[CHECKS[2]] = _differ(named, sorted(file.bad)) or _differ(sorted(rows), sorted(file.good))
    found[CHECKS[3]] = none or _first(
        f"{order_no} ({file.bad[order_no]}): {reason}"
        for order_no, reason, _ in rejects
        if order_no in file.bad and not any(word in (reason or "").lower() for word in AT_FAULT[file.bad[order_no]])
    )
    found[CHECKS[4]] = none or _first(
        f"{order_no}: {kept}"
        for order_no, _, kept in rejects
        if order_no in file.bad and not _is_kept(file, order_no, kept)
    )
    short = {order_no for order_no, fault in file.bad.items() if fault == "short row"}
    found[CHECKS[5]] = _differ(sorted(short & set(named)), sorted(short))
    found[CHECKS[6]] = (
        "" if any(form in output for form in _forms(len(file.bad))) else output[-200:] or "it said nothing"
    )
    found[CHECKS[7]] = _differ(
        [tuple(map(int, row)) for row in job.query(way.balance)],
        [(file.received, file.received - len(file.bad), len(file.bad))],
    )

    job.run(way.import_file(file.path))
    found[CHECKS[8]] = none or _differ(job.rows(), rows)
    found[CHECKS[9]] = none or _differ(sorted(each[0] for each in job.open_rejects()), named)

    waiting = [order_no for order_no, fault in file.bad.items() if fault == "unknown customer"]
    newer = {order_no: (*file.repaired[order_no][:3], 777, *file.repaired[order_no][4:]) for order_no in waiting[:2]}
    write_rows(job.folder / "newer.csv", list(newer.values()))
    job.run(way.import_file(job.folder / "newer.csv"))
    file.path.rename(job.folder / "gone.csv")
    for customer in MISSING_CUSTOMERS:
        job.query(f"INSERT INTO shop.customers VALUES ({customer})")
    job.run(way.retry)
    rows, rejects = job.rows(), job.open_rejects()
    found[CHECKS[10]] = _differ(sorted(rows), sorted([*file.good, *waiting]))
    rest = sorted(set(file.bad) - set(waiting))
    found[CHECKS[11]] = _differ(sorted(each[0] for each in rejects), rest)
    found[CHECKS[12]] = _differ({key: rows.get(key) for key in newer}, newer)
    tries = dict(job.query(way.attempts))
    found[CHECKS[13]] = _first(order_no for order_no in waiting if not tries.get(order_no))

    write_rows(job.folder / "right.csv", [file.repaired[order_no] for order_no in rest])
    job.run(way.import_file(job.folder / "right.csv"))
    job.run(way.retry)
    rows = job.rows()
    found[CHECKS[14]] = _differ(len(job.open_rejects()), 0) or _differ(
        {key: rows.get(key) for key in rest}, {key: file.repaired[key] for key in rest}
    )


def _killed(job: _Job, found: Found) -> None:
    """Killed when it wants to write the order in the middle of the file, of which another session holds the key."""
    file = job.file
    with closing(psycopg2.connect(job.dsn)) as holder, holder.cursor() as cursor:
        cursor.execute(_HOLD_KEY, file.good[sorted(file.good)[len(file.good) // 2]])
        with job.start(job.way.import_file(file.path)) as process:
            ends = time.monotonic() + _PATIENCE
            while (
                process.poll() is None
                and time.monotonic() < ends
                and not job.query(_WAITS.format(holder.info.backend_pid))
            ):
                time.sleep(0.02)
            was_killed = process.poll() is None
            if was_killed:
                os.killpg(process.pid, 9)
            process.communicate()
    if not was_killed:
        found[CHECKS[15]] = "it ended without the order in the middle"
        return
    output, _ = job.run(job.way.go_on(file.path))
    if not job.rows():  # it was killed before anything was kept
        output, _ = job.run(job.way.import_file(file.path))
    found[CHECKS[15]] = _whole(job) and f"{_whole(job)}; {output[-200:]}"


def _at_once(job: _Job, found: Found) -> None:
    file = job.file
    processes = [job.start(job.way.import_file(file.path)) for _ in range(2)]
    outputs = [process.communicate(timeout=_PATIENCE)[0] for process in processes]
    found[CHECKS[16]] = _whole(job) and f"{_whole(job)}; {outputs[0][-150:]}; {outputs[1][-150:]}"


def _orchestrated(job: _Job, found: Found) -> None:
    if job.way.orchestrated is None:
        found[CHECKS[17]] = "there is none"
        return
    job.run(job.way.orchestrated(job.file.path))
    output, _ = job.run([sys.executable, str(HERE / "dagster_runs.py")])
    found[CHECKS[17]] = "" if f"<{len(job.file.bad)}>" in output else output[-200:] or "there is no run"


def _whole(job: _Job) -> str:
    """What is wrong with rows and rejects of one import of the file."""
    return _differ(job.rows(), job.file.good) or _differ(
        sorted(each[0] for each in job.open_rejects()), sorted(job.file.bad)
    )


def _is_kept(file: OrdersFile, order_no: str, kept: str) -> bool:
    cells = [cell.strip().strip('"') for cell in file.lines[order_no].split(";", 6)]
    return all(cell in kept for cell in cells)


def _forms(count: int) -> Iterator[str]:
    yield f"{count:,}"
    yield f" {count} "


def _first(wrong: Iterator[str]) -> str:
    return next(wrong, "")


def _differ(found: Any, expected: Any, context: str = "") -> str:
    if found == expected:
        return ""
    if isinstance(found, dict) and isinstance(expected, dict):
        wrong = [key for key in {**found, **expected} if found.get(key) != expected.get(key)]
        example = f"such as {found.get(wrong[0])} for {expected.get(wrong[0])}"
        return f"{len(wrong)} of {len(expected)} differ, {example}; {context[-300:]}"
    if isinstance(found, list) and isinstance(expected, list) and len(expected) > 5:
        missing, more = set(expected) - set(found), set(found) - set(expected)
        named = f"{len(missing)} missing {sorted(missing)[:2]}, {len(more)} too many {sorted(more)[:2]}"
        return f"{named}, {len(found)} in all"
    return f"found {found}, expected {expected}"
