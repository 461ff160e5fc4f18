"""Whose fault an error is. Everything that follows from a failed statement hangs on this.

The classes are those of the PostgreSQL manual, appendix A "PostgreSQL Error Codes". The function
`fault_of_v1` in `functions` holds the same table for what is sorted on the server.
"""

from __future__ import annotations

import sys
from enum import Enum

import psycopg2

from reliable_imports.postgres.connect import Connection


class Fault(Enum):
    ITEM = "item"
    """The item's own: bad data, a violated constraint, wrong SQL. The item fails."""

    TRANSACTION = "transaction"
    """Of two transactions meeting: deadlock, serialization failure, lock not available. Tried again in a new one."""

    INFRASTRUCTURE = "infrastructure"
    """Of the server, the network or the disk, as far as its class tells. No item is blamed, unless the server is well
    otherwise and the item brings the error about again when it is tried alone."""


QUERY_CANCELED = "57014"

_TRANSACTION_STATES = frozenset({"40001", "40P01", "55P03"})
_INFRASTRUCTURE_CLASSES = frozenset({"08", "53", "58", "XX"})
# Class 57 is "operator intervention": 57014 (a statement was cancelled, as by statement_timeout) is the statement's.
_INFRASTRUCTURE_STATES = frozenset({"57P01", "57P02", "57P03", "57P04", "57P05", "25P03", "25P04"})

# What the server says of itself. That one statement is refused so does not show that the statement is to blame: a full
# disk refuses all that need room, and a server that shuts down refuses all.
_CONDITIONS = _INFRASTRUCTURE_STATES | {"53000", "53100", "53200", "53300", "58000", "58030", "XX001", "XX002"}

# No item will fare better: rights, missing objects, statements that do not fit the table, a read-only server.
_ENVIRONMENTAL_STATES = frozenset(
    {
        "25006",  # read_only_sql_transaction
        "28000",  # invalid_authorization_specification
        "28P01",  # invalid_password
        "3F000",  # invalid_schema_name
        "42501",  # insufficient_privilege
        "42601",  # syntax_error
        "42702",  # ambiguous_column
        "42703",  # undefined_column
        "42704",  # undefined_object
        "42725",  # ambiguous_function
        "42804",  # datatype_mismatch
        "42809",  # wrong_object_type
        "42883",  # undefined_function
        "428C9",  # generated_always
        "42P01",  # undefined_table
        "42P10",  # invalid_column_reference, such as ON CONFLICT without a unique index
        "42P18",  # indeterminate_datatype
    }
)
# Of other servers and files, which a trigger or a foreign table needs.
_ENVIRONMENTAL_CLASSES = frozenset({"08", "53", "58"})

_PASSING_CLASSES = frozenset({"08", "53"})

# Functions of the server, as it names them beside an error in every language: who wrote the table's triggers or
# policies has refused this row.
_REFUSALS_OF_A_ROW = frozenset({"exec_stmt_raise", "exec_stmt_assert", "ExecWithCheckOptions"})

# Dagster ends a run by raising this in its code.
_ORCHESTRATORS_INTERRUPT = ("dagster", "DagsterExecutionInterruptedError")


def fault_of_state(sqlstate: str) -> Fault:
    """What an SQLSTATE alone tells."""
    if sqlstate in _TRANSACTION_STATES:
        return Fault.TRANSACTION
    if sqlstate in _INFRASTRUCTURE_STATES or sqlstate[:2] in _INFRASTRUCTURE_CLASSES:
        return Fault.INFRASTRUCTURE
    return Fault.ITEM


def fault_of(error: psycopg2.Error, connection: Connection) -> Fault:
    """Sort *error*, which a statement on *connection* raised.

    A lost connection nearly always arrives without an SQLSTATE, so the connection is looked at first.
    """
    if connection.closed:
        return Fault.INFRASTRUCTURE
    state = error.pgcode
    if state is None:
        no_answer = isinstance(error, psycopg2.OperationalError | psycopg2.InterfaceError)
        return Fault.INFRASTRUCTURE if no_answer else Fault.ITEM
    fault = fault_of_state(state)
    if fault is Fault.INFRASTRUCTURE and is_refusal_of_a_row(error) and not is_condition(error):
        return Fault.ITEM  # whatever code its author has chosen
    return fault


def is_condition(error: BaseException) -> bool:
    """Whether the server speaks of a trouble of its own (a full disk, no memory, a shutdown), not of a statement."""
    return isinstance(error, psycopg2.Error) and error.pgcode in _CONDITIONS


def may_pass(error: psycopg2.Error) -> bool:
    """Whether what brought *error* about may be over another time without anybody's help."""
    state = error.pgcode or ""
    return state in _TRANSACTION_STATES or state[:2] in _PASSING_CLASSES


def is_refusal_of_a_row(error: BaseException) -> bool:
    """Whether a RAISE in the database, or a policy of row level security, has refused what was written."""
    return isinstance(error, psycopg2.Error) and error.diag.source_function in _REFUSALS_OF_A_ROW


def is_environmental_state(sqlstate: str) -> bool:
    """Whether an SQLSTATE says that the next item will likely fail too."""
    return sqlstate in _ENVIRONMENTAL_STATES or sqlstate[:2] in _ENVIRONMENTAL_CLASSES


def is_item_fault(error: BaseException) -> bool:
    """Whether an exception of user code fails the item; if not, it stops the run.

    Only two say something about the run: KeyboardInterrupt, and the one by which an orchestrator ends it. What else is
    no `Exception` (SystemExit, CancelledError, time-outs of some libraries) is the item's all the same.
    """
    if isinstance(error, KeyboardInterrupt):
        return False
    module, name = _ORCHESTRATORS_INTERRUPT
    interrupt = getattr(sys.modules.get(module), name, None)  # nobody can raise what was not imported
    return not (isinstance(interrupt, type) and isinstance(error, interrupt))
