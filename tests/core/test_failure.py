"""What is kept of an error: the cause, in the same words for the same cause, without the item's values."""

from __future__ import annotations

from decimal import Decimal

import pytest

from reliable_imports.errors import InvalidRow
from reliable_imports.failure import Failure, exception_failure, server_failure
from reliable_imports.statement import changes_session, transaction_command
from reliable_imports.statuses import Stage


def failure_of(error: BaseException, data: object = None) -> Failure:
    try:
        raise error
    except BaseException as caught:
        return exception_failure("t", Stage.PROCESS, caught, source_data=data, user_file=__file__)


def violation(**facts: str | None) -> Failure:
    known: dict[str, str | None] = {"message": "m", "detail": None, "table": "t", "column": None, "constraint": "c"}
    return server_failure("t", Stage.WRITE, sqlstate="23503", **{**known, **facts})  # type: ignore[arg-type]


def test_values_of_the_item_become_field_names() -> None:
    failure = failure_of(ValueError("no plan gold for eve@example.com"), {"plan": "gold", "email": "eve@example.com"})
    assert failure.message == "no plan {plan} for {email}"


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
        other = exception_failure("t", Stage.PROCESS, error, user_file=__file__)
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


def test_values_in_a_message_of_the_servers_are_one_reason() -> None:
    def raised(email: str) -> Failure:
        return server_failure(
            "t", Stage.WRITE, sqlstate="P0001", message=f"customer {email} is blocked", detail=None, table=None,
            column=None, constraint=None, source_data={"who": {"email": email}},
        )  # fmt: skip

    assert raised("a@example.com").message == "customer {email} is blocked"
    assert raised("a@example.com").reason == raised("b@example.com").reason


def test_a_value_with_quotes_does_not_show() -> None:
    failure = server_failure(
        "t", Stage.WRITE, sqlstate="22P02", message='invalid input syntax for type integer: "x" secret "y"',
        detail=None, table=None, column=None, constraint=None,
    )  # fmt: skip
    assert "secret" not in failure.message
