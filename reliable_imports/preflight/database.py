"""The server, the schema, the rights, the batches."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from reliable_imports.errors import SchemaTooNew
from reliable_imports.postgres import schema
from reliable_imports.postgres.connect import Connection
from reliable_imports.postgres.queries import load
from reliable_imports.preflight.finding import Finding, fine, problem, warning
from reliable_imports.preflight.questions import ask

_PREFLIGHT = load("preflight.sql")

_OLDEST = 120_000
_CLOCKS_APART_SECONDS = 5.0
_LITTLE_ROOM = 1024**3
_NO_ROOM = 64 * 1024**2
_MAX_BATCHES = 5


def check_server(connection: Connection) -> Iterator[Finding]:
    asked = time.time()
    [(name, version, number, encoding, is_read_only, clock, _)] = ask(connection, _PREFLIGHT["server"])
    here = (asked + time.time()) / 2
    if number < _OLDEST:
        yield problem("server", f"PostgreSQL {version} is too old", "use PostgreSQL 12 or newer")
    elif is_read_only:
        yield problem("server", f"PostgreSQL {version} takes no writes", "name the primary server in the DSN")
    else:
        yield fine("server", f"PostgreSQL {version}")
    if encoding != "UTF8":
        yield problem(
            "database", f"{name} is in {encoding}", f"CREATE DATABASE {name}_utf8 ENCODING 'UTF8' TEMPLATE template0"
        )
    else:
        yield fine("database", f"{name} is in UTF8")
    apart = clock - here
    if abs(apart) > _CLOCKS_APART_SECONDS:
        order = "ahead of" if apart > 0 else "behind"
        yield warning(
            "clock",
            f"the server's clock is {abs(apart):.0f} s {order} this machine's, so times in logs do not agree",
            "let both keep time by NTP",
        )
    else:
        yield fine("clock", f"the server's and this machine's agree to {max(abs(apart), 0.1):.1f} s")


def check_schema(connection: Connection, *, migrates: bool) -> tuple[bool, list[Finding]]:
    """Whether the schema is as this release needs it, and what was found.

    Args:
        migrates: commands bring it up to date by themselves.
    """
    try:
        missing = schema.pending(connection).added
    except SchemaTooNew as error:
        return False, [problem("schema", str(error), "install the release that migrated it")]
    if not missing:
        return True, [fine("schema", "up to date")]
    if not migrates:
        told = f"{len(missing)} changes are missing, and RELIABLE_IMPORTS_MIGRATE is no"
        return False, [problem("schema", told, "reliable-imports migrate")]
    [(*_, may_create)] = ask(connection, _PREFLIGHT["server"])
    if not may_create:
        told = f"{len(missing)} changes are missing, and this role has no CREATE on the database"
        return False, [problem("schema", told, "let a role that has it run `reliable-imports migrate`")]
    return False, [fine("schema", f"the next command makes its {len(missing)} changes")]


def check_rights(connection: Connection) -> Finding:
    missing = ask(connection, _PREFLIGHT["rights_on_schema"])
    if not missing:
        return fine("rights", "this role may do what a run does in schema reliable_imports")
    told = ", ".join(f"{privilege} on {table}" for table, privilege in missing[:_MAX_BATCHES])
    return problem(
        "rights", f"this role lacks {told}", "grant USAGE on the schema and SELECT, INSERT, UPDATE on its tables"
    )


def check_batches(connection: Connection, batch_type: str | None) -> Iterator[Finding]:
    stalled = ask(connection, _PREFLIGHT["stalled_batches"], {"batch_type": batch_type})
    paused = ask(connection, _PREFLIGHT["paused_batches"], {"batch_type": batch_type})
    for number, kind, items in stalled[:_MAX_BATCHES]:
        yield warning(
            "batches",
            f"nobody works on batch {number} of {kind} any more, with {items:,} items open",
            f"reliable-imports process {number}",
        )
    for number, kind in paused[:_MAX_BATCHES]:
        yield warning("batches", f"batch {number} of {kind} is paused", f"reliable-imports status {number}")
    more = len(stalled[_MAX_BATCHES:]) + len(paused[_MAX_BATCHES:])
    if more:
        yield warning("batches", f"{more:,} more are stuck or paused", "reliable-imports batches --status paused")
    if not stalled and not paused:
        yield fine("batches", "none is stuck or paused")


def check_disk(folder: Path) -> Finding:
    """Whether the embedded server has room for its data."""
    there = next(each for each in (folder, *folder.parents) if each.exists())
    free = shutil.disk_usage(there).free
    told = f"{free / 1024**3:,.1f} GiB are free for the embedded server"
    if free < _NO_ROOM:
        return problem("disk", told, f"make room on the disk of {there}")
    if free < _LITTLE_ROOM:
        return warning("disk", told, f"make room on the disk of {there}, or name another by RELIABLE_IMPORTS_HOME")
    return fine("disk", told)
