"""Whose fault an error of the database is. Everything that follows from a failed statement hangs on this.

The classes are those of the PostgreSQL manual, appendix A "PostgreSQL Error Codes".
"""

from __future__ import annotations

from enum import Enum

import psycopg2
from psycopg2.extensions import connection as Connection  # noqa: N812 - the class has a lower-case name


class Fault(Enum):
    ITEM = "item"
    """The item's own: bad data, a violated constraint, wrong SQL. The item fails."""

    TRANSACTION = "transaction"
    """Of two transactions meeting: deadlock, serialization failure, lock not available. Tried again in a new one."""

    INFRASTRUCTURE = "infrastructure"
    """Of the server, the network or the disk. The run stops, and no item is blamed."""


QUERY_CANCELED = "57014"

_TRANSACTION_STATES = frozenset({"40001", "40P01", "55P03"})
_INFRASTRUCTURE_CLASSES = frozenset({"08", "53", "58", "XX"})
# Class 57 is "operator intervention": 57014 (a statement was cancelled, as by statement_timeout) is the statement's.
_INFRASTRUCTURE_STATES = frozenset({"57P01", "57P02", "57P03", "57P04", "57P05", "25P03", "25P04"})


def fault_of(error: psycopg2.Error, connection: Connection) -> Fault:
    """Sort *error*, which a statement on *connection* raised.

    A lost connection nearly always arrives without an SQLSTATE, so the connection is looked at first.
    """
    state = error.pgcode
    if connection.closed:
        return Fault.INFRASTRUCTURE
    if state is None:
        no_answer = isinstance(error, psycopg2.OperationalError | psycopg2.InterfaceError)
        return Fault.INFRASTRUCTURE if no_answer else Fault.ITEM
    if state in _TRANSACTION_STATES:
        return Fault.TRANSACTION
    if state in _INFRASTRUCTURE_STATES or state[:2] in _INFRASTRUCTURE_CLASSES:
        return Fault.INFRASTRUCTURE
    return Fault.ITEM


def is_item_fault(error: BaseException) -> bool:
    """Whether an exception of user code fails the item; if not, it stops the run.

    Only an interrupt says something about the run: KeyboardInterrupt, and those of orchestrators, which are named so.
    What else is no `Exception` (SystemExit, CancelledError, time-outs of some libraries) is the item's all the same.
    """
    return not isinstance(error, KeyboardInterrupt) and "Interrupt" not in type(error).__name__
