"""Somebody asks to be forgotten: no byte of the person stays in our tables, and everything still adds up."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping
from contextlib import closing
from typing import Any

import psycopg2
import psycopg2.errors
import pytest
from pydantic import BaseModel, field_validator

from reliable_imports import (
    BaseProcessor,
    BatchManager,
    ConfigurationError,
    ImportBatchItem,
    ImportContext,
    ItemsInUse,
    ReprocessRequest,
    TableProcessor,
    TransientError,
    WhichItems,
)
from tests.core.conftest import Sql

ANN = "ann.lee@example.com"
IBAN = "DE02120300000000202051"
NAME = "Ann Rosalind Lee"
PLANTED = (ANN, IBAN, NAME, "rosalind")

PEOPLE = """
CREATE TABLE people (
    email    text PRIMARY KEY,
    name     text,
    country  text,
    CONSTRAINT people_not_in_atlantis CHECK (country <> 'Atlantis')
);
CREATE FUNCTION refuse_by_name() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.country = 'Nowhere' THEN
        RAISE EXCEPTION 'customer % is known to live elsewhere', upper(NEW.email);
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER refuse_by_name BEFORE INSERT OR UPDATE ON people FOR EACH ROW EXECUTE FUNCTION refuse_by_name();
"""


class PeopleProcessor(BaseProcessor):
    """Tells more of an item than it should, wherever it can."""

    batch_type = "people"
    natural_key = ("email",)
    transient_errors = (TransientError,)
    max_tries = 1
    fixed = False

    def validate_item(self, item: ImportBatchItem, ctx: ImportContext) -> bool:
        if item.source_data.get("do") == "fail" and not self.fixed:
            ctx.log(f"looking at {item.source_data['name'].upper()}")
            ctx.log("looking at an account", backwards=item.source_data["iban"][::-1])
            raise ValueError(f"IBAN {item.source_data['iban'].lower()} of {item.source_data['name'].title()}")
        return True

    def process_item(self, item: ImportBatchItem, ctx: ImportContext) -> Mapping[str, Any] | None:
        data = item.source_data
        if data.get("do") == "later" and not self.fixed:
            raise TransientError(f"no answer about {data['iban']}")
        if data.get("do") == "skip":
            ctx.skip(f"{data['name']} is known")
        if data.get("do") == "blame":
            ctx.reject(f"the same household as {ANN.upper()}")
        ctx.upsert("people", {name: data.get(name) for name in ("email", "name", "country")}, key="email")
        return {"target_table": "people", "target_id": data["email"], "name": data["name"]}


def person(email: str = ANN, name: str = NAME, iban: str = IBAN, **more: object) -> dict[str, object]:
    return {"email": email, "name": name, "iban": iban, "country": "Germany", **more}


def somebody(number: int, **more: object) -> dict[str, object]:
    return person(f"p{number}@example.com", f"Person {number}", f"FR{number:020}", **more)


@pytest.fixture
def people(database: str, sql: Sql, monkeypatch: pytest.MonkeyPatch) -> Iterator[BatchManager]:
    monkeypatch.setattr(PeopleProcessor, "fixed", False)
    sql(PEOPLE)
    manager = BatchManager(database)
    manager.registry.register(PeopleProcessor)
    yield manager
    assert [found for found in manager.verify() if found.problems] == []
    assert sql("SELECT batch_id FROM reliable_imports.reconciliation WHERE NOT balanced") == []


def dump(database: str) -> str:
    """All that stands in the tables of the schema, as text; bytes as characters too."""
    with closing(psycopg2.connect(database)) as connection, connection.cursor() as cursor:
        cursor.execute(
            "SELECT c.oid::regclass::text FROM pg_class AS c "
            "WHERE relnamespace = 'reliable_imports'::regnamespace AND relkind = 'r'"
        )
        texts = []
        for (table,) in cursor.fetchall():
            for query in (table, f"(SELECT encode(source_raw, 'escape') FROM {table})"):
                if query != table and "import_items" not in table:
                    continue
                text = io.StringIO()
                cursor.copy_expert(f"COPY {query} TO STDOUT", text)
                texts.append(text.getvalue())
        return "\n".join(texts)


def traces(database: str) -> set[str]:
    text = dump(database).casefold()
    return {
        planted
        for planted in (*PLANTED, IBAN[::-1], ANN.encode().hex(), json.dumps(NAME))
        if planted.casefold() in text
    }


def test_no_byte_of_a_person_stays_and_all_counts_do(
    people: BatchManager, database: str, sql: Sql, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = people.create_batch(
        "people",
        [
            person(do="fail"),
            somebody(1),
            somebody(2, do="fail"),
            person("eve@example.com", "Eve", "", do="blame"),
        ],
        source=f"customers/{ANN}.json",
        idempotency_key=f"export for {ANN}",
        metadata={"asked_by": ["the office", NAME], IBAN: {"note": 'with "quotes"'}},
    )
    people.process_batch(first)
    again = people.create_reprocess_batch(first, ReprocessRequest(note=f"for {NAME}, Germany"))
    assert again is not None
    people.process_batch(again)
    monkeypatch.setattr(PeopleProcessor, "fixed", True)
    people.reprocess_batch(first)
    monkeypatch.setattr(PeopleProcessor, "fixed", False)
    for do in (None, "skip", "later"):
        people.process_batch(people.create_batch("people", [person(do=do), somebody(3)], source="rest.json"))
    for more in ({"country": "Nowhere"}, {"country": "Atlantis"}, {"nul": "a\0b"}):
        people.process_batch(last := people.create_batch("people", [person(**more)]))
        if "country" in more:
            data = {(last, 1): person(name="Rosalind L.", **more)}
            people.reprocess_batch(last, ReprocessRequest(corrections=data, corrected_from=f"{NAME}.xlsx"))
    sql("UPDATE reliable_imports.import_runs SET error = %s WHERE id = 1", f"could not say {ANN.upper()}")
    sql("UPDATE reliable_imports.import_failure_reasons SET title = title || %s", NAME)
    people.note_failure(people.failures()[0].reason, f"ask {NAME}")
    assert traces(database) >= {*PLANTED, IBAN[::-1], ANN.encode().hex()}
    before = [people.get_summary(batch.batch_id) for batch in people.list_batches()]

    erased = people.erase(ANN, "people", requested_by="the office")
    assert people.erase({"email": ANN}, "people").total_items == 0, "the same again does nothing"

    assert erased.total_items == sum(erased.items.values()) >= 8
    assert traces(database) == set()
    for summary in before:
        now = people.get_summary(summary.batch_id)
        assert (now.status, now.completed_items, now.failed_items, now.skipped_items, now.total_items) == (
            summary.status, summary.completed_items, summary.failed_items, summary.skipped_items, summary.total_items
        )  # fmt: skip
    [item, neighbour, *_] = people.list_items(first)
    assert (item.status, item.source_data, item.error_message) == ("failed", "data erased", "data erased")
    assert item.erased_at is not None
    assert neighbour.erased_at is None
    assert json.loads(neighbour.source_data) == somebody(1)
    told = [line.details for line in people.list_logs(first) if line.message == "data erased on request"]
    assert told == [{"items": 1, "item_numbers": [1], "requested_by": "the office"}]


def test_what_stands_in_other_items_too_is_left_in_texts_beside(people: BatchManager, database: str) -> None:
    batch_id = people.create_batch(
        "people", [person(), somebody(1)], source="Germany.json", metadata={"params": {"country": "Germany"}}
    )
    people.process_batch(batch_id)

    assert people.erase(ANN, "people").texts == 0

    batch = people.get_batch(batch_id)
    assert (batch.source, batch.metadata) == ("Germany.json", {"params": {"country": "Germany"}})


def test_another_persons_failure_stays_to_be_repeated_when_a_word_of_it_goes(people: BatchManager, sql: Sql) -> None:
    batch_id = people.create_batch("people", [person(), somebody(1, do="blame")])
    people.process_batch(batch_id)

    assert people.erase(ANN, "people").items == {batch_id: 1}

    [_, other] = people.list_items(batch_id)
    assert (other.error_message, other.erased_at, people.count_outstanding(batch_id)) == ("data erased", None, 1)


def test_items_that_wait_are_refused_by_name_and_nothing_is_erased(people: BatchManager, database: str) -> None:
    done = people.create_batch("people", [person(do="fail")])
    people.process_batch(done)
    waiting = people.create_batch("people", [somebody(1), person()])

    with pytest.raises(ItemsInUse, match=f"item 2 of batch {waiting} is pending: nothing was erased") as refused:
        people.erase(ANN, "people")
    assert refused.value.items == {(waiting, 2): "pending"}
    assert ANN in dump(database)

    people.cancel_batch(waiting)
    assert people.find_to_erase(ANN, "people").items == {done: 1, waiting: 1}
    assert people.erase(ANN, "people").items == {done: 1, waiting: 1}
    assert traces(database) == set()
    assert people.count_outstanding(waiting) == 1, "the neighbour's"
    repeat = people.create_reprocess_batch(waiting)
    assert repeat is not None
    assert people.process_batch(repeat).total_items == 1


def test_a_repeat_that_waits_holds_its_origin(people: BatchManager, database: str) -> None:
    first = people.create_batch("people", [person(do="fail")])
    people.process_batch(first)
    repeat = people.create_reprocess_batch(first)

    with pytest.raises(ItemsInUse, match=f"item 1 of batch {repeat} is pending"):
        people.erase(ANN, "people")


def test_what_was_erased_is_not_repeated(people: BatchManager, sql: Sql) -> None:
    batch_id = people.create_batch("people", [person(), person(do="fail"), somebody(1, do="fail")])
    people.process_batch(batch_id)
    people.erase(ANN, "people")

    assert people.count_outstanding(batch_id) == 1
    assert people.count_erased(batch_id) == 1, "the other one was a duplicate, and skipped"
    [reason] = people.failure_reasons(batch_id)
    assert (reason.items, reason.sample_item_number) == (2, 3), "a sample that still tells something"
    assert people.reprocess_batch(batch_id).total_items == 1
    repeat = people.reprocess_batch(batch_id, ReprocessRequest(which=WhichItems.ALL))
    assert repeat.total_items == 1
    people.erase("p1@example.com", "people")
    assert people.create_reprocess_batch(batch_id) is None
    assert people.orchestration.lineages_due() == []
    samples = [each.sample_source_data for each in people.failure_reasons(batch_id)]
    assert samples == ["data erased"]
    assert people.failure_reasons(batch_id)[0].title == "ValueError in validate_item: IBAN {iban} of {name}"


def test_keys_that_are_nearly_the_same_are_told_and_taken_on_request(people: BatchManager) -> None:
    batch_id = people.create_batch("people", [person(f" {ANN.upper()}"), person(), somebody(1)])
    people.process_batch(batch_id)

    assert people.find_to_erase(ANN, "people").alike == {batch_id: 1}
    erased = people.erase(ANN, "people")
    assert (erased.items, erased.alike) == ({batch_id: 1}, {batch_id: 1})
    erased = people.erase(ANN, "people", alike=True)
    assert (erased.items, erased.alike) == ({batch_id: 1}, {})


def test_lines_that_could_not_be_read_are_found_by_their_bytes(
    people: BatchManager, database: str, tmp_path: Any
) -> None:
    file = tmp_path / "people.csv"
    file.write_bytes(f"email,name,iban\n{ANN},Ann\nben@example.com,Ben,x,y\n{ANN},{NAME},\xff\n".encode("latin-1"))
    batch_id = people.create_batch("people", people.open_source("people", file))
    people.process_batch(batch_id)

    assert people.erase(ANN, "people").items == {batch_id: 2}
    assert traces(database) == set()
    assert [item.erased_at is None for item in people.list_items(batch_id)] == [False, True, False]


class Order(BaseModel):
    customer: str
    order_no: int
    note: str | None = None

    @field_validator("customer")
    @classmethod
    def lower(cls, value: str) -> str:
        return value.removeprefix("customer ")


class OrdersProcessor(TableProcessor):
    table = "orders"
    key = ("customer", "order_no")
    model = Order
    rename = {"Order No.": "order_no"}  # noqa: RUF012 - as people write it


def test_a_key_of_several_fields_by_any_of_their_names_whole_or_in_part(people: BatchManager, sql: Sql) -> None:
    sql("CREATE TABLE orders (customer text, order_no integer, note text, PRIMARY KEY (customer, order_no))")
    people.registry.register(OrdersProcessor)
    orders = [
        {"customer": "customer ann", "Order No.": "1"},
        {"customer": "ann", "Order No.": 2},
        {"customer": "ben", "Order No.": 1, "note": "of ann 1"},
    ]
    batch_id = people.create_batch("orders", orders)
    assert people.process_batch(batch_id).completed_items == 3

    def found(**key: object) -> list[int]:
        with_key = people.find_to_erase(key, "orders")
        return list(with_key.items.values())

    assert found(customer="ann", order_no=2) == [1]
    assert found(**{"customer": "ann", "Order No.": 1}) == [1], "by the key that was written"
    assert found(customer="ben") == [1]
    assert found(customer="nobody") == []
    with pytest.raises(ConfigurationError, match="has no field 'custmer' to erase by; it has customer, "):
        people.erase({"custmer": "ann"}, "orders")
    with pytest.raises(ConfigurationError, match="a value alone can only be of a key of one field"):
        people.erase("ann", "orders")
    with pytest.raises(ConfigurationError, match="an empty key would name nobody"):
        people.erase(" ", "people")


class LettersProcessor(PeopleProcessor):
    """Items about people, too."""

    batch_type = "letters"
    natural_key = ("email",)


def test_one_request_erases_a_person_from_all_types_that_have_the_field(people: BatchManager, sql: Sql) -> None:
    sql("CREATE TABLE orders (customer text, order_no integer, note text, PRIMARY KEY (customer, order_no))")
    people.registry.register(OrdersProcessor)
    people.registry.register(LettersProcessor)
    about = [person(), somebody(1)]
    batches = {each: people.create_batch(each, about) for each in ("people", "letters")}
    order = people.create_batch("orders", [{"customer": ANN, "Order No.": "1"}])
    for batch_id in (batches["people"], order):
        people.process_batch(batch_id)

    # One that is pending keeps the others, too: a request is done, or not begun.
    with pytest.raises(ItemsInUse):
        people.erase({"email": ANN})
    assert people.find_to_erase({"email": ANN}).total_items == 2
    people.process_batch(batches["letters"])
    erased = people.erase({"email": ANN})

    assert (erased.items, erased.types) == (
        dict.fromkeys(batches.values(), 1),
        {batch_id: each for each, batch_id in batches.items()},
    )
    assert erased.left_out == {"orders": "it declares no field email"}
    people.registry = type(people.registry)()
    people.registry.register(OrdersProcessor)
    assert people.find_to_erase({"customer": ANN}).left_out.keys() == {"people", "letters"}
    with pytest.raises(ConfigurationError, match="no batch type has the fields emial to erase by"):
        people.erase({"emial": ANN})
    with pytest.raises(ConfigurationError, match="a value alone is the key of one type"):
        people.erase(ANN)
    people.registry.register(PeopleProcessor)


def test_any_field_can_be_named_where_no_key_is_declared(people: BatchManager, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(PeopleProcessor, "natural_key", ())
    batch_id = people.create_batch("people", [person(), somebody(1)])
    people.process_batch(batch_id)

    assert people.erase({"iban": IBAN}, "people").items == {batch_id: 1}
    with pytest.raises(ConfigurationError, match="none; name a field of the items, as in email=VALUE"):
        people.erase(ANN, "people")


def test_rows_of_the_tables_can_lose_their_data_and_nothing_else(people: BatchManager, sql: Sql) -> None:
    batch_id = people.create_batch("people", [person(do="fail"), somebody(1)])
    people.process_batch(batch_id)
    people.erase(ANN, "people")

    for change in (
        "UPDATE reliable_imports.import_items SET source_data = '{}', erased_at = NULL WHERE item_number = 1",
        "UPDATE reliable_imports.import_items SET source_data = '{}' WHERE item_number = 2",
        "UPDATE reliable_imports.import_items SET source_data = NULL, erased_at = now(), source_offset = 7",
        "UPDATE reliable_imports.import_attempts SET outcome = 'completed', reason = NULL WHERE outcome = 'failed'",
        "UPDATE reliable_imports.import_attempts SET message = 'all is well' WHERE outcome = 'failed'",
        "UPDATE reliable_imports.import_attempts SET erased_at = NULL WHERE erased_at IS NOT NULL",
        """UPDATE reliable_imports.import_attempts SET result = '{"target_id": 7}' WHERE outcome = 'completed'""",
        "UPDATE reliable_imports.import_logs SET message = 'all is well'",
        "UPDATE reliable_imports.import_logs SET level = 'error'",
    ):
        with pytest.raises(psycopg2.errors.RaiseException, match="history is only ever added to"):
            sql(change)
    with pytest.raises(psycopg2.errors.CheckViolation):
        sql("UPDATE reliable_imports.import_items SET source_data = NULL")
