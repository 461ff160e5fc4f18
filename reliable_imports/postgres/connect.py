"""Connections, and the transactions on them."""

from __future__ import annotations

import selectors
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from typing import Any

import psycopg2
import psycopg2.extensions
import psycopg2.extras
from psycopg2.extensions import TRANSACTION_STATUS_IDLE, TRANSACTION_STATUS_INTRANS

from reliable_imports.postgres.dsn import parse_dsn

Connection = psycopg2.extensions.connection
"""The driver's class, whose own name is in lower case."""

# A peer that is gone without a word is noticed within a minute, while waiting and while sending.
_LIVENESS: Mapping[str, str | int] = {
    "connect_timeout": 10,
    "keepalives_idle": 20,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 40_000,
    "application_name": "reliable-imports",
}

BEGIN = "BEGIN ISOLATION LEVEL READ COMMITTED"
"""Whatever the role's default is: the engine looks at what others have just committed."""


@contextmanager
def connect(dsn: str) -> Iterator[Connection]:
    """A connection that is closed at the end of the block; what was not committed is rolled back.

    Raises as `open_connection`.
    """
    with closing(open_connection(dsn)) as connection:
        yield connection


def open_connection(dsn: str) -> Connection:
    """A connection that somebody else closes.

    Raises:
        InvalidDsn: *dsn* cannot be read; its text is not in the message.
        psycopg2.OperationalError: the server cannot be reached, or refuses; says which and why.
    """
    given = parse_dsn(dsn)
    defaults = {name: value for name, value in _LIVENESS.items() if name not in given}
    defaults["client_encoding"] = "UTF8"  # whatever the DSN says: text is written so
    connection: Connection = psycopg2.connect(dsn, **defaults)  # type: ignore[call-overload]
    # The driver begins nothing by itself: BEGIN and COMMIT travel with the statements of their transaction.
    connection.autocommit = True
    return connection


def is_ready(connection: Connection) -> bool:
    """Whether a connection that nobody used for a while waits for a statement, as far as this side knows.

    A server says nothing then, unless it ends the session. Nothing is asked of it.
    """
    if connection.closed or connection.info.transaction_status != TRANSACTION_STATUS_IDLE:
        return False
    with selectors.DefaultSelector() as heard:
        heard.register(connection, selectors.EVENT_READ)
        return not heard.select(0)


@contextmanager
def transaction(connection: Connection) -> Iterator[Any]:
    """A cursor whose statements are committed together, or not at all if the block raises."""
    try:
        with connection.cursor() as cursor:
            cursor.execute(BEGIN)
            yield cursor
            if connection.info.transaction_status != TRANSACTION_STATUS_INTRANS:
                # COMMIT would return normally, and roll back.
                raise psycopg2.InternalError("the transaction is not the one that was begun, or it was aborted")
            cursor.execute("COMMIT")
    except BaseException:
        try:
            roll_back(connection)
        except psycopg2.Error:
            connection.close()  # which rolls back too; what went wrong first is what there is to tell
        raise


def roll_back(connection: Connection) -> None:
    """Roll back, also where the connection is gone: then there is nothing left to roll back."""
    if connection.closed or connection.info.transaction_status == TRANSACTION_STATUS_IDLE:
        return
    try:
        with connection.cursor() as cursor:
            cursor.execute("ROLLBACK")
    except psycopg2.Error:
        if not connection.closed:
            raise


def rows(cursor: Any) -> list[dict[str, Any]]:
    """The rest of a cursor's rows, as dicts by column name."""
    names = [column.name for column in cursor.description]
    return [dict(zip(names, values, strict=True)) for values in cursor.fetchall()]


def one_row(cursor: Any) -> dict[str, Any] | None:
    """The next row as a dict, or None."""
    values = cursor.fetchone()
    if values is None:
        return None
    return dict(zip([column.name for column in cursor.description], values, strict=True))


def discard_session(connection: Connection) -> None:
    """Forget whatever user code left in the session: settings, role, temporary tables, cursors, prepared statements."""
    roll_back(connection)
    with connection.cursor() as cursor:
        cursor.execute("DISCARD ALL")
        cursor.execute("SET datestyle TO 'ISO'")  # as the driver did when it connected: it reads no other dates
