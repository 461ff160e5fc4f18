"""From a CSV file to a stored batch, beside COPY of the same file into a table of its columns with a primary key."""

from __future__ import annotations

import csv
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from functools import partial
from pathlib import Path

import psycopg2

from benchmarks.measuring import Clock, Figure, interleaved
from benchmarks.processors import NothingProcessor, manager_of
from benchmarks.rows import COLUMNS, Item, items_of
from benchmarks.scenarios.bench import Bench
from benchmarks.stored import OUR_ITEMS, check_stored

_ITEMS = 50_000
_GOAL = 0.4
_PLAIN = f"CREATE TABLE bench.plain ({', '.join(f'{column} text' for column in COLUMNS)}, PRIMARY KEY ({COLUMNS[0]}))"
_PLAIN_ITEMS = "SELECT row_number() OVER (ORDER BY code) AS number, to_json(plain) AS data FROM bench.plain"


def run(bench: Bench) -> Iterator[Figure]:
    items = items_of(bench.size(_ITEMS))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "items.csv"
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS)
            writer.writeheader()
            writer.writerows(items)
        ways = {
            "raw COPY of the file (yardstick)": _copy,
            "raw COPY of the file, into a table without a key": partial(_copy, key=False),
            "ours: create_batch from open_source": _ours,
        }
        results = interleaved(bench.rounds, [partial(_once, bench, items, path, way) for way in ways.values()])
    yardstick = results[0]["rate"].median
    for name, spreads in zip(ways, results, strict=True):
        ratio = spreads["rate"].median / yardstick
        ours = name.startswith("ours")
        yield Figure(
            scenario="csv",
            name=name,
            setting=f"{len(COLUMNS)} columns",
            unit="items/s",
            spread=spreads["rate"],
            items=len(items),
            ratio=ratio,
            base="raw COPY",
            goal=f">= {_GOAL:g}x raw COPY" if ours else None,
            reached=ratio >= _GOAL if ours else None,
            note="every line checked, with its position and the file's SHA-256" if ours else "",
        )


def _once(
    bench: Bench, items: list[Item], path: Path, way: Callable[[str, list[Item], Path, Clock], None]
) -> Mapping[str, float]:
    bench.say(f"csv: {len(items)} items")
    clock = Clock()
    with bench.databases.fresh() as dsn:
        way(dsn, items, path, clock)
    return {"rate": len(items) / clock.seconds["create"]}


def _copy(dsn: str, items: list[Item], path: Path, clock: Clock, *, key: bool = True) -> None:
    with closing(psycopg2.connect(dsn)) as connection:
        with connection, connection.cursor() as cursor:
            cursor.execute(_PLAIN)
            if not key:
                cursor.execute("ALTER TABLE bench.plain DROP CONSTRAINT plain_pkey")
        with clock.timing("create"), connection, connection.cursor() as cursor, path.open("rb") as file:
            cursor.copy_expert("COPY bench.plain FROM STDIN (FORMAT csv, HEADER)", file)
    check_stored(dsn, _PLAIN_ITEMS, items)


def _ours(dsn: str, items: list[Item], path: Path, clock: Clock) -> None:
    manager = manager_of(dsn)
    batch_type = NothingProcessor.batch_type
    with clock.timing("create"):
        manager.create_batch(batch_type, manager.open_source(batch_type, path))
    check_stored(dsn, OUR_ITEMS, items)
