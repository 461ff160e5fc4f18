"""The guard: what a repeated item writes never replaces what a later-delivered item has written since."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any, ClassVar

import psycopg2
import pydantic
import pytest
from psycopg2.extensions import AsIs

import reliable_imports
from reliable_imports import (
    BaseProcessor,
    BatchManager,
    BatchStatus,
    BatchSummary,
    ImportBatchItem,
    ImportContext,
    ReprocessRequest,
    TableProcessor,
    TransientError,
)
from tests.core.crashing_worker import worked_behind, worker_that_stops_at
from tests.core.doubles import NOTES, ImmediateProcessor, NotesProcessor, PlainProcessor
from tests.writes.conftest import Register, Sql, said

pytestmark = pytest.mark.promise(8)


class WritesProcessor(BaseProcessor):
    """Upserts the rows that its item lists, in their order; fails before the end while the item says so."""

    fixed: ClassVar[bool] = False
    retry_pause = timedelta(milliseconds=1)
    returned: ClassVar[list[Any]] = []

    def process_item(self, item: ImportBatchItem, ctx: ImportContext) -> dict[str, Any] | None:
        data = item.source_data
        if data.get("early") and not self.fixed:
            raise ValueError("not yet")
        for write in data["rows"]:
            self.returned.append(
                ctx.upsert(write["table"], write["row"], key=write["key"], returning=write.get("returning"))
            )
        if data.get("insert"):
            ctx.insert(data["insert"], {"item": item.item_number})
        if data.get("late") and not self.fixed:
            raise ValueError("not yet")
        if data.get("busy") and item.attempt == 1:
            raise TransientError("busy")
        return data.get("result")


class OtherProcessor(WritesProcessor):
    """Writes likewise, and has another name."""


@pytest.fixture(autouse=True)
def processors(register: Register, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(WritesProcessor, "fixed", False)
    monkeypatch.setattr(WritesProcessor, "returned", [])
    register(WritesProcessor, OtherProcessor)


def row(table: str, key: str, /, *, returning: str | None = None, **values: Any) -> dict[str, Any]:
    """One upsert of an item."""
    return {"table": table, "key": key.split(), "row": values, "returning": returning}


class OldAndNew:
    """A batch whose item failed, a newer one that went through, and the older one again."""

    def __init__(self, manager: BatchManager) -> None:
        self.manager = manager

    def __call__(
        self,
        old: dict[str, Any],
        *new: dict[str, Any],
        batch_type: str = "writes",
        newer_type: str = "writes",
        request: ReprocessRequest | None = None,
    ) -> BatchSummary:
        self.old_id = self.manager.create_batch(batch_type, [{"early": True, **old}])
        assert self.manager.process_batch(self.old_id).failed_items == 1
        self.new_id = self.manager.create_batch(newer_type, new)
        assert self.manager.process_batch(self.new_id).completed_items == len(new)
        WritesProcessor.fixed = True
        WritesProcessor.returned.clear()
        self.again = self.manager.reprocess_batch(self.old_id, request)
        return self.again

    @property
    def item(self) -> Any:
        """The older item when it was repeated."""
        (item,) = self.manager.list_items(self.again.batch_id)
        return item

    @property
    def log(self) -> list[str]:
        lines = self.manager.list_logs(self.again.batch_id)
        return [line.message for line in lines if line.item_number == 1]

    def names_the_newer(self, text: str | None, number: int = 1) -> bool:
        return f"item {number} of batch {self.new_id}" in (text or "")


@pytest.fixture
def old_and_new(manager: BatchManager) -> OldAndNew:
    return OldAndNew(manager)


def _one(write: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"rows": [write], **more}


# Which keys are equal

EQUAL = {
    "a number with zeros in front": ("integer", "007", "7"),
    "a number and a text": ("bigint", 7, "7"),
    "spaces around a number": ("integer", " 7 ", "7"),
    "citext": ("citext", "Ann@x.org", "ann@x.org"),
    "char(n)": ("char(5)", "ab", "ab   "),
    "the scale of a numeric": ("numeric", "1.0", "1.00"),
    "an exponent": ("numeric", "1e2", "100"),
    "a numeric that is rounded": ("numeric(5,1)", "1.04", "1.0"),
    "the case of a uuid": (
        "uuid", "5F0C2A52-8F5E-4A53-9D0E-0B7D4D7D9A01", "5f0c2a528f5e4a539d0e0b7d4d7d9a01",
    ),
    "one instant in two offsets": ("timestamptz", "2024-02-29T12:00:00+01:00", "2024-02-29T11:00:00Z"),
    "two ways to write a date": ("date", "2024-02-29", "29 Feb 2024"),
    "a zero with a sign": ("double precision", "-0", "0"),
    "an address": ("inet", "10.0.0.1/32", "10.0.0.1"),
    "the order of keys in jsonb": ("jsonb", {"a": 1, "b": 2}, {"b": 2, "a": 1}),
    "a boolean": ("boolean", "yes", True),
    "an interval": ("interval", "1 day", "24 hours"),
    "a domain": ("key_of_text", "Ann", "ann"),
    "an array": ("integer[]", "{1,02}", [1, 2]),
}  # fmt: skip

DIFFERENT = {
    "texts of digits": ("text", "007", "7"),
    "upper and lower case": ("text", "Ann", "ann"),
    "a space behind": ("varchar(5)", "ab", "ab "),
    "quotes and commas": ("text", '1", "2', "1, 2"),
    "the word null": ("text", "null", "NULL"),
    "two offsets of a local time": ("timestamp", "2024-02-29T12:00:00", "2024-02-29T11:00:00"),
}


@pytest.mark.parametrize("name", EQUAL)
def test_keys_that_are_one_to_the_index_are_one_to_the_guard(sql: Sql, old_and_new: OldAndNew, name: str) -> None:
    column, older, newer = EQUAL[name]
    sql("CREATE EXTENSION citext; CREATE DOMAIN key_of_text AS citext")
    sql(f"CREATE TABLE target (k {column} PRIMARY KEY, v text)")

    again = old_and_new(_one(row("target", "k", k=older, v="old")), _one(row("target", "k", k=newer, v="new")))

    assert sql("SELECT v FROM target") == [("new",)]
    assert (again.completed_items, again.skipped_items, again.failed_items) == (0, 1, 0)
    assert old_and_new.names_the_newer(old_and_new.item.skip_reason)


@pytest.mark.parametrize("name", DIFFERENT)
def test_keys_that_are_two_to_the_index_are_two_to_the_guard(sql: Sql, old_and_new: OldAndNew, name: str) -> None:
    column, older, newer = DIFFERENT[name]
    sql(f"CREATE TABLE target (k {column} PRIMARY KEY, v text)")

    again = old_and_new(_one(row("target", "k", k=older, v="old")), _one(row("target", "k", k=newer, v="new")))

    assert again.completed_items == 1
    assert sql("SELECT v FROM target ORDER BY v") == [("new",), ("old",)]


@pytest.mark.parametrize("key", ["{keys}", "{}", "%s", "%(logs)s", "' || {keys} || '"])
def test_a_text_that_looks_like_a_part_of_our_sql_is_only_a_text(
    sql: Sql, manager: BatchManager, old_and_new: OldAndNew, key: str
) -> None:
    sql("CREATE TABLE target (k text PRIMARY KEY, v text)")
    result = {"result": {"target_id": key}}

    again = old_and_new(
        {**_one(row("target", "k", k=key, v="old")), **result}, {**_one(row("target", "k", k=key, v="new")), **result}
    )

    assert again.skipped_items == 1
    assert sql("TABLE target") == [(key, "new")]
    (newer,) = manager.list_items(old_and_new.new_id)
    assert newer.result == {"target_id": key}


class ByMomentProcessor(WritesProcessor):
    """Its key is a local time, which the item writes in one of several ways, each as SQL of its own."""

    def process_item(self, item: ImportBatchItem, ctx: ImportContext) -> dict[str, Any] | None:
        data = item.source_data
        if data.get("early") and not self.fixed:
            raise ValueError("not yet")
        moment: Any = datetime(2024, 2, 29, 12, tzinfo=timezone(timedelta(hours=5)))
        if data["as_sql"]:
            moment = AsIs("timestamptz '2024-02-29 07:00+00'")
        table_row = {"k": moment, "v": data["v"]}
        self.returned.append(ctx.upsert("target", table_row, key="k", returning=data.get("returning")))
        return None


@pytest.mark.parametrize("returning", [None, "v"])
@pytest.mark.parametrize(("older", "newer"), [(False, False), (True, False), (False, True)])
def test_a_key_that_takes_sql_to_write_is_the_one_that_is_stored(
    sql: Sql, register: Register, old_and_new: OldAndNew, older: bool, newer: bool, returning: str | None
) -> None:
    sql("CREATE TABLE target (k timestamp PRIMARY KEY, v text)")
    register(ByMomentProcessor)

    again = old_and_new(
        {"as_sql": older, "v": "old", "returning": returning},
        {"as_sql": newer, "v": "new"},
        batch_type="by_moment",
        newer_type="by_moment",
    )

    assert sql("SELECT v FROM target") == [("new",)]
    assert again.skipped_items == 1
    assert WritesProcessor.returned == ["new" if returning else None]


def test_a_key_of_an_expression_that_has_a_value_for_null_is_guarded(sql: Sql, old_and_new: OldAndNew) -> None:
    sql("CREATE TABLE target (k text, part text, v text)")
    sql("CREATE UNIQUE INDEX ON target (k, (coalesce(part, '')))")

    again = old_and_new(
        _one(row("target", "k part", k="a", part=None, v="old")),
        _one(row("target", "k part", k="a", part=None, v="new")),
    )

    assert sql("SELECT v FROM target") == [("new",)]
    assert again.skipped_items == 1


def test_keys_of_a_collation_that_ignores_case_are_one(sql: Sql, old_and_new: OldAndNew) -> None:
    try:
        sql("CREATE COLLATION loose (provider = icu, locale = 'und-u-ks-level2', deterministic = false)")
    except psycopg2.errors.FeatureNotSupported:
        pytest.skip("this server is built without ICU")
    sql("CREATE TABLE target (k text COLLATE loose PRIMARY KEY, v text)")

    old_and_new(_one(row("target", "k", k="Ann", v="old")), _one(row("target", "k", k="ann", v="new")))

    assert sql("SELECT v FROM target") == [("new",)]


class Account(pydantic.BaseModel):
    email: str
    name: str
    ref: int


class AccountsProcessor(TableProcessor):
    table = "accounts"
    key = ("email",)
    model = Account


ACCOUNTS = {
    "an index over an expression": "CREATE UNIQUE INDEX ON accounts (lower(email))",
    "an index over an expression for some rows": "CREATE UNIQUE INDEX ON accounts (lower(email)) WHERE name <> ''",
    "a trigger that changes the key": """
        CREATE UNIQUE INDEX ON accounts (email);
        CREATE FUNCTION lower_email() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN NEW.email := lower(NEW.email); RETURN NEW; END $$;
        CREATE TRIGGER lowered BEFORE INSERT OR UPDATE ON accounts FOR EACH ROW EXECUTE FUNCTION lower_email()
    """,
}


@pytest.mark.parametrize("how", ACCOUNTS)
@pytest.mark.parametrize("count", [1, 60], ids=["alone", "in bulk"])
def test_a_key_is_what_the_table_makes_of_it(
    manager: BatchManager, register: Register, sql: Sql, how: str, count: int
) -> None:
    sql("CREATE TABLE refs (id integer PRIMARY KEY); INSERT INTO refs VALUES (1)")
    sql("CREATE TABLE accounts (email text, name text, ref integer REFERENCES refs)")
    sql(ACCOUNTS[how])
    register(AccountsProcessor)
    old = [{"email": f"Ann{number}@x.org", "name": "old", "ref": 99} for number in range(count)]
    new = [{"email": f"aNN{number}@X.org", "name": "new", "ref": 1} for number in range(count)]
    batch_id = manager.create_batch("accounts", old)
    assert manager.process_batch(batch_id).failed_items == count
    assert manager.process_batch(manager.create_batch("accounts", new)).completed_items == count
    sql("INSERT INTO refs VALUES (99)")

    again = manager.reprocess_batch(batch_id)

    assert (again.skipped_items, again.failed_items) == (count, 0)
    assert sql("SELECT name, count(*) FROM accounts GROUP BY 1") == [("new", count)]


def test_a_key_of_two_columns_is_compared_column_by_column(sql: Sql, old_and_new: OldAndNew) -> None:
    sql("CREATE TABLE target (a text, b text, v text, PRIMARY KEY (a, b))")
    write = row("target", "a b", a="1, 2", b="3", v="old")

    old_and_new(_one(write), _one(row("target", "a b", a="1", b="2, 3", v="new")))

    assert sql("SELECT v FROM target ORDER BY 1") == [("new",), ("old",)]


def test_the_order_in_which_key_columns_are_named_does_not_matter(sql: Sql, old_and_new: OldAndNew) -> None:
    sql("CREATE TABLE target (a integer, b integer, v text, PRIMARY KEY (a, b))")

    old_and_new(
        _one(row("target", "a b", a=1, b=2, v="old")),
        _one(row("target", "b a", a=1, b=2, v="new")),
    )

    assert sql("SELECT v FROM target") == [("new",)]


def test_two_keys_of_one_table_are_two(sql: Sql, old_and_new: OldAndNew) -> None:
    sql("CREATE TABLE target (a integer UNIQUE, b integer UNIQUE, v text)")

    again = old_and_new(_one(row("target", "a", a=1, v="old")), _one(row("target", "b", b=1, v="new")))

    assert again.completed_items == 1
    assert sql("SELECT a, b, v FROM target ORDER BY v") == [(None, 1, "new"), (1, None, "old")]


def test_a_key_with_a_null_is_no_key(sql: Sql, old_and_new: OldAndNew) -> None:
    sql("CREATE TABLE target (k integer UNIQUE, v text)")

    again = old_and_new(_one(row("target", "k", k=None, v="old")), _one(row("target", "k", k=None, v="new")))

    assert again.completed_items == 1
    assert sql("SELECT v FROM target ORDER BY 1") == [("new",), ("old",)]


def test_a_null_is_a_key_where_the_index_takes_nulls_for_equal(sql: Sql, old_and_new: OldAndNew) -> None:
    if int(sql("SHOW server_version_num")[0][0]) < 150000:
        pytest.skip("NULLS NOT DISTINCT came with PostgreSQL 15")
    sql("CREATE TABLE target (k integer UNIQUE NULLS NOT DISTINCT, v text)")

    old_and_new(_one(row("target", "k", k=None, v="old")), _one(row("target", "k", k=None, v="new")))

    assert sql("SELECT v FROM target") == [("new",)]


def test_a_transient_error_and_a_null_in_the_key_lose_no_item(manager: BatchManager, sql: Sql) -> None:
    sql("CREATE TABLE target (k integer UNIQUE, v text)")
    items = [{"rows": [row("target", "k", k=None, v=str(number))], "busy": number == 1} for number in range(1, 6)]

    summary = manager.process_batch(manager.create_batch("writes", items))

    assert (summary.completed_items, summary.skipped_items) == (5, 0)
    assert sql("SELECT count(*) FROM target") == [(5,)]


# Which tables are one


def test_tables_of_two_schemas_are_two(sql: Sql, old_and_new: OldAndNew) -> None:
    sql("CREATE SCHEMA de; CREATE SCHEMA fr")
    sql("CREATE TABLE de.customers (id integer PRIMARY KEY, name text)")
    sql("CREATE TABLE fr.customers (id integer PRIMARY KEY, name text)")

    again = old_and_new(
        _one(row("de.customers", "id", id=1, name="Anna")), _one(row("fr.customers", "id", id=1, name="Anne"))
    )

    assert again.completed_items == 1
    assert sql("SELECT name FROM de.customers") == [("Anna",)]


@pytest.mark.parametrize("newer_is_qualified", [True, False], ids=["newer qualified", "older qualified"])
def test_a_table_is_one_however_it_is_named(sql: Sql, old_and_new: OldAndNew, newer_is_qualified: bool) -> None:
    sql("CREATE TABLE customers (id integer PRIMARY KEY, name text)")
    names = ["customers", "public.customers"]
    older, newer = names if newer_is_qualified else reversed(names)

    old_and_new(_one(row(older, "id", id=1, name="old")), _one(row(newer, "id", id=1, name="new")))

    assert sql("SELECT name FROM customers") == [("new",)]


def test_partitions_of_a_table_are_that_table(sql: Sql, old_and_new: OldAndNew) -> None:
    sql("CREATE TABLE customers (id integer PRIMARY KEY, name text) PARTITION BY RANGE (id)")
    sql("CREATE TABLE customers_1 PARTITION OF customers FOR VALUES FROM (0) TO (100)")

    old_and_new(_one(row("customers", "id", id=1, name="old")), _one(row("customers", "id", id=1, name="new")))

    assert sql("SELECT name FROM customers") == [("new",)]


# Who wrote it


def test_what_another_processor_wrote_is_newer_too(sql: Sql, old_and_new: OldAndNew) -> None:
    sql("CREATE TABLE prices (id integer PRIMARY KEY, price integer)")

    old_and_new(
        _one(row("prices", "id", id=7, price=100)), _one(row("prices", "id", id=7, price=250)), newer_type="other"
    )

    assert sql("SELECT price FROM prices") == [(250,)]
    assert old_and_new.names_the_newer(old_and_new.item.skip_reason)


class Price(pydantic.BaseModel):
    id: int
    price: int
    ref: int


class FullProcessor(TableProcessor):
    table = "prices"
    key = ("id",)
    model = Price


class DeltaProcessor(FullProcessor):
    pass


def test_two_feeds_of_one_table_do_not_overwrite_each_other(
    manager: BatchManager, register: Register, sql: Sql
) -> None:
    sql("CREATE TABLE refs (id integer PRIMARY KEY); INSERT INTO refs VALUES (1)")
    sql("CREATE TABLE prices (id integer PRIMARY KEY, price integer, ref integer REFERENCES refs)")
    register(FullProcessor, DeltaProcessor)
    full = manager.create_batch("full", [{"id": number, "price": 100, "ref": 99} for number in range(100)])
    assert manager.process_batch(full).failed_items == 100
    manager.process_batch(
        manager.create_batch("delta", [{"id": number, "price": 250, "ref": 1} for number in range(50)])
    )
    sql("INSERT INTO refs VALUES (99)")

    again = manager.reprocess_batch(full)

    assert (again.completed_items, again.skipped_items) == (50, 50)
    assert sql("SELECT price, count(*) FROM prices GROUP BY 1 ORDER BY 1") == [(100, 50), (250, 50)]


def test_an_upsert_and_a_declared_table_see_each_other(manager: BatchManager, register: Register, sql: Sql) -> None:
    sql("CREATE TABLE refs (id integer PRIMARY KEY); INSERT INTO refs VALUES (1)")
    sql("CREATE TABLE prices (id integer PRIMARY KEY, price integer, ref integer REFERENCES refs)")
    register(FullProcessor)
    full = manager.create_batch("full", [{"id": 7, "price": 100, "ref": 99}])
    manager.process_batch(full)
    for returning in (None, "id"):
        write = row("public.prices", "id", id="007", price=250, ref=1, returning=returning)
        manager.process_batch(manager.create_batch("writes", [_one(write)]))
    sql("INSERT INTO refs VALUES (99)")

    assert manager.reprocess_batch(full).skipped_items == 1

    assert sql("SELECT price FROM prices") == [(250,)]


def test_an_item_that_wrote_before_is_no_newer_one(manager: BatchManager, sql: Sql) -> None:
    sql("CREATE TABLE target (k integer PRIMARY KEY, v text)")
    items = [_one(row("target", "k", k=1, v="first")), _one(row("target", "k", k=1, v="second"), early=True)]
    batch_id = manager.create_batch("writes", items)
    manager.process_batch(batch_id)
    WritesProcessor.fixed = True

    assert manager.reprocess_batch(batch_id).completed_items == 1

    assert sql("SELECT v FROM target") == [("second",)]


def test_an_older_item_that_was_repeated_later_is_no_newer_one(manager: BatchManager, sql: Sql) -> None:
    """Newer is who was delivered later, not who wrote last."""
    sql("CREATE TABLE target (k integer PRIMARY KEY, v text)")
    batches = [
        manager.create_batch("writes", [_one(row("target", "k", k=1, v=text), early=True)]) for text in ("a", "b")
    ]
    for batch_id in batches:
        manager.process_batch(batch_id)
    WritesProcessor.fixed = True

    assert manager.reprocess_batch(batches[0]).completed_items == 1
    assert manager.reprocess_batch(batches[1]).completed_items == 1

    assert sql("SELECT v FROM target") == [("b",)]


def test_a_newer_item_that_was_repeated_itself_is_newer_still(manager: BatchManager, sql: Sql) -> None:
    sql("CREATE TABLE target (k integer PRIMARY KEY, v text)")
    batches = [
        manager.create_batch("writes", [_one(row("target", "k", k=1, v=text), early=True)]) for text in ("a", "b")
    ]
    for batch_id in batches:
        manager.process_batch(batch_id)
    WritesProcessor.fixed = True

    assert manager.reprocess_batch(batches[1]).completed_items == 1
    assert manager.reprocess_batch(batches[0]).skipped_items == 1

    assert sql("SELECT v FROM target") == [("b",)]


def test_a_newer_item_that_failed_has_written_nothing(manager: BatchManager, sql: Sql) -> None:
    sql("CREATE TABLE target (k integer PRIMARY KEY, v text)")
    old = manager.create_batch("writes", [_one(row("target", "k", k=1, v="old"), early=True)])
    manager.process_batch(old)
    newer = {"rows": [row("target", "k", k=1, v="new", returning="v")], "insert": "nowhere"}
    assert manager.process_batch(manager.create_batch("other", [newer])).completed_items == 0
    WritesProcessor.fixed = True

    assert manager.reprocess_batch(old).completed_items == 1

    assert sql("SELECT v FROM target") == [("old",)]


def test_a_repeat_of_completed_items_leaves_what_is_newer(manager: BatchManager, sql: Sql) -> None:
    sql("CREATE TABLE target (k integer PRIMARY KEY, v text)")
    old = manager.create_batch("writes", [_one(row("target", "k", k=number, v="old")) for number in range(100)])
    manager.process_batch(old)
    newer = [_one(row("target", "k", k=number, v="new")) for number in range(0, 100, 2)]
    manager.process_batch(manager.create_batch("writes", newer))

    again = manager.reprocess_batch(old, failed_items_only=False)

    assert (again.completed_items, again.skipped_items) == (50, 50)
    assert sql("SELECT v, count(*) FROM target GROUP BY 1 ORDER BY 1") == [("new", 50), ("old", 50)]


def test_a_newer_item_that_left_the_row_as_it_was_is_newer_too(sql: Sql, old_and_new: OldAndNew) -> None:
    """What it delivered was there already; it has confirmed it all the same."""
    sql("CREATE TABLE target (k integer PRIMARY KEY, v text)")
    sql("INSERT INTO target VALUES (1, 'new')")

    old_and_new(_one(row("target", "k", k=1, v="old")), _one(row("target", "k", k=1, v="new")))

    assert sql("SELECT v FROM target") == [("new",)]


# Rows are guarded, not items


def test_an_item_completes_without_the_row_that_is_newer(sql: Sql, old_and_new: OldAndNew) -> None:
    sql("CREATE TABLE companies (name text PRIMARY KEY, city text)")
    sql("CREATE TABLE contacts (id integer PRIMARY KEY, name text)")
    company = row("companies", "name", name="ACME", city="Old Town")
    old = {"rows": [company, row("contacts", "id", id=1, name="Ann")], "result": {"target_id": 1}}

    again = old_and_new(old, _one(row("companies", "name", name="ACME", city="New Town")))

    assert again.status is BatchStatus.COMPLETED
    assert sql("SELECT city FROM companies") == [("New Town",)]
    assert sql("SELECT name FROM contacts") == [("Ann",)]
    assert (old_and_new.item.result or {})["target_id"] == 1
    assert "companies" in json.dumps(old_and_new.item.result)
    (line,) = old_and_new.log
    assert "companies" in line
    assert old_and_new.names_the_newer(line)


@pytest.mark.parametrize("newer", [0, 1, 2], ids=["the first", "the second", "the last"])
@pytest.mark.parametrize("returning", [None, "k"], ids=["declared", "returning"])
def test_every_upsert_of_an_item_is_guarded(
    sql: Sql, old_and_new: OldAndNew, newer: int, returning: str | None
) -> None:
    sql("CREATE TABLE target (k integer PRIMARY KEY, v text)")
    rows = [row("target", "k", k=number, v="old", returning=returning) for number in range(3)]

    again = old_and_new({"rows": rows}, _one(row("target", "k", k=newer, v="new")))

    assert again.completed_items == 1
    assert sql("SELECT k, v FROM target ORDER BY 1") == [(k, "new" if k == newer else "old") for k in range(3)]


@pytest.mark.parametrize("written", [0, 1, 2], ids=["the first", "the second", "the last"])
def test_every_upsert_of_a_newer_item_guards_its_row(sql: Sql, old_and_new: OldAndNew, written: int) -> None:
    sql("CREATE TABLE target (k integer PRIMARY KEY, v text)")
    rows = [row("target", "k", k=number, v="new") for number in range(3)]

    old_and_new(_one(row("target", "k", k=written, v="old")), {"rows": rows})

    assert sql("SELECT v, count(*) FROM target GROUP BY 1") == [("new", 3)]


@pytest.mark.parametrize("many", [1, 60], ids=["alone", "in bulk"])
def test_what_is_returned_is_what_stands_there(manager: BatchManager, sql: Sql, many: int) -> None:
    sql("CREATE TABLE companies (id serial PRIMARY KEY, name text UNIQUE, city text)")
    write = row("companies", "name", name="ACME", city="Old Town", returning="city")
    old = manager.create_batch("writes", [{"rows": [write], "early": True, "insert": "contacts"}] * many)
    sql("CREATE TABLE contacts (item integer)")
    manager.process_batch(old)
    manager.process_batch(
        manager.create_batch("writes", [_one(row("companies", "name", name="ACME", city="New Town"))])
    )
    WritesProcessor.fixed = True
    WritesProcessor.returned.clear()

    again = manager.reprocess_batch(old)

    assert again.completed_items == many
    assert set(WritesProcessor.returned) == {"New Town"}
    assert sql("SELECT count(*) FROM contacts") == [(many,)]


def test_what_is_returned_of_a_generated_column_is_what_stands_there(sql: Sql, old_and_new: OldAndNew) -> None:
    sql("CREATE TABLE companies (id integer GENERATED ALWAYS AS IDENTITY (START 40), name text UNIQUE, city text)")
    sql("CREATE TABLE contacts (item integer)")
    write = row("companies", "name", name="ACME", city="Old Town", returning="id")

    old_and_new({"rows": [write], "insert": "contacts"}, _one(row("companies", "name", name="ACME", city="New")))

    assert WritesProcessor.returned == [40]
    assert sql("SELECT id, city FROM companies") == [(40, "New")]


def test_an_item_of_which_nothing_was_written_is_skipped_and_names_the_newer(sql: Sql, old_and_new: OldAndNew) -> None:
    sql("CREATE TABLE target (k integer PRIMARY KEY, v text)")
    rows = [row("target", "k", k=number, v="old") for number in range(3)]

    again = old_and_new({"rows": rows}, *[_one(row("target", "k", k=number, v="new")) for number in range(3)])

    assert (again.skipped_items, again.failed_items) == (1, 0)
    assert any(old_and_new.names_the_newer(old_and_new.item.skip_reason, number) for number in (1, 2, 3))
    assert sql("SELECT v, count(*) FROM target GROUP BY 1") == [("new", 3)]


def test_an_item_that_also_inserts_is_not_skipped(sql: Sql, old_and_new: OldAndNew) -> None:
    sql("CREATE TABLE target (k integer PRIMARY KEY, v text); CREATE TABLE inserted (item integer)")

    again = old_and_new(
        {"rows": [row("target", "k", k=1, v="old")], "insert": "inserted"}, _one(row("target", "k", k=1, v="new"))
    )

    assert again.completed_items == 1
    assert sql("SELECT v, item FROM target, inserted") == [("new", 1)]


def test_no_item_fails_for_newer_data() -> None:
    assert not hasattr(reliable_imports, "NewerData")


def test_newer_data_is_overwritten_on_request(sql: Sql, old_and_new: OldAndNew) -> None:
    sql("CREATE TABLE target (k integer PRIMARY KEY, v text)")
    rows = [row("target", "k", k=number, v="old", returning="v" if number else None) for number in range(2)]

    again = old_and_new(
        {"rows": rows},
        *[_one(row("target", "k", k=number, v="new")) for number in range(2)],
        request=ReprocessRequest(overwrite_newer=True),
    )

    assert again.completed_items == 1
    assert sql("SELECT v, count(*) FROM target GROUP BY 1") == [("old", 2)]


def test_many_old_failures_go_in_but_for_what_is_newer(manager: BatchManager, sql: Sql) -> None:
    sql("CREATE TABLE target (k integer PRIMARY KEY, v text)")
    old = [_one(row("target", "k", k=number, v="old"), early=True) for number in range(600)]
    batch_id = manager.create_batch("writes", old)
    manager.process_batch(batch_id)
    newer = [_one(row("target", "k", k=f"0{number}", v="new")) for number in range(0, 600, 7)]
    manager.process_batch(manager.create_batch("other", newer))
    WritesProcessor.fixed = True

    again = manager.reprocess_batch(batch_id)

    assert (again.completed_items, again.skipped_items, again.failed_items) == (600 - len(newer), len(newer), 0)
    assert sql("SELECT count(*) FROM target WHERE (k % 7 = 0) = (v = 'new')") == [(600,)]


def test_columns_may_have_the_names_that_our_sql_uses(manager: BatchManager, sql: Sql) -> None:
    sql(
        "CREATE TABLE target (item_number integer, row_key text, place integer, row_number integer, block integer, "
        "origin_batches integer, places text, known text, PRIMARY KEY (item_number, row_key))"
    )
    names = ("place", "row_number", "block", "origin_batches", "places", "known")
    rows = [
        row("target", "item_number row_key", item_number=number, row_key="x", **dict.fromkeys(names, 1))
        for number in range(120)
    ]
    old = manager.create_batch("writes", [_one(each, early=True) for each in rows])
    manager.process_batch(old)
    newer = [_one({**each, "row": {**each["row"], "known": 2}}) for each in rows[::3]]
    manager.process_batch(manager.create_batch("writes", newer))
    WritesProcessor.fixed = True

    again = manager.reprocess_batch(old)

    assert (again.completed_items, again.skipped_items, again.failed_items) == (80, 40, 0)
    assert sql("SELECT known, count(*) FROM target GROUP BY 1 ORDER BY 1") == [("1", 80), ("2", 40)]


def test_two_rows_of_one_item_with_one_key_are_written_in_their_order(manager: BatchManager, sql: Sql) -> None:
    sql("CREATE TABLE target (k integer PRIMARY KEY, v text)")
    rows = [row("target", "k", k=1, v=text) for text in ("a", "b", "c")]
    batch_id = manager.create_batch("writes", [{"rows": rows, "early": True}])
    manager.process_batch(batch_id)
    WritesProcessor.fixed = True

    assert manager.reprocess_batch(batch_id).completed_items == 1

    assert sql("SELECT v FROM target") == [("c",)]


# Tries within a run


class ContactsProcessor(BaseProcessor):
    """A company and a contact for each item; companies are shared."""

    retry_pause = timedelta(milliseconds=1)
    breaker_after = None
    transient: ClassVar[Callable[[int], bool]] = staticmethod(lambda number: False)

    def process_item(self, item: ImportBatchItem, ctx: ImportContext) -> None:
        data = item.source_data
        company = ctx.upsert("companies", {"name": data["company"]}, key="name", returning="id")
        if item.attempt == 1 and type(self).transient(data["n"]):
            raise TransientError("busy")
        ctx.insert("contacts", {"n": data["n"], "company": company, "country": data["country"]})


@pytest.fixture
def contacts(register: Register, sql: Sql, monkeypatch: pytest.MonkeyPatch) -> None:
    sql("CREATE TABLE companies (id serial PRIMARY KEY, name text UNIQUE)")
    sql("CREATE TABLE countries (code text PRIMARY KEY); INSERT INTO countries VALUES ('DE')")
    sql(
        "CREATE TABLE contacts (n integer, company integer NOT NULL REFERENCES companies, "
        "country text REFERENCES countries)"
    )
    monkeypatch.setattr(ContactsProcessor, "transient", staticmethod(lambda number: False))
    register(ContactsProcessor)


def _contacts(count: int, missing_every: int = 20) -> list[dict[str, Any]]:
    return [
        {"n": n, "company": f"c{n % 10}", "country": "DE" if n % missing_every else "FR"} for n in range(1, count + 1)
    ]


@pytest.mark.parametrize("companies", [1, 2])
def test_items_that_share_a_row_and_are_all_tried_again_complete(
    manager: BatchManager, contacts: None, sql: Sql, monkeypatch: pytest.MonkeyPatch, companies: int
) -> None:
    monkeypatch.setattr(ContactsProcessor, "transient", staticmethod(lambda number: True))
    items = [{"n": n, "company": f"c{n % companies}", "country": "DE"} for n in range(10)]

    summary = manager.process_batch(manager.create_batch("contacts", items))

    assert (summary.completed_items, summary.failed_items, summary.skipped_items) == (10, 0, 0)
    assert sql("SELECT count(DISTINCT n) FROM contacts JOIN companies ON companies.id = company") == [(10,)]


def test_a_transient_error_of_some_of_many_items_that_share_rows_costs_none(
    manager: BatchManager, contacts: None, sql: Sql, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ContactsProcessor, "transient", staticmethod(lambda number: number % 20 == 0))

    summary = manager.process_batch(manager.create_batch("contacts", _contacts(200, missing_every=1000)))

    assert (summary.status, summary.completed_items) == (BatchStatus.COMPLETED, 200)
    assert sql("SELECT count(DISTINCT n) FROM contacts") == [(200,)]


def test_contacts_whose_cause_is_repaired_go_in_though_their_companies_are_newer(
    manager: BatchManager, contacts: None, sql: Sql
) -> None:
    batch_id = manager.create_batch("contacts", _contacts(200))
    first = manager.process_batch(batch_id)
    sql("INSERT INTO countries VALUES ('FR')")

    again = manager.reprocess_batch(batch_id)

    assert (first.completed_items, again.status, again.completed_items) == (190, BatchStatus.COMPLETED, 10)
    assert sql("SELECT count(DISTINCT n) FROM contacts JOIN companies ON companies.id = company") == [(200,)]


def test_an_item_that_is_tried_again_leaves_what_a_later_item_of_its_batch_wrote(
    manager: BatchManager, sql: Sql
) -> None:
    sql("CREATE TABLE target (k integer PRIMARY KEY, v text)")
    items = [_one(row("target", "k", k="007", v="old"), busy=True), _one(row("target", "k", k=7, v="new"))]
    batch_id = manager.create_batch("writes", items)

    summary = manager.process_batch(batch_id)

    assert (summary.completed_items, summary.skipped_items) == (1, 1)
    assert f"item 2 of batch {batch_id}" in said(manager, batch_id)[0]
    assert sql("SELECT v FROM target") == [("new",)]


def test_items_of_one_key_that_are_all_tried_again_leave_the_last_ones_row(manager: BatchManager, sql: Sql) -> None:
    sql("CREATE TABLE target (k integer PRIMARY KEY, v integer)")
    items = [_one(row("target", "k", k=1, v=number), busy=True) for number in range(10)]

    summary = manager.process_batch(manager.create_batch("writes", items))

    assert summary.failed_items == 0
    assert sql("SELECT v FROM target") == [(9,)]


# Statements of one's own


class StatementsProcessor(BaseProcessor):
    """Writes by a statement of its own."""

    fixed: ClassVar[bool] = False
    statement: ClassVar[str] = (
        "INSERT INTO target (k, v) VALUES (%(k)s, %(v)s) ON CONFLICT (k) DO UPDATE SET v = EXCLUDED.v"
    )

    def process_item(self, item: ImportBatchItem, ctx: ImportContext) -> None:
        data = item.source_data
        if data.get("early") and not type(self).fixed:
            raise ValueError("not yet")
        if "RETURNING" in self.statement or self.statement.startswith("WITH"):
            ctx.fetch_all(self.statement, data)
        else:
            ctx.execute(self.statement, data)
        if "own" in data:
            ctx.upsert("target", {"k": data["k"], "v": data["v"]}, key="k")


@pytest.fixture
def statements(register: Register, sql: Sql, monkeypatch: pytest.MonkeyPatch) -> type[StatementsProcessor]:
    class ThisProcessor(StatementsProcessor):
        batch_type = "statements"

    sql("CREATE TABLE target (k integer PRIMARY KEY, v text); CREATE TABLE ledger (v text)")
    register(ThisProcessor)
    return ThisProcessor


def _old_and_new_statements(manager: BatchManager, processor: Any, **more: Any) -> BatchSummary:
    old = manager.create_batch("statements", [{"k": 1, "v": "old", "early": True, **more}])
    manager.process_batch(old)
    manager.process_batch(manager.create_batch("statements", [{"k": 1, "v": "new", **more}]))
    processor.fixed = True
    return manager.reprocess_batch(old)


def test_statements_of_ones_own_are_not_guarded(
    manager: BatchManager, statements: type[StatementsProcessor], sql: Sql
) -> None:
    again = _old_and_new_statements(manager, statements)

    assert again.completed_items == 1
    assert sql("SELECT v FROM target") == [("old",)]


def test_statements_of_ones_own_are_guarded_by_a_declared_natural_key(
    manager: BatchManager, statements: type[StatementsProcessor], sql: Sql
) -> None:
    statements.natural_key = ("k",)

    again = _old_and_new_statements(manager, statements)

    assert again.skipped_items == 1
    assert sql("SELECT v FROM target") == [("new",)]


@pytest.mark.parametrize(
    "statement",
    [
        "WITH x AS (INSERT INTO ledger VALUES (%(v)s) RETURNING v) SELECT v FROM x",
        "WITH x AS (INSERT INTO ledger VALUES (%(v)s)) SELECT 1",
        "SELECT note(%(v)s) AS RETURNING_NOTHING",
        "INSERT INTO ledger VALUES (%(v)s) RETURNING v",
    ],
    ids=["WITH", "WITH and nothing of it", "a function", "RETURNING"],
)
def test_a_write_in_a_statement_that_reads_is_never_lost(
    manager: BatchManager, statements: type[StatementsProcessor], sql: Sql, statement: str
) -> None:
    """The item's only upsert is left out, but that was not all that the item wrote."""
    sql(
        "CREATE FUNCTION note(v text) RETURNS integer LANGUAGE plpgsql AS "
        "$$ BEGIN INSERT INTO ledger VALUES (v); RETURN 1; END $$"
    )
    statements.statement = statement

    again = _old_and_new_statements(manager, statements, own=True)

    assert (again.completed_items, again.failed_items) == (1, 0)
    assert sql("SELECT v FROM ledger ORDER BY 1") == [("new",), ("old",)]
    assert sql("SELECT v FROM target") == [("new",)]


# At the same moment


@pytest.fixture
def doubles(register: Register, sql: Sql, monkeypatch: pytest.MonkeyPatch) -> None:
    sql(NOTES)
    register(NotesProcessor, ImmediateProcessor)


def test_old_failures_that_go_together_leave_newer_data_that_is_being_written(
    manager: BatchManager, doubles: None, register: Register, database: str, sql: Sql
) -> None:
    register(PlainProcessor)
    sql("ALTER TABLE notes DROP COLUMN later")  # with its deferred constraint each row goes alone
    old = manager.create_batch("plain", [{"id": number, "text": "bad"} for number in range(1, 41)])
    assert manager.process_batch(old).failed_items == 40
    sql("ALTER TABLE notes DROP CONSTRAINT notes_text_not_bad")
    newer = manager.create_batch("immediate", [{"id": 7, "text": "new"}])
    with worker_that_stops_at(database, newer, 1) as child:
        summary = worked_behind(child, sql, lambda: manager.reprocess_batch(old))

    assert (summary.completed_items, summary.skipped_items) == (39, 1)
    assert sql("SELECT id FROM notes WHERE text <> 'bad'") == [(7,)]
    assert sql("SELECT count(*) FROM notes") == [(40,)]


@pytest.mark.parametrize("batch_type", ["immediate", "notes"], ids=["at once", "declared"])
def test_an_old_failure_leaves_newer_data_that_is_being_written(
    manager: BatchManager, doubles: None, database: str, sql: Sql, batch_type: str
) -> None:
    old = manager.create_batch(batch_type, [{"id": 1, "text": "bad"}])
    manager.process_batch(old)
    sql("ALTER TABLE notes DROP CONSTRAINT notes_text_not_bad")
    newer = manager.create_batch("immediate", [{"id": 1, "text": "new"}])
    with worker_that_stops_at(database, newer, 1) as child:
        summary = worked_behind(child, sql, lambda: manager.reprocess_batch(old))

    # It has more to write than the note.
    assert (summary.completed_items, summary.failed_items) == (1, 0)
    assert sql("SELECT text FROM notes") == [("new",)]
    assert sql("SELECT count(*) FROM writes") == [(2,)]


def test_newer_data_waits_for_an_old_failure_that_is_being_written(
    manager: BatchManager, doubles: None, database: str, sql: Sql
) -> None:
    old = manager.create_batch("immediate", [{"id": 1, "text": "bad"}])
    manager.process_batch(old)
    sql("ALTER TABLE notes DROP CONSTRAINT notes_text_not_bad")
    again = manager.create_reprocess_batch(old)
    assert again is not None
    newer = manager.create_batch("notes", [{"id": 1, "text": "new"}])
    with worker_that_stops_at(database, again, 1) as child:
        summary = worked_behind(child, sql, lambda: manager.process_batch(newer))
        assert child.stdout.readline() == "finished\n"

    assert summary.completed_items == 1
    assert manager.get_summary(again).completed_items == 1
    assert sql("SELECT text FROM notes") == [("new",)]


def test_two_workers_that_meet_at_shared_rows_lose_none(manager: BatchManager, register: Register, sql: Sql) -> None:
    """An old failure and newer items are worked at once, over the same keys in other orders."""
    sql("CREATE TABLE target (k integer PRIMARY KEY, v text); CREATE TABLE inserted (item integer)")
    keys = list(range(200))
    old = [{"rows": [row("target", "k", k=key, v="old")], "early": True, "insert": "inserted"} for key in keys]
    batch_id = manager.create_batch("writes", old)
    manager.process_batch(batch_id)
    WritesProcessor.fixed = True
    again = manager.create_reprocess_batch(batch_id)
    assert again is not None
    newer = manager.create_batch("other", [_one(row("target", "k", k=key, v="new")) for key in reversed(keys)])
    threads = [threading.Thread(target=manager.process_batch, args=(each,)) for each in (again, newer)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)

    for each in (again, newer):
        summary = manager.process_batch(each)
        assert (summary.completed_items, summary.failed_items) == (200, 0), said(manager, each)[:3]
    assert sql("SELECT v, count(*) FROM target GROUP BY 1") == [("new", 200)]
    assert sql("SELECT count(*) FROM inserted") == [(200,)]


def test_a_view_and_its_table_guard_the_same_rows(manager: BatchManager, register: Register, sql: Sql) -> None:
    sql("CREATE TABLE things (a integer, b integer, name text, is_ok boolean CHECK (is_ok), PRIMARY KEY (b, a))")
    sql("CREATE VIEW seen AS SELECT name, a, b, is_ok FROM things")

    class SeenProcessor(BaseProcessor):
        def process_item(self, item: ImportBatchItem, ctx: ImportContext) -> None:
            ctx.upsert("seen", item.source_data, key=("a", "b"))

    class ThingsProcessor(BaseProcessor):
        def process_item(self, item: ImportBatchItem, ctx: ImportContext) -> None:
            ctx.upsert("things", item.source_data, key=("a", "b"))

    register(SeenProcessor)
    register(ThingsProcessor)
    old = manager.create_batch("seen", [{"a": 1, "b": 2, "name": "old", "is_ok": False}])
    manager.process_batch(old)
    manager.process_batch(manager.create_batch("things", [{"a": 1, "b": 2, "name": "new", "is_ok": True}]))
    sql("ALTER TABLE things DROP CONSTRAINT things_is_ok_check")

    assert manager.reprocess_batch(old).skipped_items == 1
    assert sql("SELECT name FROM things") == [("new",)]


def test_a_row_that_a_partial_index_is_not_over_guards_nothing(
    manager: BatchManager, register: Register, sql: Sql
) -> None:
    sql("CREATE TABLE users (email text, name text CHECK (name <> 'bad'), is_gone boolean NOT NULL)")
    sql("CREATE UNIQUE INDEX ON users (email) WHERE NOT is_gone")

    class UsersProcessor(BaseProcessor):
        def process_item(self, item: ImportBatchItem, ctx: ImportContext) -> None:
            ctx.upsert("users", item.source_data, key="email")

    register(UsersProcessor)
    old = manager.create_batch("users", [{"email": "a@x", "name": "bad", "is_gone": False}])
    manager.process_batch(old)
    manager.process_batch(manager.create_batch("users", [{"email": "a@x", "name": "past", "is_gone": True}]))
    sql("ALTER TABLE users DROP CONSTRAINT users_name_check")

    assert manager.reprocess_batch(old).completed_items == 1
    assert sql("SELECT name FROM users ORDER BY 1") == [("bad",), ("past",)]
