"""How a run begins: what it writes down, and what it has to know."""

from __future__ import annotations

import os
import socket
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg2

from reliable_imports.engine.recovery.connection import RunConnection, deadline
from reliable_imports.engine.recovery.reconnection import first_line
from reliable_imports.engine.work.audit_log import AuditLog
from reliable_imports.errors import InvalidTarget, SetupFailed
from reliable_imports.models import Batch
from reliable_imports.postgres.connect import Connection, discard_session, transaction
from reliable_imports.postgres.error_sorting import Fault, fault_of
from reliable_imports.postgres.queries import load
from reliable_imports.postgres.schema import ADVISORY_LOCK
from reliable_imports.processor.base import BaseProcessor
from reliable_imports.processor.code_version import code_version
from reliable_imports.processor.facts import facts_of
from reliable_imports.processor.table_reading import read_facts
from reliable_imports.statuses import Runner

_SUSPECTS = load("suspects.sql")
_WORK = load("work.sql")


@dataclass(frozen=True, slots=True)
class Identity:
    """Who executes a run."""

    runner: Runner = Runner.PYTHON
    dagster_run_id: str | None = None


@dataclass(frozen=True, slots=True)
class Begun:
    """A run that was written down.

    Attributes:
        check_deferred_sql: checks deferred constraints at once, and defers them again; None in a database without any.
        has_killers: items of the batch are known to kill their worker.
        cannot_write: why no item can be imported, if none can: the table is not what the processor relies on.
    """

    audit_log: AuditLog
    check_deferred_sql: str | None
    has_killers: bool
    cannot_write: str | None = None


def begin(
    connection: RunConnection, batch: Batch, processor: BaseProcessor, identity: Identity, *, may_set_up: bool
) -> Begun:
    """Write down that a run begins, once more if the connection is lost meanwhile or another transaction met it.

    It is one row of `import_runs` in any case.

    What the processor leaves to its table is read, and the instance knows it from then on.
    """
    until = deadline()
    token = str(uuid4())
    while True:
        try:
            if may_set_up and processor.setup_sql is not None:
                _set_up(connection.current, processor.setup_sql, batch.id)
            return _start(connection.current, token, batch, processor, identity)
        except psycopg2.Error as error:  # it was not committed, or nobody knows
            if time.monotonic() > until:
                raise
            if fault_of(error, connection.current) is Fault.TRANSACTION:
                continue
            if not connection.current.closed:
                raise
            connection.open_again(error, until)


def _start(connection: Connection, token: str, batch: Batch, processor: BaseProcessor, identity: Identity) -> Begun:
    cannot_write = None
    with transaction(connection) as cursor:
        try:
            processor._facts = read_facts(cursor, type(processor), batch_id=batch.id)
        except InvalidTarget as error:
            cannot_write = f"{type(processor).__qualname__} cannot write: {error.problem}"
        cursor.execute(_WORK["start_batch"], {"batch_id": batch.id})
        cursor.execute(
            _WORK["start_run"],
            {
                "token": token,
                "batch_id": batch.id,
                "runner": identity.runner.value,
                "dagster_run_id": identity.dagster_run_id,
                "code_version": code_version(type(processor)),
                "sensitive": sorted(facts_of(processor).sensitive_names()),
                "host": socket.gethostname(),
                "process_id": os.getpid(),
            },
        )
        run_id, mode, is_new = cursor.fetchone()
        check_deferred_sql = find_check_deferred_sql(cursor)
        has_killers = False
        if batch.reprocess_of is not None:
            cursor.execute(_SUSPECTS["repeats_killers"], {"batch_id": batch.id})
            ((has_killers,),) = cursor.fetchall()
        audit_log = AuditLog(batch.id, run_id)
        if is_new:
            audit_log.say(cursor, "info", "run started", {"mode": mode, "runner": identity.runner.value})
    return Begun(audit_log, check_deferred_sql, has_killers, cannot_write)


def _set_up(connection: Connection, path: Path, batch_id: int) -> None:
    try:
        script = Path(path).read_text(encoding="utf-8")
        with transaction(connection) as cursor:
            cursor.execute("SELECT pg_catalog.pg_advisory_xact_lock(%s)", [ADVISORY_LOCK])
            cursor.execute(script)
    except (OSError, UnicodeDecodeError, psycopg2.Error) as error:
        if isinstance(error, psycopg2.Error) and (
            connection.closed or fault_of(error, connection) is Fault.TRANSACTION
        ):
            raise
        raise SetupFailed(str(path), first_line(error), batch_id) from error
    discard_session(connection)


def find_check_deferred_sql(cursor: Any) -> str | None:
    """SQL that checks deferred constraints now and defers them again; None in a database without such constraints.

    The constraints are not named, because a role may lack rights on some, and they come and go. So those that can wait
    but do not by default are deferred as well after the first item; they still hit their own item.
    """
    cursor.execute(_WORK["has_deferrable_constraints"], {})
    (found,) = cursor.fetchone()
    return "SET CONSTRAINTS ALL IMMEDIATE; SET CONSTRAINTS ALL DEFERRED" if found else None
