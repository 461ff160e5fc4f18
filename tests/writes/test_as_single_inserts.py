"""In bulk as alone: the same rows and the same failures as those of single INSERTs in item order.

The reference is psycopg2 alone: a transaction for each item, in item order. `--writes-release` compares 10,000 items
for each way of writing, as before a release.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import replace
from random import Random
from typing import Any, Protocol

import psycopg2
import pydantic
import pytest
from hypothesis import HealthCheck, Phase, given, note, settings
from hypothesis import strategies as st
from psycopg2 import sql as composed

from reliable_imports import BaseProcessor, BatchManager, BatchStatus, ImportBatchItem, ImportContext, TableProcessor
from tests.writes.conftest import Register, Sql, said
from tests.writes.random_tables import (
    RandomTable,
    Row,
    random_rows,
    tables,
    tables_with_a_second_key,
    tables_with_deferred_constraints,
)

pytestmark = [pytest.mark.promise(2), pytest.mark.promise(3)]

Outcomes = dict[int, str]
"""For each item: completed, skipped, or the SQLSTATE that it failed for."""

WAYS = ["declared table", "upsert", "insert", "returning", "statement", "two writes", "all of them"]
SIZES = {7: 15, 60: 10, 600: 3}
"""How many items a batch has (one range, two ranges, twelve ranges), and how many such batches are compared."""
RELEASE_SIZES = {7: 100, 60: 60, 600: 12}
Place = tuple[int, int]
"""Of an item in the order of deliveries: its batch and its number."""


def _way_of(way: str, number: int) -> str:
    return WAYS[1 + number % 5] if way == "all of them" else way


class Alone:
    """Each item in a transaction of its own, in item order."""

    def __init__(self, dsn: str, table: RandomTable, way: str) -> None:
        self.table = table
        self.way = way
        self.may_update = True
        self.connection = psycopg2.connect(dsn)
        self.cursor = self.connection.cursor()

    def outcomes(self, rows: Sequence[Row]) -> Outcomes:
        found: Outcomes = {}
        waiting = list(enumerate(rows, 1))
        turns = 0
        while waiting:
            put_off = []
            for number, row in waiting:
                found[number], is_deferred = self._try(row, _way_of(self.way, number - 1))
                if is_deferred:
                    put_off.append((number, row))
            if len(put_off) == len(waiting) and turns > 0:
                break
            turns += 1
            waiting = put_off[::-1]  # to and fro
        return found

    def _try(self, row: Row, way: str) -> tuple[str, bool]:
        """What becomes of an item, and whether a deferred constraint alone was not met."""
        is_written = False
        try:
            outcome = self._write(row, way)
            is_written = True
            self.connection.commit()
        except psycopg2.Error as error:
            self.connection.rollback()
            return str(error.pgcode), is_written
        return outcome, False

    def in_places(
        self, rows: Mapping[Place, Row], writers: dict[Any, Place], *, leaves_newer: bool
    ) -> dict[Place, str]:
        """What becomes of rows that were delivered in these places.

        Args:
            writers: by key, the last place of those that have written the row so far; those of *rows* are added.
            leaves_newer: what a later one has written is left as it is.
        """
        found = {}
        for place, row in rows.items():
            key = tuple(row[name] for name in self.table.key)
            last = max(writers.get(key, place), place)
            self.may_update = not leaves_newer or last == place
            found[place], _ = self._try(row, self.way)
            if found[place] == "completed":
                writers[key] = last
        return found

    def _write(self, row: Row, way: str) -> str:
        text = statement(self.table, "alone", row, way, may_update=self.may_update)
        self.cursor.execute(text, list(row.values()))
        written = self.cursor.rowcount
        if not written and not self.may_update:
            return "skipped"
        if way == "two writes":
            self.cursor.execute("INSERT INTO alone.others VALUES (%s, %s)", [row["id"], row["n"]])
            return "completed"
        if way == "statement" or written or (way != "insert" and self.table.existing == "update"):
            return "completed"
        return "skipped"


def statement(table: RandomTable, schema: str, row: Row, way: str, *, may_update: bool = True) -> composed.Composed:
    """The INSERT of one row, as a person would write it."""
    names = [composed.Identifier(name) for name in row]
    parts: list[composed.Composable] = [
        composed.SQL("INSERT INTO {}.target AS it ({}) VALUES ({})").format(
            composed.Identifier(schema), composed.SQL(", ").join(names), composed.SQL(", ").join(_placeholders(row))
        )
    ]
    if way != "insert":
        changed = [composed.Identifier(name) for name in row if name not in table.key]
        parts.append(
            composed.SQL(" ON CONFLICT ({}) DO UPDATE SET {}").format(
                composed.SQL(", ").join(map(composed.Identifier, table.key)),
                composed.SQL(", ").join(composed.SQL("{0} = EXCLUDED.{0}").format(name) for name in changed),
            )
        )
        if not may_update:
            parts.append(composed.SQL(" WHERE false"))
        elif table.existing == "update" and way != "statement":
            parts.append(
                composed.SQL(" WHERE ({}) IS DISTINCT FROM ({})").format(
                    composed.SQL(", ").join(composed.SQL("it.{}").format(name) for name in changed),
                    composed.SQL(", ").join(composed.SQL("EXCLUDED.{}").format(name) for name in changed),
                )
            )
    return composed.Composed(parts)


def _placeholders(row: Row) -> list[composed.Placeholder]:
    return [composed.Placeholder()] * len(row)


def processor_for(table: RandomTable, way: str) -> type[BaseProcessor]:
    """Writes its items in the way that is named."""
    if way == "declared table":
        fields: Any = dict.fromkeys((*table.key, *table.fields), (Any, None))
        return type(
            "RandomProcessor",
            (TableProcessor,),
            {
                "table": "made.target",
                "key": table.key,
                "existing": table.existing,
                "natural_key": (),  # what a file itself replaces is skipped otherwise, and tested elsewhere
                "model": pydantic.create_model("Row", **fields),
            },
        )

    class RandomProcessor(BaseProcessor):
        def process_item(self, item: ImportBatchItem, ctx: ImportContext) -> None:
            row = item.source_data
            options: Any = {} if table.existing == "update" else {"existing": table.existing}
            match _way_of(way, item.item_number - 1):
                case "upsert":
                    ctx.upsert("made.target", row, key=table.key, **options)
                case "insert":
                    ctx.insert("made.target", row)
                case "returning":
                    ctx.upsert("made.target", row, key=table.key, returning="id", **options)
                case "statement":
                    ctx.execute(statement(table, "made", row, "statement"), list(row.values()))
                case "two writes":
                    ctx.upsert("made.target", row, key=table.key, **options)
                    ctx.insert("made.others", {"id": row["id"], "n": row["n"]})

    return RandomProcessor


Import = Callable[[RandomTable, str, Sequence[Row]], Outcomes]


class Compare(Protocol):
    def __call__(self, table: RandomTable, way: str, rows: Sequence[Row], *, alike: Collection[str] = ()) -> None:
        """
        Args:
            alike: SQLSTATEs of which one is as good as the other, for rows that break several constraints.
        """


@pytest.fixture
def outcomes(
    manager: BatchManager, register: Register, sql: Sql
) -> Callable[[RandomTable, str, Sequence[Row]], Outcomes]:
    """Imports the rows as one batch, and tells what became of each."""

    def run(table: RandomTable, way: str, rows: Sequence[Row]) -> Outcomes:
        sql(table.created("made"))
        register(processor_for(table, way))
        batch_id = manager.create_batch("random", rows)
        summary = manager.process_batch(batch_id)
        assert summary.open_items == 0, summary.pause_reason
        final = sql(
            "SELECT item_number, CASE outcome WHEN 'failed' THEN sqlstate ELSE outcome::text END "
            "FROM reliable_imports.import_attempts WHERE batch_id = %s AND is_final",
            batch_id,
        )
        return dict(final)

    return run


@pytest.fixture
def compare(outcomes: Import, sql: Sql, database: str) -> Iterator[Compare]:
    def run(table: RandomTable, way: str, rows: Sequence[Row], *, alike: Collection[str] = ()) -> None:
        note(table.created("made").replace("; ", ";\n"))
        if len(rows) < 100:
            note("\n".join(map(str, rows)))
        together = outcomes(table, way, rows)
        sql(table.created("alone"))
        alone = Alone(database, table, way)
        with closing(alone.connection):
            differences = _differences(together, alone.outcomes(rows))
        assert {each: ends for each, ends in differences.items() if not set(alike).issuperset(ends)} == {}
        for name in ("target", "ledger", "totals", "others"):
            assert _rows(sql, f"made.{name}") == _rows(sql, f"alone.{name}"), name

    yield run
    sql("DROP SCHEMA IF EXISTS made CASCADE; DROP SCHEMA IF EXISTS alone CASCADE")


def _differences(together: Outcomes, alone: Outcomes) -> dict[int, tuple[str | None, str | None]]:
    """For each item that has ended otherwise: how it has ended in the batch, and how alone."""
    numbers = sorted({*together, *alone})
    return {
        number: (together.get(number), alone.get(number))
        for number in numbers
        if together.get(number) != alone.get(number)
    }


def _rows(sql: Sql, table: str) -> list[tuple[str]]:
    """All that is in a table but for its serial numbers."""
    return sql(f"SELECT (to_jsonb(it) - 'serial')::text FROM {table} AS it ORDER BY 1")


@pytest.fixture
def examples(pytestconfig: pytest.Config) -> Callable[[int], settings]:
    """How many random batches of a size are compared."""
    numbers = RELEASE_SIZES if pytestconfig.getoption("--writes-release") else SIZES

    def of(size: int) -> settings:
        # A large batch is not made smaller when it fails: that would take minutes.
        phases = set(Phase) - {Phase.explain} - ({Phase.shrink} if size == max(SIZES) else set())
        return settings(max_examples=numbers[size], phases=tuple(phases), suppress_health_check=list(HealthCheck))

    return of


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("way", WAYS)
def test_random_items_end_as_they_would_alone(
    compare: Compare, examples: Callable[[int], settings], way: str, size: int
) -> None:
    @examples(size)
    @given(table=tables(), seed=st.integers(0, 2**32))
    def same(table: RandomTable, seed: int) -> None:
        compare(table, way, random_rows(table, size, seed))

    same()


@pytest.mark.parametrize("way", ["declared table", "upsert", "insert"])
def test_random_items_in_each_others_way_end_as_they_would_alone(
    compare: Compare, examples: Callable[[int], settings], way: str
) -> None:
    @examples(60)
    @given(
        table=tables_with_a_second_key(),
        seed=st.integers(0, 2**32),
        share=st.sampled_from([0.01, 0.05, 0.2]),
        most=st.sampled_from([20, 700]),
    )
    def same(table: RandomTable, seed: int, share: float, most: int) -> None:
        rows = random_rows(table, 600, seed, unique=way != "insert" or share < 0.1)
        random = Random(seed)
        for number, row in enumerate(rows):
            row.update(dict.fromkeys(set(table.fields) - set(row)))  # rows with other columns would be of another kind
            row["code"] = random.randint(1, most) if random.random() < share else 1000 + number
        # What has stood in the way of a row may have moved on when the row is tried.
        compare(table, way, rows, alike=("23503", "23505", "23P01"))

    same()


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("way", ["declared table", "upsert", "statement"])
def test_items_whose_deferred_constraint_is_met_later_end_as_if_they_were_tried_again(
    compare: Compare, examples: Callable[[int], settings], way: str, size: int
) -> None:
    @examples(size)
    @given(table=tables_with_deferred_constraints(), seed=st.integers(0, 2**32))
    def same(table: RandomTable, seed: int) -> None:
        compare(table, way, random_rows(table, size, seed, unique=True))

    same()


@pytest.mark.parametrize("as_one", [False, True], ids=["", "as one statement"])
@pytest.mark.parametrize(("way", "size"), [("declared table", 60), ("upsert", 600)])
def test_repeated_items_end_as_single_inserts_that_leave_what_is_newer(
    manager: BatchManager,
    register: Register,
    examples: Callable[[int], settings],
    sql: Sql,
    database: str,
    way: str,
    size: int,
    as_one: bool,
) -> None:
    """Of a batch some fail, some are refused; a newer batch writes some of the same keys; some rows are deleted."""

    @examples(size)
    @given(table=tables(), seed=st.integers(0, 2**32))
    def same(table: RandomTable, seed: int) -> None:
        if as_one:
            parts = tuple(part for part in table.parts if part in ("a check", "a parent", "a default"))
            table = replace(table, triggers=(), parts=parts)
        note(table.created("made").replace("; ", ";\n"))
        old, new = [random_rows(table, size, each, unique=as_one) for each in (seed, seed + 1)]
        fails = {number for number in range(1, size + 1) if (number * 7 + seed) % 5 < 4}
        sql(table.created("made"))
        sql(table.created("alone"))
        processor = processor_for(table, way)
        is_ready = {"validate_item": lambda self, item, ctx: item.attempt > 1 or item.item_number not in fails}
        register(type("RandomProcessor", (processor,), is_ready), type("NewProcessor", (processor,), {}))
        delete = "DELETE FROM {}.target WHERE mod(id, 7) = 0"

        old_id = manager.create_batch("random", old)
        manager.process_batch(old_id)
        manager.process_batch(manager.create_batch("new", new))
        with suppress(psycopg2.Error):
            sql(delete.format("made"))
        again = manager.reprocess_batch(old_id)
        together = sql(
            "SELECT CASE outcome WHEN 'failed' THEN sqlstate ELSE outcome::text END "
            "FROM reliable_imports.import_attempts WHERE batch_id = %s AND is_final ORDER BY item_number",
            again.batch_id,
        )

        alone = Alone(database, table, way)
        with closing(alone.connection):
            writers: dict[Any, Place] = {}
            rows = {(1, number): row for number, row in enumerate(old, 1)}
            first = {place: row for place, row in rows.items() if place[1] not in fails}
            ended = alone.in_places(first, writers, leaves_newer=False)
            alone.in_places({(2, number): row for number, row in enumerate(new, 1)}, writers, leaves_newer=False)
            with suppress(psycopg2.Error):
                sql(delete.format("alone"))
            failed = {place: row for place, row in rows.items() if ended.get(place) not in ("completed", "skipped")}
            wanted = alone.in_places(failed, writers, leaves_newer=True)
        assert [outcome for (outcome,) in together] == list(wanted.values())
        for name in ("target", "ledger", "totals"):
            assert _rows(sql, f"made.{name}") == _rows(sql, f"alone.{name}"), name

    same()
    sql("DROP SCHEMA IF EXISTS made CASCADE; DROP SCHEMA IF EXISTS alone CASCADE")


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("deferred", [False, True], ids=["", "deferred"])
def test_one_bad_item_more_changes_the_outcome_of_no_other(
    outcomes: Import,
    examples: Callable[[int], settings],
    sql: Sql,
    deferred: bool,
    size: int,
) -> None:
    @examples(size)
    @given(
        table=tables_with_deferred_constraints() if deferred else tables(),
        seed=st.integers(0, 2**32),
        at=st.integers(0, size - 1),
    )
    def same(table: RandomTable, seed: int, at: int) -> None:
        rows = list(random_rows(table, size, seed, unique=deferred))
        bad = {**rows[at], "n": "no number"}
        found = []
        for batch in (rows, [*rows[:at], bad, *rows[at:]]):
            ended = outcomes(table, "declared table", batch)
            found.append((list(ended.items()), [_rows(sql, f"made.{name}") for name in ("target", "ledger", "totals")]))
        (without, rows_without), (with_it, rows_with) = found
        others = [(number - (number > at + 1), outcome) for number, outcome in sorted(with_it) if number != at + 1]
        assert dict(with_it)[at + 1] == "22P02"
        assert _differences(dict(others), dict(without)) == {}
        assert rows_with == rows_without

    same()


# Some of the same by hand: what went wrong once, and what chance would seldom find


def _batch(manager: BatchManager, register: Register, items: Sequence[Any], process: Callable[..., Any]) -> Any:
    processor = type("HandProcessor", (BaseProcessor,), {"process_item": lambda self, item, ctx: process(item, ctx)})
    register(processor)
    batch_id = manager.create_batch("hand", items)
    return manager.process_batch(batch_id)


@pytest.mark.parametrize("count", [7, 60, 600])
def test_a_trigger_for_each_row_sees_what_it_would_see_for_single_items(
    manager: BatchManager, register: Register, sql: Sql, count: int
) -> None:
    sql("CREATE TABLE ledger (n integer, amount integer); CREATE TABLE balances (n integer, balance bigint)")
    sql(
        "CREATE FUNCTION sum_up() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN INSERT INTO balances SELECT NEW.n, sum(amount) FROM ledger; RETURN NULL; END $$"
    )
    sql("CREATE TRIGGER summed AFTER INSERT ON ledger FOR EACH ROW EXECUTE FUNCTION sum_up()")

    _batch(
        manager, register, [{"n": n} for n in range(1, count + 1)],
        lambda item, ctx: ctx.insert("ledger", {"n": item.source_data["n"], "amount": 1}),
    )  # fmt: skip

    assert sql("SELECT n, balance FROM balances ORDER BY 1") == [(n, n) for n in range(1, count + 1)]


@pytest.mark.parametrize("transition", ["", "REFERENCING NEW TABLE AS rows_written"], ids=["plain", "with its rows"])
def test_a_trigger_for_each_statement_fires_for_each_item(
    manager: BatchManager, register: Register, sql: Sql, transition: str
) -> None:
    counted = "(SELECT count(*) FROM rows_written)" if transition else "1"
    sql("CREATE TABLE target (n integer); CREATE TABLE statements (rows bigint, total bigint)")
    sql(
        "CREATE FUNCTION note_rows() RETURNS trigger LANGUAGE plpgsql AS "
        f"$$ BEGIN INSERT INTO statements SELECT {counted}, count(*) FROM target; RETURN NULL; END $$"
    )
    sql(f"CREATE TRIGGER noted AFTER INSERT ON target {transition} FOR EACH STATEMENT EXECUTE FUNCTION note_rows()")

    _batch(manager, register, [{"n": n} for n in range(60)], lambda item, ctx: ctx.insert("target", item.source_data))

    assert sql("SELECT rows, total FROM statements ORDER BY 2") == [(1, n) for n in range(1, 61)]


@pytest.mark.parametrize("way", ["insert", "statement"])
@pytest.mark.parametrize("bad", [None, 1, 60, 119])
def test_a_row_whose_parent_comes_later_fails_with_and_without_a_bad_item(
    manager: BatchManager, register: Register, sql: Sql, way: str, bad: int | None
) -> None:
    sql("CREATE TABLE tree (n integer PRIMARY KEY, parent integer REFERENCES tree, ok boolean CHECK (ok))")
    items = [{"n": n, "parent": n + 1 if n % 2 else None, "ok": n != bad} for n in range(1, 121)]

    def write(item: ImportBatchItem, ctx: ImportContext) -> None:
        if way == "insert":
            ctx.insert("tree", item.source_data)
        else:
            ctx.execute("INSERT INTO tree VALUES (%(n)s, %(parent)s, %(ok)s)", item.source_data)

    _batch(manager, register, items, write)

    wanted = [(n,) for n in range(2, 121, 2) if n != bad]
    assert sql("SELECT n FROM tree ORDER BY 1") == wanted, "each odd one came before its parent"


def test_a_row_whose_parent_came_before_completes_wherever_the_borders_are(
    manager: BatchManager, register: Register, sql: Sql
) -> None:
    sql("CREATE TABLE tree (n integer PRIMARY KEY, parent integer REFERENCES tree)")
    items = [{"n": n, "parent": n - 1 or None} for n in range(1, 601)]

    summary = _batch(manager, register, items, lambda item, ctx: ctx.insert("tree", item.source_data))

    assert summary.completed_items == 600


class Member(pydantic.BaseModel):
    id: int
    boss: int | None = None


class StaffProcessor(TableProcessor):
    table = "staff"
    key = ("id",)
    model = Member


STAFF = """
CREATE TABLE staff (
    id    integer PRIMARY KEY CHECK (id <> 5),
    boss  integer REFERENCES staff DEFERRABLE INITIALLY DEFERRED
)
"""


def test_a_bad_row_beside_a_deferred_constraint_fails_alone(
    manager: BatchManager, register: Register, sql: Sql
) -> None:
    sql(STAFF)
    register(StaffProcessor)
    items = [{"id": n, "boss": n + 10} for n in range(1, 11)] + [{"id": n} for n in range(11, 21)]
    batch_id = manager.create_batch("staff", items)

    summary = manager.process_batch(batch_id)

    assert (summary.completed_items, summary.failed_items) == (19, 1)
    assert [item.item_number for item in manager.list_items(batch_id, status="failed")] == [5]
    assert sql("SELECT count(*) FROM staff") == [(19,)]


@pytest.mark.parametrize("bad", [[], [5], [5, 300]])
def test_references_over_many_ranges_are_met_when_the_batch_is_in(
    manager: BatchManager, register: Register, sql: Sql, bad: list[int]
) -> None:
    sql("CREATE TABLE staff (id integer PRIMARY KEY CHECK (id NOT IN (5, 300) OR boss IS NULL), "
        "boss integer REFERENCES staff DEFERRABLE INITIALLY DEFERRED)")  # fmt: skip
    register(StaffProcessor)
    # The first 300 wait for one another backwards, over all the ranges: 1 for 601, 2 for 602 and so on.
    items = [{"id": n, "boss": n + 600 if n not in (5, 300) or n in bad else None} for n in range(1, 601)]
    items += [{"id": n} for n in range(601, 1201)]

    summary = manager.process_batch(manager.create_batch("staff", items))

    assert (summary.completed_items, summary.failed_items) == (1200 - len(bad), len(bad))


def test_a_chain_of_deferred_references_is_followed_to_its_end(
    manager: BatchManager, register: Register, sql: Sql
) -> None:
    sql(STAFF)
    register(StaffProcessor)
    # Each waits for the next one, and nothing says that it takes no more than a few rounds.
    items = [{"id": n, "boss": n + 1 if n < 190 else None} for n in range(100, 191)]

    # More than are tried in one transaction.
    assert manager.process_batch(manager.create_batch("staff", items)).completed_items == 91


def test_a_deferred_reference_that_is_never_met_fails_for_it(
    manager: BatchManager, register: Register, sql: Sql
) -> None:
    sql(STAFF)
    register(StaffProcessor)
    batch_id = manager.create_batch("staff", [{"id": 1, "boss": 99}, {"id": 2, "boss": 1}, {"id": 3}])

    summary = manager.process_batch(batch_id)

    assert (summary.status, summary.completed_items) == (BatchStatus.COMPLETED_WITH_FAILURES, 1)
    failed = sql(
        "SELECT item_number, sqlstate, constraint_name, retryable FROM reliable_imports.import_attempts "
        "WHERE is_final AND outcome = 'failed' ORDER BY 1"
    )
    assert failed == [(1, "23503", "staff_boss_fkey", False), (2, "23503", "staff_boss_fkey", False)]


def test_an_item_that_waited_for_a_deferred_constraint_leaves_newer_data(
    manager: BatchManager, register: Register, sql: Sql
) -> None:
    sql("CREATE TABLE staff (id integer PRIMARY KEY, boss integer REFERENCES staff DEFERRABLE INITIALLY DEFERRED)")
    register(type("StaffProcessor", (StaffProcessor,), {"natural_key": ()}))
    batch_id = manager.create_batch("staff", [{"id": 1, "boss": 99}, {"id": 1, "boss": None}, {"id": 99}])

    summary = manager.process_batch(batch_id)

    assert (summary.completed_items, summary.skipped_items) == (2, 1)
    assert f"item 2 of batch {batch_id}" in said(manager, batch_id)[0]
    assert sql("SELECT id, boss FROM staff ORDER BY 1") == [(1, None), (99, None)]


def test_a_row_that_frees_a_value_comes_before_the_one_that_takes_it(
    manager: BatchManager, register: Register, sql: Sql
) -> None:
    sql("CREATE TABLE seats (id integer PRIMARY KEY, seat integer UNIQUE)")
    sql("INSERT INTO seats SELECT n, n FROM generate_series(1, 60) AS n")

    # Everybody moves up by one; the last one has moved away first.
    items = [{"id": n, "seat": n + 1} for n in range(60, 0, -1)]
    summary = _batch(manager, register, items, lambda item, ctx: ctx.upsert("seats", item.source_data, key="id"))
    assert summary.completed_items == 60

    # And down again in the wrong order: the first takes a seat that nobody has, each next one that of who has moved.
    items = [{"id": n, "seat": n} for n in range(60, 0, -1)]
    summary = _batch(manager, register, items, lambda item, ctx: ctx.upsert("seats", item.source_data, key="id"))
    assert (summary.completed_items, summary.failed_items) == (1, 59)
    assert sql("SELECT id FROM seats WHERE seat = id") == [(1,)]


def test_rows_that_are_numbered_by_a_sequence_are_numbered_in_item_order(
    manager: BatchManager, register: Register, sql: Sql
) -> None:
    sql("CREATE TABLE parts (number serial, id integer PRIMARY KEY)")
    sql("INSERT INTO parts (id) SELECT n FROM generate_series(1001, 1050) AS n")
    items = [{"id": n} for n in range(200)]

    _batch(manager, register, items, lambda item, ctx: ctx.upsert("parts", item.source_data, key="id"))

    assert sql("SELECT id FROM parts WHERE id < 1000 ORDER BY number") == [(n,) for n in range(200)]


def test_a_key_in_two_spellings_is_written_in_item_order(manager: BatchManager, register: Register, sql: Sql) -> None:
    sql("CREATE TABLE parts (number serial, code integer UNIQUE, title text, colour text)")
    sql("INSERT INTO parts (code, title) VALUES (7, 'first')")
    others = [{"code": str(n), "title": "other"} for n in range(100, 120)]

    # The last one changes nothing of the row as it stood when the batch began.
    items = [{"code": "007", "title": "second"}, {"code": "7", "title": "first"}, *others]
    _batch(manager, register, items, lambda item, ctx: ctx.upsert("parts", item.source_data, key="code"))
    assert sql("SELECT title FROM parts WHERE code = 7") == [("first",)]

    # And rows with other columns stand in a statement of their own.
    items = [*others, {"code": "7", "title": "third", "colour": "red"}, {"code": "007", "title": "fourth"}]
    _batch(manager, register, items, lambda item, ctx: ctx.upsert("parts", item.source_data, key="code"))
    assert sql("SELECT title, colour FROM parts WHERE code = 7") == [("fourth", "red")]


UNCHANGED: dict[str, tuple[str, Mapping[str, Any], str | None]] = {
    "a CHECK that came later": ("ALTER TABLE parts ADD CHECK (title <> 'old') NOT VALID", {}, "23514"),
    "a CHECK that others meet": ("ALTER TABLE parts ADD CHECK (title <> 'older')", {}, None),
    "a CHECK of whole rows": ("ALTER TABLE parts ADD CHECK (parts IS NULL) NOT VALID", {}, "23514"),
    "a CHECK of nothing": ("ALTER TABLE parts ADD CHECK (false) NOT VALID", {}, "23514"),
    "a CHECK of another column": ("ALTER TABLE parts ADD weight integer, ADD CHECK (weight <> 7); "
                                  "ALTER TABLE parts ALTER weight SET DEFAULT 7", {}, "23514"),
    "a column that must have a value": ("ALTER TABLE parts ADD weight integer; UPDATE parts SET weight = 1; "
                                        "ALTER TABLE parts ALTER weight SET NOT NULL", {}, "23502"),
    "a domain": ("CREATE DOMAIN words AS text; ALTER TABLE parts ALTER title TYPE words; "
                 "ALTER DOMAIN words ADD CHECK (VALUE <> 'old') NOT VALID", {}, "23514"),
    "a generated column": ("ALTER TABLE parts ADD weight integer; "
                           "ALTER TABLE parts ADD share integer GENERATED ALWAYS AS (1 / weight) STORED; "
                           "ALTER TABLE parts ALTER weight SET DEFAULT 0", {}, "22012"),
    "a partition's CHECK": ("ALTER TABLE parts_0 ADD CHECK (title <> 'old') NOT VALID", {}, "23514"),
    "a partition's column": ("ALTER TABLE parts ADD weight integer; UPDATE parts SET weight = 1; "
                             "ALTER TABLE parts_0 ALTER weight SET NOT NULL", {}, "23502"),
    "what is never updated": ("", {"made": "2"}, None),
    "no number, which is never updated": ("", {"made": "x"}, "22P02"),
    "no value, which is never updated": ("ALTER TABLE parts ALTER made SET NOT NULL", {"made": None}, "23502"),
    "too long, which is never updated": ("ALTER TABLE parts ALTER made TYPE varchar(1)", {"made": "22"}, "22001"),
}  # fmt: skip


@pytest.mark.parametrize("name", UNCHANGED)
def test_a_row_that_changes_nothing_is_refused_as_it_would_be_alone(
    manager: BatchManager, register: Register, sql: Sql, name: str
) -> None:
    """The server looks at what it would insert before it looks for a row that stands."""
    change, values, sqlstate = UNCHANGED[name]
    sql("CREATE TABLE whole (number serial, id integer PRIMARY KEY, title text, made integer) PARTITION BY RANGE (id)")
    sql("CREATE TABLE parts (LIKE whole INCLUDING ALL)")
    if "partition" in name:
        sql("DROP TABLE parts; ALTER TABLE whole RENAME TO parts; CREATE TABLE parts_0 PARTITION OF parts DEFAULT")
    sql(f"INSERT INTO parts (id, title, made) SELECT n, 'old', 1 FROM generate_series(1, 20) AS n; {change}")

    items = [{"id": n, "title": "old", **values} for n in range(1, 21)]
    summary = _batch(
        manager,
        register,
        items,
        lambda item, ctx: ctx.upsert("parts", item.source_data, key="id", never_updated=["made"]),
    )

    assert (summary.completed_items, summary.failed_items) == ((20, 0) if sqlstate is None else (0, 20))
    assert sql("SELECT DISTINCT sqlstate FROM reliable_imports.import_attempts") == [(sqlstate,)]
    if sqlstate is None:
        assert sql("SELECT last_value FROM whole_number_seq") == [(20,)]


@pytest.mark.parametrize(
    "constraint",
    [
        "UNIQUE (seat)",
        "EXCLUDE USING btree (seat WITH =)",
        "twice integer GENERATED ALWAYS AS (seat * 2) STORED UNIQUE",
    ],
)
def test_a_row_takes_no_value_that_a_later_row_with_other_columns_frees(
    manager: BatchManager, register: Register, sql: Sql, constraint: str
) -> None:
    sql(f"CREATE TABLE seats (id integer PRIMARY KEY, seat integer, title text, {constraint})")
    sql("INSERT INTO seats VALUES (3, 1)")
    items = [{"id": n, "seat": n, "title": "other"} for n in range(100, 120)]
    items += [{"id": 2, "seat": 1}, {"id": 3, "seat": 9, "title": "moves away"}]

    summary = _batch(manager, register, items, lambda item, ctx: ctx.upsert("seats", item.source_data, key="id"))

    assert (summary.completed_items, summary.failed_items) == (21, 1)
    assert sql("SELECT id, seat FROM seats WHERE id < 100") == [(3, 9)]
