"""What an item takes in the tables beside its own text: when it is stored, when it has an outcome, when it is repeated.

With indexes and with what pages leave free, for people pay for those too.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from functools import partial
from pathlib import Path

import psycopg2

from benchmarks.measuring import Figure, interleaved
from benchmarks.processors import NothingProcessor, RefusingProcessor, manager_of
from benchmarks.rows import Item, check_counts, items_of
from benchmarks.scenarios.bench import Bench

_ITEMS = 100_000
_GOAL = 200.0
_SIZES = """
SELECT
    pg_catalog.pg_total_relation_size('reliable_imports.import_items'),
    pg_catalog.pg_total_relation_size('reliable_imports.import_attempts'),
    (
        SELECT sum(pg_catalog.pg_total_relation_size(oid))::bigint
        FROM pg_catalog.pg_class
        WHERE relnamespace = 'reliable_imports'::pg_catalog.regnamespace
            AND relkind = 'r'
    ),
    (SELECT sum(pg_catalog.octet_length(source_data::text)) FROM reliable_imports.import_items)
"""


def run(bench: Bench) -> Iterator[Figure]:
    items = items_of(bench.size(_ITEMS))
    settings = {"from a generator": _from_generator, "from a file of JSON lines": _from_file}
    results = interleaved(1, [partial(_imported, bench, items, way) for way in settings.values()])
    for setting, spreads in zip(settings, results, strict=True):
        for name, spread in spreads.items():
            is_goal = name == "stored and completed without a result"
            yield Figure(
                scenario="bytes",
                name=name,
                setting=setting,
                unit="bytes an item",
                spread=spread,
                items=len(items),
                goal=f"<= {_GOAL:g}" if is_goal else None,
                reached=spread.median <= _GOAL if is_goal else None,
                note="beside the item's text",
            )
    (spreads,) = interleaved(1, [partial(_repeated, bench, items)])
    for name, spread in spreads.items():
        yield Figure(
            scenario="bytes",
            name=name,
            setting="each item fails again",
            unit="bytes an item",
            spread=spread,
            items=len(items),
            note="all of it: the text of an item too, where it is stored again",
        )


def _imported(bench: Bench, items: list[Item], way: Callable[[str, list[Item], Path], int]) -> Mapping[str, float]:
    bench.say(f"bytes: {len(items)} items")
    with bench.databases.fresh() as dsn:
        before = _sizes(dsn)
        manager = manager_of(dsn)
        with tempfile.TemporaryDirectory() as folder:
            batch_id = way(dsn, items, Path(folder))
        check_counts("completed", [manager.process_batch(batch_id).completed_items], [len(items)])
        after = _sizes(dsn)
    stored, attempts, everything = (now - then for now, then in zip(after[:3], before[:3], strict=True))
    stored -= after[3]
    return {
        "stored": stored / len(items),
        "completed without a result": attempts / len(items),
        "stored and completed without a result": (stored + attempts) / len(items),
        "all tables": (everything - after[3]) / len(items),
    }


def _from_generator(dsn: str, items: list[Item], folder: Path) -> int:
    return manager_of(dsn).create_batch(NothingProcessor.batch_type, (item for item in items))


def _from_file(dsn: str, items: list[Item], folder: Path) -> int:
    file = folder / "items.jsonl"
    file.write_text("".join(f"{json.dumps(item, ensure_ascii=False)}\n" for item in items), encoding="utf-8")
    manager = manager_of(dsn)
    return manager.create_batch(NothingProcessor.batch_type, manager.open_source(NothingProcessor.batch_type, file))


def _repeated(bench: Bench, items: list[Item]) -> Mapping[str, float]:
    bench.say(f"bytes: {len(items)} failures that are repeated")
    with bench.databases.fresh() as dsn:
        manager = manager_of(dsn)
        manager.registry.register(RefusingProcessor)
        batch_id = manager.create_batch(RefusingProcessor.batch_type, (item for item in items))
        check_counts("failed", [manager.process_batch(batch_id).failed_items], [len(items)])
        before = _sizes(dsn)
        check_counts("failed again", [manager.reprocess_batch(batch_id).failed_items], [len(items)])
        after = _sizes(dsn)
    stored, attempts, everything = ((now - then) / len(items) for now, then in zip(after[:3], before[:3], strict=True))
    return {
        "repeat of a failure: its row": stored,
        "repeat of a failure: its attempt": attempts,
        "repeat of a failure: all tables": everything,
    }


def _sizes(dsn: str) -> tuple[int, int, int, int]:
    with closing(psycopg2.connect(dsn)) as connection, connection.cursor() as cursor:
        cursor.execute(_SIZES)
        row = cursor.fetchone()
    assert row is not None
    return (int(row[0]), int(row[1]), int(row[2]), int(row[3] or 0))
