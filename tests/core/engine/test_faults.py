"""Whose fault an error is: the item's that brings it about alone, or nobody's."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

import psycopg2
import pytest
from psycopg2 import errorcodes

from reliable_imports import BaseProcessor, BatchManager, BatchStatus, ImportBatchItem, ImportContext
from reliable_imports.postgres.error_sorting import fault_of_state
from tests.core.conftest import Sql

STATES = sorted(
    {code for name, code in vars(errorcodes).items() if name.isupper() and isinstance(code, str) and len(code) == 5}
)

# What the trigger of the table `guarded` does with a text that begins so. Nothing here is a RAISE but the first.
GUARDED = """
CREATE TABLE guarded (id integer PRIMARY KEY, text text NOT NULL);
CREATE FUNCTION look_at_it() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.text LIKE 'raise %' THEN
        RAISE EXCEPTION 'it is refused' USING ERRCODE = substr(NEW.text, 7);
    ELSIF NEW.text = 'internal' THEN
        PERFORM pg_describe_object(1, 2, 3);
    ELSIF NEW.text = 'no file' THEN
        PERFORM pg_read_file('/nowhere');
    ELSIF NEW.text = 'full disk' THEN
        COPY (SELECT repeat('x', 1000000)) TO '/dev/full';
    ELSIF NEW.text = 'limit' THEN
        SET LOCAL temp_file_limit = '64kB';
        SET LOCAL work_mem = '64kB';
        PERFORM count(*) FROM (SELECT g FROM generate_series(1, 100000) AS g ORDER BY g DESC OFFSET 1) AS sorted;
    ELSIF NEW.text = 'no server' THEN
        PERFORM * FROM dblink('host=127.0.0.1 port=1', 'SELECT 1') AS t (x integer);
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER look BEFORE INSERT ON guarded FOR EACH ROW EXECUTE FUNCTION look_at_it();
"""
BY_ITSELF = {"internal": "XX000", "no file": "58P01", "limit": "53400", "no server": "08001", "full disk": "53100"}


class DeclaringProcessor(BaseProcessor):
    def process_item(self, item: ImportBatchItem, ctx: ImportContext) -> None:
        ctx.upsert("guarded", item.source_data, key="id")


class RunningProcessor(BaseProcessor):
    def process_item(self, item: ImportBatchItem, ctx: ImportContext) -> None:
        ctx.execute("INSERT INTO guarded VALUES (%s, %s)", [item.source_data["id"], item.source_data["text"]])


class HeldTogetherProcessor(DeclaringProcessor):
    """Two statements an item."""

    def process_item(self, item: ImportBatchItem, ctx: ImportContext) -> None:
        super().process_item(item, ctx)
        ctx.execute("SELECT 1")


@pytest.fixture
def guarded(manager: BatchManager, sql: Sql) -> BatchManager:
    sql(GUARDED)
    for processor in (DeclaringProcessor, RunningProcessor, HeldTogetherProcessor):
        manager.registry.register(processor)
    return manager


def rows(number: int, **texts: str) -> list[dict[str, object]]:
    """*number* items; those named as `at_7="text"` have another text."""
    return [{"id": each, "text": texts.get(f"at_{each}", "ok")} for each in range(1, number + 1)]


def test_client_and_server_sort_every_state_alike(sql: Sql) -> None:
    sorted_by_the_server = dict(
        sql("SELECT state, reliable_imports.fault_of_v1(state) FROM unnest(%s) AS state", STATES)
    )

    assert len(STATES) > 250
    assert sorted_by_the_server == {state: fault_of_state(state).value for state in STATES}


@pytest.mark.parametrize("batch_type", ["declaring", "running", "held_together"])
@pytest.mark.parametrize("text", [*BY_ITSELF, *(f"raise {state}" for state in ("XX000", "53100", "57P01", "08006"))])
@pytest.mark.promise(3)
def test_an_item_that_alone_brings_about_an_error_of_the_server_fails_with_it(
    guarded: BatchManager, sql: Sql, batch_type: str, text: str
) -> None:
    sql("CREATE EXTENSION dblink")

    summary = guarded.process_batch(guarded.create_batch(batch_type, rows(60, at_23=text)))

    assert (summary.status, summary.pause_reason) == (BatchStatus.COMPLETED_WITH_FAILURES, None)
    failed = sql("SELECT item_number, sqlstate FROM reliable_imports.import_attempts WHERE outcome = 'failed'")
    assert failed == [(23, BY_ITSELF.get(text, text.removeprefix("raise ")))]
    assert sql("SELECT count(*) FROM guarded") == [(59,)]


@pytest.mark.parametrize("text", ["internal", "no file", "limit", "no server", "raise 53100"])
def test_a_batch_of_one_such_item_ends(guarded: BatchManager, sql: Sql, text: str) -> None:
    sql("CREATE EXTENSION dblink")

    summary = guarded.process_batch(guarded.create_batch("declaring", rows(1, at_1=text)))

    assert (summary.status, summary.failed_items) == (BatchStatus.FAILED, 1)


def test_twenty_five_refusals_of_a_trigger_in_a_row_are_no_outage(guarded: BatchManager) -> None:
    for state in ("XX000", "42501", "53400", "42P01"):
        bad = {f"at_{number}": f"raise {state}" for number in range(5, 30)}

        summary = guarded.process_batch(guarded.create_batch("declaring", rows(40, **bad)))

        assert (summary.pause_reason, summary.failed_items, summary.completed_items) == (None, 25, 15), state


@pytest.mark.parametrize("batch_type", ["declaring", "running"])
@pytest.mark.parametrize("number", [1, 30, 300])
@pytest.mark.promise(5)
def test_a_full_disk_pauses_the_batch_and_fails_nobody(
    guarded: BatchManager, sql: Sql, batch_type: str, number: int
) -> None:
    # The disk is full from the second half on, and has room again for the second run.
    first = number // 2 + 1
    bad = {f"at_{each}": "full disk" for each in range(first, number + 1)}
    batch_id = guarded.create_batch(batch_type, rows(number, **bad))

    full = guarded.process_batch(batch_id)

    assert (full.status, full.failed_items) == (BatchStatus.PAUSED, 0)
    assert full.open_items == number - first + 1
    assert "No space left on device" in (full.pause_reason or "")
    assert f"items tried alone: {first}" in (full.pause_reason or "")

    sql("DROP TRIGGER look ON guarded")
    room = guarded.process_batch(batch_id)
    assert (room.status, room.completed_items) == (BatchStatus.COMPLETED, number)
    assert sql("SELECT count(*) FROM guarded") == [(number,)]


def test_an_item_that_was_put_off_goes_in_if_the_trouble_is_over(guarded: BatchManager, sql: Sql) -> None:
    class OnceProcessor(DeclaringProcessor):
        met = 0

        def process_item(self, item: ImportBatchItem, ctx: ImportContext) -> None:
            text = "ok"
            if item.item_number == 7:
                type(self).met += 1
                text = "full disk" if type(self).met < 4 else "ok"
            ctx.upsert("guarded", {"id": item.item_number, "text": text}, key="id")

    guarded.registry.register(OnceProcessor)

    summary = guarded.process_batch(guarded.create_batch("once", rows(20)))

    assert (summary.status, summary.completed_items) == (BatchStatus.COMPLETED, 20)
    assert "item postponed until the others are done" in [line.message for line in guarded.list_logs(summary.batch_id)]


def test_an_error_in_the_hook_of_a_failed_item_does_not_stop_the_batch(guarded: BatchManager, sql: Sql) -> None:
    class HookedProcessor(RunningProcessor):
        def on_item_error(self, item: ImportBatchItem, error: object, ctx: ImportContext) -> None:
            ctx.fetch_value("SELECT pg_describe_object(1, 2, 3)")

        def on_batch_complete(self, summary: object, ctx: ImportContext) -> None:
            ctx.fetch_value("SELECT pg_describe_object(1, 2, 3)")

    guarded.registry.register(HookedProcessor)

    summary = guarded.process_batch(guarded.create_batch("hooked", rows(20, at_7="raise P0001")))

    assert (summary.status, summary.failed_items) == (BatchStatus.COMPLETED_WITH_FAILURES, 1)
    assert "on_batch_complete failed: InternalError_" in [line.message for line in guarded.list_logs(summary.batch_id)]


def test_an_error_of_a_trigger_costs_no_more_transactions_for_its_class(guarded: BatchManager, sql: Sql) -> None:
    def transactions(state: str) -> int:
        sql("TRUNCATE guarded")
        bad = {f"at_{number}": f"raise {state}" for number in range(500, 3000, 1000)}
        summary = guarded.process_batch(guarded.create_batch("declaring", rows(3000, **bad)))
        assert summary.failed_items == 3
        ((count,),) = sql(
            "SELECT count(DISTINCT xmin::text) FROM reliable_imports.import_attempts WHERE batch_id = %s",
            summary.batch_id,
        )
        return int(count)

    assert transactions("55000") == transactions("P0001")
    assert transactions("XX000") < 300


# Row level security and rights, as a role of few rights meets them.


@pytest.fixture
def limited(database: str, guarded: BatchManager, sql: Sql) -> Iterator[Callable[..., BatchManager]]:
    """Makes a manager of a role that may use the schema, and has the rights on `guarded` that are named."""
    role = f"limited_{urlsplit(database).path[1:]}"
    sql(f"CREATE ROLE {role} LOGIN PASSWORD 'limited'")
    sql(f"GRANT USAGE ON SCHEMA reliable_imports TO {role}")
    sql(f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA reliable_imports TO {role}")
    sql(f"GRANT USAGE ON ALL SEQUENCES IN SCHEMA reliable_imports TO {role}")

    def make(rights: str | None) -> BatchManager:
        if rights is not None:
            sql(f"GRANT {rights} ON guarded TO {role}")
        url = urlsplit(database)
        address = f"{url.hostname}:{url.port}{url.path}"
        return BatchManager(f"postgresql://{role}:limited@{address}", migrate=False, registry=guarded.registry)

    yield make
    sql(f"DROP OWNED BY {role}")
    sql(f"DROP ROLE {role}")


@pytest.mark.parametrize("batch_type", ["declaring", "running", "held_together"])
def test_rows_that_row_level_security_refuses_fail_alone(
    limited: Callable[..., BatchManager], sql: Sql, batch_type: str
) -> None:
    sql("ALTER TABLE guarded ENABLE ROW LEVEL SECURITY")
    sql("CREATE POLICY mine ON guarded USING (text = 'ok') WITH CHECK (text = 'ok')")
    manager = limited("ALL")
    bad = {f"at_{number}": "another's" for number in range(1, 26)}

    summary = manager.process_batch(manager.create_batch(batch_type, rows(50, **bad)))

    assert (summary.pause_reason, summary.failed_items, summary.completed_items) == (None, 25, 25)


@pytest.mark.parametrize("batch_type", ["declaring", "running"])
def test_a_missing_right_pauses_the_batch(limited: Callable[..., BatchManager], sql: Sql, batch_type: str) -> None:
    sql("ALTER TABLE guarded ENABLE ROW LEVEL SECURITY")
    manager = limited("SELECT")

    summary = manager.process_batch(manager.create_batch(batch_type, rows(50)))

    assert (summary.status, summary.failed_items) == (BatchStatus.PAUSED, 0)
    assert "permission denied" in (summary.pause_reason or "")


def test_a_table_without_the_index_that_a_write_names_pauses_the_batch(guarded: BatchManager, sql: Sql) -> None:
    sql("ALTER TABLE guarded DROP CONSTRAINT guarded_pkey")

    summary = guarded.process_batch(guarded.create_batch("declaring", rows(50)))

    assert (summary.status, summary.failed_items) == (BatchStatus.PAUSED, 0)


# Exceptions of Python.


class NotAnInterruptError(Exception):
    pass


@pytest.mark.parametrize("error", [InterruptedError("EINTR"), NotAnInterruptError("of a library")])
def test_an_exception_named_like_an_interrupt_fails_its_item(guarded: BatchManager, error: Exception) -> None:
    class InterruptingProcessor(DeclaringProcessor):
        def process_item(self, item: ImportBatchItem, ctx: ImportContext) -> None:
            if item.item_number == 5:
                raise error
            super().process_item(item, ctx)

    guarded.registry.register(InterruptingProcessor)

    summary = guarded.process_batch(guarded.create_batch("interrupting", rows(10)))

    assert (summary.status, summary.failed_items) == (BatchStatus.COMPLETED_WITH_FAILURES, 1)


def test_a_driver_error_of_another_connection_is_the_items(guarded: BatchManager) -> None:
    class ElsewhereProcessor(DeclaringProcessor):
        def process_item(self, item: ImportBatchItem, ctx: ImportContext) -> None:
            if item.item_number == 5:
                psycopg2.connect("host=127.0.0.1 port=1")
            super().process_item(item, ctx)

    guarded.registry.register(ElsewhereProcessor)

    summary = guarded.process_batch(guarded.create_batch("elsewhere", rows(10)))

    assert (summary.completed_items, summary.failed_items) == (9, 1)
