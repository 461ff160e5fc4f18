"""What is kept of an error: the cause, in the same words for the same cause, without the item's values."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date, datetime
from decimal import Decimal
from typing import Annotated, Literal

import pytest
from pydantic import BaseModel, Field, ValidationError, field_validator

from reliable_imports.errors import InvalidRow
from reliable_imports.items.failure import Failure, exception_failure, rejection, server_failure
from reliable_imports.items.model_fields import invalid_row
from reliable_imports.items.rejection import Rejected
from reliable_imports.postgres.statement import changes_session, transaction_command
from reliable_imports.statuses import Stage

pytestmark = pytest.mark.promise(9)


def failure_of(error: BaseException, data: object = None) -> Failure:
    try:
        raise error
    except BaseException as caught:
        return exception_failure("t", Stage.PROCESS, caught, source_data=data)


def violation(**facts: str | None) -> Failure:
    known: dict[str, str | None] = {"message": "m", "detail": None, "table": "t", "column": None, "constraint": "c"}
    return server_failure("t", Stage.WRITE, sqlstate="23503", **{**known, **facts})  # type: ignore[arg-type]


def test_values_of_the_item_become_field_names() -> None:
    failure = failure_of(ValueError("no plan gold for eve@example.com"), {"plan": "gold", "email": "eve@example.com"})
    assert failure.message == "no plan {plan} for {email}"


@pytest.mark.parametrize(
    ("message", "kept"),
    [
        ('new row for relation "things" violates check constraint "relation"', None),
        ('null value in column "status" of relation "things" violates not-null constraint', None),
        ('insert or update on table "things" violates foreign key constraint "row"', None),
        ("value too long for type character varying(5)", None),
        ('relation "nowhere" does not exist', None),
        ("deadlock detected", None),
        ('invalid input syntax for type integer: "new"', 'invalid input syntax for type integer: "…"'),
        ('column "eve@example.com" does not exist', 'column "{mail}" does not exist'),
    ],
)
def test_no_word_of_the_servers_is_taken_for_a_value(message: str, kept: str | None) -> None:
    data = {
        "status": "new", "what": "row", "kind": "relation", "of": "status", "type": "integer", "a": "value",
        "b": "null", "c": "insert", "d": "deadlock", "mail": "eve@example.com", "name": "things",
    }  # fmt: skip
    sqlstate = "22P02" if "syntax" in message else "23514"
    failure = server_failure(
        "t", Stage.WRITE, sqlstate=sqlstate, message=message, detail=None, table="things", column="status",
        constraint="row", source_data=data,
    )  # fmt: skip
    assert failure.message == (kept or message).replace('"relation"', '"{kind}"')


def test_a_message_that_only_sounds_like_the_servers_keeps_no_value() -> None:
    data = {"who": "eve", "amount": "12"}
    for message in ("eve out of range", "permission denied for customer eve", "new row for eve", "domain 12 eve"):
        failure = violation(message=message, source_data=data)  # type: ignore[arg-type]
        assert not re.search(r"eve|12", failure.message), failure.message


def test_values_of_one_letter_do_not_stay_either() -> None:
    data = {"grade": "x", "day": 7, "mark": "-"}
    assert failure_of(ValueError("grade x - of 7 exams"), data).message == "grade {grade} - of {day} exams"


def test_a_field_name_that_was_put_in_is_not_replaced_again() -> None:
    assert failure_of(ValueError("no plan gold"), {"plan": "gold", "of": "plan"}).message == "no {of} {plan}"


@pytest.mark.parametrize(
    ("convert", "said"),
    [
        (lambda: int("abc"), "invalid literal for int() with base 10: '{price}'"),
        (lambda: int("abc "), "invalid literal for int() with base 10: '…'"),
        (lambda: float("it's"), 'could not convert string to float: "…"'),
        (lambda: date.fromisoformat("31.12.2024"), "Invalid isoformat string: '{order_date}'"),
        (lambda: datetime.strptime("abc", "%Y"), "time data '{price}' does not match format '%Y'"),
    ],
)
def test_a_conversion_of_pythons_shows_its_own_words(convert: Callable[[], object], said: str) -> None:
    data = {"price": "abc", "base": 10, "int": "int", "order_date": "31.12.2024"}
    with pytest.raises(ValueError, match=r".") as raised:
        convert()
    assert failure_of(raised.value, data).message == said


class Cat(BaseModel):
    kind: Literal["cat"]


class Dog(BaseModel):
    kind: Literal["dog"]


class Order(BaseModel):
    order_date: date
    plan: Literal["gold", "iron"] = "gold"
    pet: Annotated[Cat | Dog | None, Field(discriminator="kind")] = None

    @field_validator("plan", mode="before")
    @classmethod
    def _no_wood(cls, value: str) -> str:
        if value == "wood":
            raise ValueError(f"there is no plan {value}")
        return value


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (
            {"order_date": "2024-13-99", "input_value": "order_date"},
            "order_date: Input should be a valid date or datetime, month value is outside expected range of 1-12",
        ),
        ({"order_date": "2024-01-01", "plan": "wood"}, "plan: there is no plan …"),
        (
            {"order_date": "2024-01-01", "pet": {"kind": "s3cret"}},
            "pet: Input tag '…' found using 'kind' does not match any of the expected tags: 'cat', 'dog'",
        ),
    ],
)
def test_what_pydantic_refuses_is_told_without_the_input(data: dict[str, object], said: str) -> None:
    with pytest.raises(ValidationError) as raised:
        Order.model_validate(data)
    assert failure_of(raised.value, data).message == said
    assert str(invalid_row(raised.value)).replace("Value error, ", "").replace("{plan}", "…") == said


def test_the_title_is_the_heading_and_what_was_said() -> None:
    assert failure_of(ValueError("no gold")).title == "ValueError in failure_of: no gold"
    assert violation(detail="Key (x)=(1) is not present.").title == "ForeignKeyViolation c: (x) is not present"
    assert rejection("t", Rejected("it is closed")).title == "ItemRejected: it is closed"


def test_numbers_and_values_within_others_become_field_names_too() -> None:
    data = {"order": {"lines": [{"amount": Decimal("12.50")}, 4711]}, "paid": True}
    failure = failure_of(ValueError("line 4711: 12.50 is True"), data)
    assert failure.message == "line {lines}: {amount} is True"


def test_field_names_that_the_database_cannot_hold_are_cleaned() -> None:
    failure = failure_of(InvalidRow({"a\ud800": "bad", "b\0": "bad"}, {"a\ud800": "type", "b\0": "type"}))
    assert failure.field == "a?, b"


def test_different_values_are_one_reason_and_different_lines_are_two() -> None:
    reasons = {failure_of(ValueError(f"bad value {value}")).reason for value in ("a", "b")}
    assert len(reasons) == 1
    try:
        raise ValueError("another line")
    except ValueError as error:
        other = exception_failure("t", Stage.PROCESS, error)
    assert other.reason not in reasons


def test_different_constraints_are_different_reasons() -> None:
    assert violation(constraint="a").reason != violation(constraint="b").reason
    assert violation(constraint="a").reason == violation(constraint="a", detail="Key (x)=(1) is not present.").reason


@pytest.mark.parametrize(
    ("detail", "kept"),
    [
        ('Key (tailnum)=(N123) is not present in table "planes".', '(tailnum) is not present in table "planes"'),
        ("Key (email)=(a@b) is (not) already there) already exists.", "(email) already exists"),
        ("Partition key of the failing row contains (k) = (secret).", None),
        ("Schlüssel (email)=(secret) existiert bereits.", None),
        ("Key (a, b)=(1, (x) is y) already exists.", "(a, b) already exists"),
        ("Failing row contains (1, secret).", None),
        (None, None),
    ],
)
def test_details_lose_their_values(detail: str | None, kept: str | None) -> None:
    assert violation(detail=detail).detail == kept


@pytest.mark.parametrize(
    ("detail", "key"),
    [
        ('Key (plan)=(gold) is not present in table "plans".', "gold"),
        ('Key (a, b)=(1, x)=(y) is not present in table "plans".', "1, x)=(y"),
        ("Schlüssel (plan)=(gold) ist nicht in Tabelle »plans« vorhanden.", "gold"),
        ('Key (id)=(7) is still referenced from table "contracts".', None),
        ('Key is not present in table "plans".', None),
        (f'Key (plan)=({"x" * 2_001}) is not present in table "plans".', None),
        (None, None),
    ],
)
def test_what_a_foreign_key_did_not_find_is_kept_apart(detail: str | None, key: str | None) -> None:
    failure = violation(detail=detail)

    assert failure.missing_key == key
    assert key is None or key not in f"{failure.message} {failure.detail} {failure.title} {failure.reason}"


def test_quoted_values_of_data_exceptions_are_removed() -> None:
    failure = server_failure(
        "t", Stage.WRITE, sqlstate="22P02", message='invalid input syntax for type integer: "secret"',
        detail=None, table=None, column=None, constraint=None,
    )  # fmt: skip
    assert failure.message == 'invalid input syntax for type integer: "…"'


@pytest.mark.parametrize("text", ["a\0b", "\ud800", "x" * 100_000, "line\nbreak\x1b[31m", ""])
def test_any_message_can_be_recorded(text: str) -> None:
    failure = failure_of(ValueError(text))
    failure.message.encode()
    assert len(failure.message) <= 1_000
    assert not set("\0\n\x1b") & set(failure.message)


@pytest.mark.parametrize(
    ("statement", "command"),
    [
        ("COMMIT", "COMMIT"),
        ("  -- hello\n rollback to x", "ROLLBACK"),
        ("SELECT 1; /* ; */ End;", "END"),
        ("prepare transaction 'x'", "PREPARE TRANSACTION"),
        ("start transaction", "START"),
        ("SELECT 'COMMIT; ROLLBACK'", None),
        ("SELECT $$;COMMIT$$, $a$;COMMIT;$a$", None),
        ('SELECT ";commit" FROM x', None),
        ("SELECT E'\\'; COMMIT; --'", None),
        ("INSERT INTO commit VALUES (1)", None),
        ("PREPARE x AS SELECT 1", None),
    ],
)
def test_commands_that_end_the_transaction_are_recognised(statement: str, command: str | None) -> None:
    assert transaction_command(statement) == command


@pytest.mark.parametrize(
    ("statement", "changes"),
    [
        ("SET search_path = x", True),
        ("SELECT 1; reset all", True),
        ("CREATE TEMP TABLE x (y int)", True),
        ("CREATE TABLE pg_temp.x (y int)", True),
        ("UPDATE pg_settings SET setting = 'x' WHERE name = 'search_path'", True),
        ("DECLARE c CURSOR WITH HOLD FOR SELECT 1", True),
        ("SELECT set_config('search_path', 'x', false)", True),
        ("SELECT pg_advisory_lock(1)", True),
        ("SELECT 1 AS x INTO TEMP y", True),
        ("CREATE OR REPLACE TEMPORARY VIEW x AS SELECT 1", True),
        ("DO $$ BEGIN END $$", True),
        ("CREATE TABLE x (y int)", False),
        ("WITH x AS (SELECT 1) INSERT INTO y SELECT * FROM x", False),
    ],
)
def test_statements_that_change_the_session_are_recognised(statement: str, changes: bool) -> None:
    assert changes_session(statement) is changes


def test_what_a_function_of_the_database_raises_is_told_by_its_name_alone() -> None:
    def raised(email: str) -> Failure:
        return server_failure(
            "t", Stage.WRITE, sqlstate="P0001", message=f"customer {email} is blocked", detail=None, table=None,
            column=None, constraint=None, source_data={"who": {"email": email}},
            context=f'PL/pgSQL-Funktion shop.guard(text) Zeile 4 bei RAISE\nSQL-Anweisung »SELECT {email}«',
        )  # fmt: skip

    assert raised("a@example.com").message == "raised by shop.guard(text)"
    assert raised("a@example.com").reason == raised("b@example.com").reason


def test_a_value_with_quotes_does_not_show() -> None:
    failure = server_failure(
        "t", Stage.WRITE, sqlstate="22P02", message='invalid input syntax for type integer: "x" secret "y"',
        detail=None, table=None, column=None, constraint=None,
    )  # fmt: skip
    assert "secret" not in failure.message
