"""The benchmarks run, and a way that does not do its work is found out. Timings decide no test."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import psycopg2
import pytest

from benchmarks.__main__ import measure
from benchmarks.databases import Databases
from benchmarks.dirty.files import FAULTS, check_orders, check_rejects, write_orders
from benchmarks.dirty.process import run_program
from benchmarks.dirty.shapes import NARROW, tables_sql
from benchmarks.dirty.ways import STAGING
from benchmarks.measuring import Clock, interleaved
from benchmarks.placement import placements
from benchmarks.processors import NothingProcessor, manager_of
from benchmarks.rows import Item, WrongResult, check_target, is_good, items_of
from benchmarks.scenarios import SCENARIOS, Bench, processing
from benchmarks.stored import OUR_ITEMS, check_stored
from benchmarks.ways import Way, all_ways
from benchmarks.ways.ours import DECLARED_UPSERT

ROOT = Path(__file__).parents[2]


@pytest.fixture
def bench(server_dsn: str) -> Iterator[Bench]:
    with Databases(server_dsn).prepared() as databases:
        yield Bench(databases, rounds=1, quick=True, large=False, with_products=False, say=lambda text: None)


def test_all_scenarios_run_and_check_their_results(bench: Bench, tmp_path: Path) -> None:
    report = measure(bench, list(SCENARIOS))
    written = report.write(tmp_path)
    found = json.loads((tmp_path / "figures.json").read_text())
    expected = set(SCENARIOS) if placements(bench.databases.server_dsn) else set(SCENARIOS) - {"placement"}
    assert {figure["scenario"].partition(":")[0] for figure in found["figures"]} == expected
    assert all(value > 0 for figure in found["figures"] for value in figure["spread"]["values"])
    assert report.missed == []  # a quick run judges nothing
    assert written == ["figures.json", "report.md", "processing.svg"]


def test_the_command_measures_on_a_durable_server_of_its_own(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks", "csv", "--quick", "--no-products", "--output", str(tmp_path)]
    result = subprocess.run(command, cwd=ROOT, env=dict(os.environ), capture_output=True, text=True, timeout=600)
    assert result.returncode == 0, result.stderr
    assert "fsync=on, synchronous_commit=on, full_page_writes=on" in result.stdout
    assert "PostgreSQL" in result.stdout


def lose_a_row(dsn: str) -> None:
    execute(dsn, "DELETE FROM bench.target WHERE code = 'C000000007'")


def change_a_row(dsn: str) -> None:
    execute(dsn, "UPDATE bench.target SET city = 'elsewhere' WHERE code = 'C000000007'")


def invent_a_row(dsn: str) -> None:
    execute(dsn, "INSERT INTO bench.target SELECT 'more', name, city, 0, 0, note FROM bench.target LIMIT 1")


@pytest.mark.parametrize("spoil", [lose_a_row, change_a_row, invent_a_row])
def test_a_way_whose_rows_are_wrong_fails_the_benchmark(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, spoil: Callable[[str], None]
) -> None:
    honest = next(way for way in all_ways() if way.name == DECLARED_UPSERT)

    def run(dsn: str, items: list[Item], clock: Clock) -> None:
        honest.run(dsn, items, clock)
        spoil(dsn)

    monkeypatch.setattr(processing, "all_ways", lambda: [Way("careless", run, isolates=True, tracks="nothing")])
    with pytest.raises(WrongResult, match="the target holds"):
        list(processing.run(bench))


def test_a_program_that_loses_a_row_or_a_reject_is_found_out(bench: Bench, tmp_path: Path) -> None:
    file = write_orders(tmp_path / "orders.csv", NARROW, 100, 0.05)
    assert sorted(set(file.rejects.values())) == sorted(FAULTS)
    line, *_ = file.rejects
    with bench.databases.fresh() as dsn:
        execute(dsn, tables_sql(NARROW))
        run_program(STAGING.command(dsn, file.path, NARROW), tmp_path)
        query = STAGING.rejects or ""
        check_orders(dsn, file)
        check_rejects(dsn, query, file.rejects)
        execute(dsn, "UPDATE public.rejects SET reason = 'bad' WHERE line = %s", line)
        with pytest.raises(WrongResult, match=f"line {line} is bad by"):
            check_rejects(dsn, query, file.rejects)
        execute(dsn, "DELETE FROM public.rejects WHERE line = %s", line)
        with pytest.raises(WrongResult, match="rejects: lines missing"):
            check_rejects(dsn, query, file.rejects)
        execute(dsn, "DELETE FROM shop.orders WHERE order_no = 'O00000000'")
        with pytest.raises(WrongResult, match="orders holds"):
            check_orders(dsn, file)


def test_a_lost_stored_item_is_found(bench: Bench) -> None:
    items = items_of(20)
    with bench.databases.fresh() as dsn:
        manager_of(dsn).create_batch(NothingProcessor.batch_type, items)
        check_stored(dsn, OUR_ITEMS, items)
        with pytest.raises(WrongResult, match="stored are"):
            check_stored(dsn, OUR_ITEMS, items[:-1])


def test_a_bad_item_is_refused_by_the_server(bench: Bench) -> None:
    items = items_of(400, 0.01)
    bad = [item for item in items if not is_good(item)]
    assert len(bad) == 4
    with bench.databases.fresh() as dsn:
        for item in bad:
            with pytest.raises(psycopg2.IntegrityError):
                execute(dsn, "INSERT INTO bench.target VALUES (%s, %s, %s, %s, %s, %s)", *item.values())
        check_target(dsn, [])


def test_each_round_begins_with_another_work() -> None:
    done = []

    def work(name: str) -> dict[str, float]:
        done.append(name)
        return {"value": len(done)}

    results = interleaved(2, [lambda: work("a"), lambda: work("b")])
    assert done == ["a", "b", "b", "a"]
    assert [result["value"].values for result in results] == [(1, 4), (2, 3)]


def execute(dsn: str, statement: str, *values: object) -> None:
    with closing(psycopg2.connect(dsn)) as connection, connection, connection.cursor() as cursor:
        cursor.execute(statement, values or None)
