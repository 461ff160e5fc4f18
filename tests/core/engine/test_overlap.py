"""While the server is at work on a chunk, the items of the next one are tried; nothing else changes by that."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import timedelta
from typing import Any

import psycopg2
import pytest

from reliable_imports import BaseProcessor, BatchManager, BatchStatus, ImportBatchItem, ImportContext, TransientError
from reliable_imports.engine.isolation import chunk_writes, transaction
from reliable_imports.engine.recovery import suspects
from reliable_imports.engine.work import chunk, chunks, in_flight
from reliable_imports.engine.work.attempt import Attempt
from reliable_imports.engine.work.claims import MAX_ITEMS
from reliable_imports.engine.work.recorder import Recorder
from tests.core.conftest import Sql

InOneRange = Callable[..., int]

_CHUNK = 40
_ITEMS = 3 * _CHUNK


@pytest.fixture(autouse=True)
def _chunks_are_small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunks, "MAX_ITEMS", 2 * _CHUNK)  # the first chunks have half of it


@pytest.fixture
def in_one_range(manager: BatchManager, sql: Sql) -> InOneRange:
    """Makes a batch whose items are one range, and so several chunks."""

    def make(batch_type: str, items: list[dict[str, Any]] | None = None) -> int:
        batch_id = manager.create_batch(batch_type, [{} for _ in range(_ITEMS)] if items is None else items)
        sql("DELETE FROM reliable_imports.import_ranges WHERE range_number > 1 AND batch_id = %s", batch_id)
        sql(
            "UPDATE reliable_imports.import_ranges SET last_item = total_items "
            "FROM reliable_imports.import_batches WHERE id = batch_id AND id = %s",
            batch_id,
        )
        return batch_id

    return make


@pytest.fixture
def in_a_range_a_chunk(in_one_range: InOneRange, sql: Sql) -> InOneRange:
    """Makes a batch whose chunks are a range each."""

    def make(batch_type: str, items: list[dict[str, Any]] | None = None) -> int:
        batch_id = in_one_range(batch_type, items)
        sql("UPDATE reliable_imports.import_ranges SET last_item = %s WHERE batch_id = %s", _CHUNK, batch_id)
        sql(
            "INSERT INTO reliable_imports.import_ranges (batch_id, range_number, next_item, last_item) "
            "SELECT %s, number, (number - 1) * %s + 1, number * %s FROM generate_series(2, %s) AS number",
            *(batch_id, _CHUNK, _CHUNK, _ITEMS // _CHUNK),
        )
        return batch_id

    return make


class OverlapProcessor(BaseProcessor):
    """Notes whose code runs, in what order and in which thread; each test has its own."""

    tried: list[int]
    threads: set[int]

    def __init_subclass__(cls) -> None:
        cls.batch_type = "overlap"
        cls.tried, cls.threads = [], set()

    def process_item(self, item: ImportBatchItem, ctx: ImportContext) -> Any:
        self.tried.append(item.item_number)
        self.threads.add(threading.get_ident())
        found = self.before(item, ctx)
        ctx.upsert("notes", {"id": item.item_number, "text": "written", **item.source_data}, key="id")
        return found

    def before(self, item: ImportBatchItem, ctx: ImportContext) -> Any:
        """What the item does before it writes."""


def _until(is_so: Callable[[], bool]) -> None:
    until = time.monotonic() + 60
    while not is_so():
        assert time.monotonic() < until
        time.sleep(0.01)


def _result(manager: BatchManager, batch_id: int, item_number: int) -> Any:
    (item,) = [each for each in manager.list_items(batch_id) if each.item_number == item_number]
    return item.result


@contextmanager
def _first_chunk_waits(database: str, sql: Sql) -> Iterator[None]:
    """The first chunk meets a row that somebody else has locked, for as long as the block lasts."""
    sql("INSERT INTO notes (id, text) VALUES (1, 'before')")
    with closing(psycopg2.connect(database)) as other, other.cursor() as cursor:
        cursor.execute("SELECT FROM notes WHERE id = 1 FOR UPDATE")
        yield


@contextmanager
def _worked_while_the_first_chunk_waits(
    manager: BatchManager, database: str, sql: Sql, batch_id: int, tried: list[int], at_least: int
) -> Iterator[int | None]:
    """A thread, whose ident is given, works the batch: it has *tried* so many items; behind the block it is done."""
    worker = threading.Thread(target=manager.process_batch, args=(batch_id,))
    with _first_chunk_waits(database, sql):
        worker.start()
        _until(lambda: len(tried) >= at_least)
        yield worker.ident
    worker.join()


def test_the_next_items_are_tried_while_the_server_is_at_work(
    manager: BatchManager, database: str, sql: Sql, in_one_range: InOneRange
) -> None:
    class Processor(OverlapProcessor):
        pass

    manager.registry.register(Processor)
    batch_id = in_one_range("overlap")
    with _worked_while_the_first_chunk_waits(manager, database, sql, batch_id, Processor.tried, 2 * _CHUNK) as worker:
        assert manager.get_summary(batch_id).completed_items == 0

    assert manager.get_summary(batch_id).completed_items == _ITEMS
    assert Processor.tried == list(range(1, _ITEMS + 1))
    assert Processor.threads == {worker}, "user code runs in the worker's thread alone"


def test_no_item_is_tried_while_the_server_waits_for_what_comes_next(
    manager: BatchManager, in_one_range: InOneRange, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_put_together = threading.Event()
    commit = Recorder.commit
    tried_meanwhile: list[int] = []
    moments: list[float] = []

    class Clock:
        @staticmethod
        def sleep(seconds: float) -> None:
            moments.append(seconds)
            time.sleep(seconds)

    class Processor(OverlapProcessor):
        def before(self, item: ImportBatchItem, ctx: ImportContext) -> Any:
            if item.item_number == _CHUNK + 5:
                assert is_put_together.wait(60)

    def slow_commit(*arguments: Any, **options: Any) -> None:
        if not is_put_together.is_set():
            moments.clear()
            is_put_together.set()
            _until(lambda: len(moments) > 20 or len(Processor.tried) > _CHUNK + 5)
            tried_meanwhile.append(len(Processor.tried) - _CHUNK)
        commit(*arguments, **options)

    monkeypatch.setattr(in_flight, "time", Clock)
    monkeypatch.setattr(Recorder, "commit", slow_commit)
    manager.registry.register(Processor)
    assert manager.process_batch(in_one_range("overlap")).completed_items == _ITEMS
    assert len(tried_meanwhile) == 1
    assert tried_meanwhile[0] <= 5


def test_a_chunk_has_twice_as_many_items_after_one_whose_rows_went_as_one_statement(
    manager: BatchManager, in_one_range: InOneRange, sql: Sql
) -> None:
    class RowsProcessor(BaseProcessor):
        def process_item(self, item: ImportBatchItem, ctx: ImportContext) -> None:
            ctx.upsert("rows", {"id": item.item_number, **item.source_data}, key="id")

    manager.registry.register(RowsProcessor)
    sql("CREATE TABLE rows (id integer PRIMARY KEY, text text)")
    sql("CREATE UNIQUE INDEX ON rows (text) WHERE text = 'once'")  # nothing foresees what it refuses
    once = {4 * _CHUNK, 4 * _CHUNK + 1}  # in the third chunk
    count = 9 * _CHUNK
    batch_id = in_one_range("rows", [{"text": "once" if n in once else "often"} for n in range(1, count + 1)])
    summary = manager.process_batch(batch_id)

    assert (summary.completed_items, summary.failed_items) == (count - 1, 1)
    chunks_ = sql(
        "SELECT min(item_number), count(*) FROM reliable_imports.import_attempts GROUP BY xmin::text ORDER BY 1"
    )
    # The items of the fourth are tried before the third one has ended.
    assert [items for _, items in chunks_] == [_CHUNK, 2 * _CHUNK, 2 * _CHUNK, 2 * _CHUNK, _CHUNK, _CHUNK]


def test_a_chunk_is_no_larger_where_its_rows_are_of_too_many_kinds_to_find_room(
    manager: BatchManager, in_one_range: InOneRange, sql: Sql, monkeypatch: pytest.MonkeyPatch
) -> None:
    class RowsProcessor(BaseProcessor):
        def process_item(self, item: ImportBatchItem, ctx: ImportContext) -> None:
            ctx.upsert("rows", item.source_data, key="id")

    monkeypatch.setattr(chunks, "MAX_ITEMS", MAX_ITEMS)
    manager.registry.register(RowsProcessor)
    columns = [f"c{number}" for number in range(6)]
    sql(f"CREATE TABLE rows (id integer PRIMARY KEY, {' text, '.join(columns)} text)")
    items = [{"id": number, columns[number % len(columns)]: "a"} for number in range(2 * MAX_ITEMS)]
    manager.process_batch(in_one_range("rows", items))

    chunks_ = sql("SELECT count(*) FROM reliable_imports.import_attempts GROUP BY xmin::text")
    assert [items for (items,) in chunks_] == [MAX_ITEMS // 2] * 4


def test_the_next_range_is_tried_while_the_server_is_at_work_and_nobody_else_takes_it(
    manager: BatchManager, database: str, sql: Sql, in_a_range_a_chunk: InOneRange
) -> None:
    class Processor(OverlapProcessor):
        pass

    manager.registry.register(Processor)
    batch_id = in_a_range_a_chunk("overlap")
    with _worked_while_the_first_chunk_waits(manager, database, sql, batch_id, Processor.tried, 2 * _CHUNK):
        assert manager.process_batch(batch_id).completed_items == _CHUNK, "the last range, here"

    assert manager.get_summary(batch_id).completed_items == _ITEMS
    assert Processor.tried == list(range(1, _ITEMS + 1)), "no code ran twice"


@pytest.mark.promise(5)
def test_a_killer_that_was_tried_ahead_costs_one_run(
    manager: BatchManager, database: str, sql: Sql, in_a_range_a_chunk: InOneRange
) -> None:
    parent = os.getpid()

    class Processor(OverlapProcessor):
        def before(self, item: ImportBatchItem, ctx: ImportContext) -> None:
            if item.item_number == _CHUNK + 5:
                assert os.getpid() != parent
                os._exit(1)

    manager.registry.register(Processor)
    batch_id = in_a_range_a_chunk("overlap")
    with _first_chunk_waits(database, sql):
        first = multiprocessing.get_context("fork").Process(target=manager.process_batch, args=(batch_id,))
        first.start()
        first.join(60)
    assert first.exitcode == 1
    summary = manager.process_batch(batch_id)

    assert (summary.completed_items, summary.failed_items) == (_ITEMS - 1, 1)
    (failed,) = manager.list_items(batch_id, status="failed")
    assert (failed.item_number, failed.error_type) == (_CHUNK + 5, "KilledWorker")


@pytest.mark.promise(5)
def test_a_killer_in_flight_is_found_though_an_item_of_the_next_range_is_named(
    manager: BatchManager, in_a_range_a_chunk: InOneRange, monkeypatch: pytest.MonkeyPatch
) -> None:
    fork = multiprocessing.get_context("fork")
    parent = os.getpid()
    killer = _CHUNK + 5
    deaths = fork.Value("i")
    is_ahead = threading.Event()
    commit = Recorder.commit

    def die_of_it(self: Recorder, cursor: Any, claim: Any, attempts: Sequence[Attempt], *others: Any) -> None:
        if any(each.stored.item_number == killer and each.failure is None for each in attempts):
            assert os.getpid() != parent
            if threading.current_thread() is not threading.main_thread():
                is_ahead.wait(60)
            deaths.value += 1
            os._exit(1)
        commit(self, cursor, claim, attempts, *others)

    class Processor(OverlapProcessor):
        def before(self, item: ImportBatchItem, ctx: ImportContext) -> None:
            if multiprocessing.parent_process() is not None:
                os._exit(1)  # the first worker is lost, so the next one works in children
            if item.item_number > 2 * _CHUNK:
                is_ahead.set()
                _until(lambda: deaths.value > 0)

    monkeypatch.setattr(Recorder, "commit", die_of_it)
    manager.registry.register(Processor)
    batch_id = in_a_range_a_chunk("overlap")
    first = fork.Process(target=manager.process_batch, args=(batch_id,))
    first.start()
    first.join(60)
    summary = manager.process_batch(batch_id)

    assert (summary.completed_items, summary.failed_items) == (_ITEMS - 1, 1)
    (failed,) = manager.list_items(batch_id, status="failed")
    assert (failed.item_number, failed.error_type) == (killer, "KilledWorker")
    assert deaths.value == 3


@pytest.mark.parametrize("made", ["in_one_range", "in_a_range_a_chunk"])
def test_an_item_that_asks_the_database_finds_what_earlier_items_have_written(
    manager: BatchManager, made: str, request: pytest.FixtureRequest
) -> None:
    class Processor(OverlapProcessor):
        def before(self, item: ImportBatchItem, ctx: ImportContext) -> Any:
            if item.item_number == _CHUNK + 5:
                return {"found": ctx.fetch_value("SELECT count(*) FROM notes")}
            return None

    manager.registry.register(Processor)
    batch_id = request.getfixturevalue(made)("overlap")
    manager.process_batch(batch_id)

    assert _result(manager, batch_id, _CHUNK + 5) == {"found": _CHUNK + 4}
    assert Processor.tried == list(range(1, _ITEMS + 1)), "no code ran twice"


def test_of_two_items_with_one_key_the_later_one_stands(
    manager: BatchManager, sql: Sql, in_one_range: InOneRange
) -> None:
    class Processor(OverlapProcessor):
        pass

    manager.registry.register(Processor)
    items = [{"id": number % _CHUNK, "text": str(number)} for number in range(_ITEMS)]
    manager.process_batch(in_one_range("overlap", items))

    assert sql("SELECT id, text FROM notes ORDER BY id") == [
        (number, str(2 * _CHUNK + number)) for number in range(_CHUNK)
    ]


def test_failures_of_both_chunks_are_told_of_their_items(manager: BatchManager, in_one_range: InOneRange) -> None:
    class Processor(OverlapProcessor):
        def before(self, item: ImportBatchItem, ctx: ImportContext) -> Any:
            if item.item_number % 10 == 3:
                raise LookupError(item.item_number)

    manager.registry.register(Processor)
    items = [{"text": "bad"} if number % 10 == 7 else {} for number in range(1, _ITEMS + 1)]
    batch_id = in_one_range("overlap", items)
    manager.process_batch(batch_id)

    failed = {each.item_number: each.error_type for each in manager.list_items(batch_id, status="failed")}
    assert sorted(number for number, error in failed.items() if error == "LookupError") == list(range(3, _ITEMS, 10))
    assert sorted(number for number, error in failed.items() if error != "LookupError") == list(range(7, _ITEMS, 10))
    assert Processor.tried == list(range(1, _ITEMS + 1))


def test_what_is_recorded_of_good_items_is_the_same_with_failures_among_them(
    manager: BatchManager, in_one_range: InOneRange, sql: Sql
) -> None:
    """It is put together before the server has said which items fail."""

    class Processor(OverlapProcessor):
        def before(self, item: ImportBatchItem, ctx: ImportContext) -> Any:
            return {"number": item.item_number}

    manager.registry.register(Processor)

    def recorded(bad: set[int]) -> dict[int, Any]:
        batch_id = in_one_range("overlap", [{"text": "bad" if number in bad else "ok"} for number in range(_ITEMS)])
        assert manager.process_batch(batch_id).failed_items == len(bad)
        return {
            number: facts
            for number, *facts in sql(
                "SELECT item_number, attempt, row_key, result::text FROM reliable_imports.import_attempts "
                "WHERE batch_id = %s AND outcome = 'completed'",
                batch_id,
            )
        }

    every_one = recorded(set())
    assert len({row_key for _, row_key, _ in every_one.values()}) == _ITEMS
    for bad in ({0, 1, 2, _CHUNK, _CHUNK + 1, _ITEMS - 1}, set(range(0, _ITEMS, 2)), set(range(1, _ITEMS))):
        assert recorded(bad) == {number: every_one[number] for number in every_one if number - 1 not in bad}


@pytest.mark.parametrize("key", [(), ("name",)])
def test_an_item_whose_key_cannot_be_read_costs_its_neighbours_nothing(
    manager: BatchManager, in_one_range: InOneRange, sql: Sql, key: tuple[str, ...]
) -> None:
    """Its key was put together with theirs before the server has said that it is none."""

    tried: list[int] = []

    class RowsProcessor(BaseProcessor):
        natural_key = key

        def process_item(self, item: ImportBatchItem, ctx: ImportContext) -> None:
            tried.append(item.item_number)
            ctx.upsert("rows", item.source_data, key="id")

    manager.registry.register(RowsProcessor)
    sql("CREATE TABLE rows (id integer PRIMARY KEY, name text)")
    bad = {4 * _CHUNK, 4 * _CHUNK + 7}  # in the third chunk, the first that is put together whole
    count = 5 * _CHUNK
    numbers = range(1, count + 1)
    items = [{"id": "none" if number in bad else number, "name": str(number)} for number in numbers]
    batch_id = in_one_range("rows", items)
    summary = manager.process_batch(batch_id)

    assert (summary.completed_items, summary.failed_items) == (count - 2, 2)
    assert {each.item_number for each in manager.list_items(batch_id, status="failed")} == bad
    assert tried == list(numbers), "no code ran twice"


@pytest.mark.parametrize("made", ["in_one_range", "in_a_range_a_chunk"])
def test_items_that_find_no_room_are_carried_on_before_the_next(
    manager: BatchManager, sql: Sql, made: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transaction, "MAX_SUBTRANSACTIONS", 1)
    monkeypatch.setattr(chunk_writes, "MAX_SUBTRANSACTIONS", 1)

    class Processor(OverlapProcessor):
        def before(self, item: ImportBatchItem, ctx: ImportContext) -> None:
            ctx.upsert("notes", {"id": 0, "text": str(item.item_number)}, key="id")

    manager.registry.register(Processor)
    items = [{"text": "bad"} if number % 8 == 0 else {} for number in range(1, _ITEMS + 1)]
    summary = manager.process_batch(request.getfixturevalue(made)("overlap", items))

    assert (summary.completed_items, summary.failed_items) == (_ITEMS - _ITEMS // 8, _ITEMS // 8)
    assert sql("SELECT text FROM notes WHERE id = 0") == [(str(_ITEMS - 1),)]
    if made == "in_one_range":
        assert Processor.tried == list(range(1, _ITEMS + 1)), "no code ran twice"


@pytest.mark.promise(5)
def test_a_connection_that_is_lost_meanwhile_costs_nothing(
    manager: BatchManager, database: str, sql: Sql, in_one_range: InOneRange
) -> None:
    class Processor(OverlapProcessor):
        pass

    manager.registry.register(Processor)
    batch_id = in_one_range("overlap")
    with _worked_while_the_first_chunk_waits(manager, database, sql, batch_id, Processor.tried, 2 * _CHUNK):
        sql("SELECT pg_terminate_backend(backend_pid) FROM reliable_imports.import_runs")

    assert manager.get_summary(batch_id).completed_items == _ITEMS
    assert sql("SELECT count(*), count(*) FILTER (WHERE text = 'written') FROM notes") == [(_ITEMS, _ITEMS)]


def test_an_item_that_asks_the_database_when_it_was_lost_is_tried_again(
    manager: BatchManager, database: str, sql: Sql, in_one_range: InOneRange
) -> None:
    class Processor(OverlapProcessor):
        def before(self, item: ImportBatchItem, ctx: ImportContext) -> Any:
            if item.item_number == _CHUNK + 5 and len(self.tried) < 2 * _CHUNK:
                sql("SELECT pg_terminate_backend(backend_pid) FROM reliable_imports.import_runs")
                with contextlib.suppress(Exception):  # as code does that ignores what it is told
                    ctx.fetch_value("SELECT 1")

    manager.registry.register(Processor)
    batch_id = in_one_range("overlap")
    with _worked_while_the_first_chunk_waits(manager, database, sql, batch_id, Processor.tried, _CHUNK + 6):
        pass

    assert manager.get_summary(batch_id).completed_items == _ITEMS
    assert sql("SELECT count(*) FROM notes") == [(_ITEMS,)]


def test_trouble_of_the_server_when_items_need_the_database_pauses_the_batch(
    manager: BatchManager, sql: Sql, in_one_range: InOneRange
) -> None:
    class Processor(OverlapProcessor):
        def before(self, item: ImportBatchItem, ctx: ImportContext) -> Any:
            if item.item_number == _CHUNK + 5:
                ((claim,),) = sql("SELECT pg_get_functiondef('reliable_imports.claim_chunk_v1'::regproc)")
                raising = "\nBEGIN\n    RAISE EXCEPTION 'no space left' USING ERRCODE = 'disk_full';\n"
                sql(claim.replace("\nBEGIN\n", raising))
                ctx.fetch_value("SELECT 1")

    manager.registry.register(Processor)
    summary = manager.process_batch(in_one_range("overlap"))

    assert (summary.status, summary.completed_items) == (BatchStatus.PAUSED, _CHUNK)
    assert "no space left" in (summary.pause_reason or "")


def test_what_was_tried_is_committed_before_a_signal_is_obeyed(manager: BatchManager, in_one_range: InOneRange) -> None:
    class Processor(OverlapProcessor):
        def before(self, item: ImportBatchItem, ctx: ImportContext) -> Any:
            if item.item_number == _CHUNK + 5:
                os.kill(os.getpid(), signal.SIGTERM)

    manager.registry.register(Processor)
    batch_id = in_one_range("overlap")
    before = signal.signal(signal.SIGTERM, lambda number, frame: None)
    try:
        summary = manager.process_batch(batch_id)
    finally:
        signal.signal(signal.SIGTERM, before)

    assert (summary.status, summary.completed_items) == (BatchStatus.PROCESSING, _CHUNK + 5)
    assert manager.process_batch(batch_id).completed_items == _ITEMS
    assert Processor.tried == list(range(1, _ITEMS + 1)), "no code ran twice"


def test_an_interrupt_undoes_both_chunks(
    manager: BatchManager, database: str, sql: Sql, in_one_range: InOneRange
) -> None:
    class Processor(OverlapProcessor):
        def before(self, item: ImportBatchItem, ctx: ImportContext) -> Any:
            if item.item_number == _CHUNK + 5 and len(self.tried) == _CHUNK + 5:
                raise KeyboardInterrupt

    manager.registry.register(Processor)
    batch_id = in_one_range("overlap")
    with _first_chunk_waits(database, sql), pytest.raises(KeyboardInterrupt):
        manager.process_batch(batch_id)

    assert sql("SELECT id, text FROM notes") == [(1, "before")]
    assert manager.process_batch(batch_id).completed_items == _ITEMS


@pytest.mark.promise(3)
def test_what_an_item_leaves_in_the_session_does_not_reach_those_behind_it(
    manager: BatchManager, in_one_range: InOneRange
) -> None:
    class Processor(OverlapProcessor):
        def before(self, item: ImportBatchItem, ctx: ImportContext) -> Any:
            if item.item_number == _CHUNK + 5:
                ctx.execute("SET test.behind = 'behind'")
            if item.item_number == _CHUNK + 6:
                return {"found": ctx.fetch_value("SELECT current_setting('test.behind', true)")}
            return None

    manager.registry.register(Processor)
    batch_id = in_one_range("overlap")
    manager.process_batch(batch_id)

    assert _result(manager, batch_id, _CHUNK + 6) in ({"found": None}, {"found": ""})
    assert Processor.tried == list(range(1, _ITEMS + 1)), "no code ran twice"


def test_items_that_are_tried_again_are_worked_chunk_after_chunk(
    manager: BatchManager, in_one_range: InOneRange, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Processor(OverlapProcessor):
        retry_pause = timedelta(0)

        def before(self, item: ImportBatchItem, ctx: ImportContext) -> Any:
            if item.attempt == 1 and item.item_number <= 5:
                raise TransientError
            if item.item_number == _ITEMS:
                monkeypatch.setattr(chunk, "MAX_SECONDS", 0)  # as if each item took long from now on

    manager.registry.register(Processor)
    summary = manager.process_batch(in_one_range("overlap"))

    assert (summary.status, summary.completed_items) == (BatchStatus.COMPLETED, _ITEMS)
    assert Processor.tried == [*range(1, _ITEMS + 1), *range(1, 6)]


def test_a_batch_that_is_paused_by_one_chunk_keeps_nothing_of_the_next(
    manager: BatchManager, sql: Sql, in_one_range: InOneRange
) -> None:
    class Processor(OverlapProcessor):
        max_failed_items = 3

    manager.registry.register(Processor)
    batch_id = in_one_range("overlap", [{"text": "bad"} if number in (1, 2, 3, 4) else {} for number in range(_ITEMS)])
    summary = manager.process_batch(batch_id)

    assert (summary.status, summary.failed_items, summary.completed_items) == (BatchStatus.PAUSED, 4, _CHUNK - 4)
    assert sql("SELECT count(*) FROM notes") == [(_CHUNK - 4,)]


def test_whoever_is_told_of_failures_is_told_in_the_workers_thread(
    manager: BatchManager, in_one_range: InOneRange
) -> None:
    class Processor(OverlapProcessor):
        def on_item_error(self, item: ImportBatchItem, failure: Any, ctx: ImportContext) -> None:
            self.threads.add(threading.get_ident())

    manager.registry.register(Processor)
    batch_id = in_one_range("overlap", [{"text": "bad"} if number % 9 == 0 else {} for number in range(_ITEMS)])
    manager.process_batch(batch_id)

    assert Processor.threads == {threading.get_ident()}


def test_after_a_death_only_what_was_in_hand_is_tried_alone(
    manager: BatchManager, sql: Sql, in_one_range: InOneRange, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(suspects, "MAX_IN_HAND", 20)

    class Processor(OverlapProcessor):
        pass

    manager.registry.register(Processor)
    batch_id = in_one_range("overlap")
    sql(
        "INSERT INTO reliable_imports.import_runs (token, batch_id, runner, mode, host, process_id, range_number) "
        "VALUES (gen_random_uuid(), %s, 'python', 'import', 'gone', 1, 1)",
        batch_id,
    )
    manager.process_batch(batch_id)

    assert manager.get_summary(batch_id).completed_items == _ITEMS
    alone = sql("SELECT min(id) FROM notes GROUP BY xmin::text HAVING count(*) = 1 ORDER BY 1")
    assert alone == [(number,) for number in range(1, 21)]
