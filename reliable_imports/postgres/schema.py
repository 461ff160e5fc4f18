"""Brings the schema `reliable_imports` up to date, by whoever comes first.

Tables are changed by numbered migrations, once each. Functions and views are defined anew whenever their text differs
from what was applied last. All of it is one transaction.

Programs of two releases may use one database: workers of the older one go on while the newer one migrates. So a
function that is called otherwise gets a new name, and the database notes which release brought what. An older program
changes nothing in the schema of a newer one, and goes on with it while all that it calls is there.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import psycopg2
import psycopg2.errors

from reliable_imports.errors import SchemaNotReady, SchemaTooNew, UnsupportedDatabase
from reliable_imports.log import logger
from reliable_imports.postgres.connect import Connection, connect, transaction
from reliable_imports.postgres.program import Definition, Migration, Program, release_order, this_program
from reliable_imports.postgres.queries import load

# One lock for all that changes the schema; the number is arbitrary and must stay the same for ever.
ADVISORY_LOCK = 7_205_759_403

PATIENCE_SECONDS = 60.0
_TURN_SECONDS = 0.1

_SCHEMA = load("schema.sql")


def migrate(dsn: str, program: Program | None = None, *, on_wait: Callable[[], None] | None = None) -> list[str]:
    """Bring the schema up to date; return the names of the migrations, functions and views that were applied now.

    All of them are committed together. Safe to repeat and to call from several processes at once: they take turns
    under one advisory lock, and wait for as long as the one before takes. Safe while batches are worked, too: a change
    of a table that is in use is given up after two seconds, so that nobody queues behind it, and tried again for a
    minute. What is up to date costs one query.

    Args:
        program: whose schema it is to be, this release's if not given.
        on_wait: called once if another process has its turn, before this one waits for it.

    Raises:
        UnsupportedDatabase: the database is not in UTF8.
        SchemaTooNew: a later release has migrated the database, and what this one calls is not there any more.
        psycopg2.errors.LockNotAvailable: a table was in use all that time; nothing was changed.
    """
    program = program or this_program()
    until: float | None = None
    while True:
        try:
            with connect(dsn) as connection:
                if not _applied(connection).changes_for(program).are_any:
                    return []
                return _apply(connection, program, on_wait)
        except (psycopg2.errors.LockNotAvailable, psycopg2.errors.DeadlockDetected):
            until = until or time.monotonic() + PATIENCE_SECONDS
            if time.monotonic() > until:
                raise
            time.sleep(random.uniform(0.1, 1))


def require_migrated(dsn: str, program: Program | None = None) -> None:
    """Raise SchemaNotReady or SchemaTooNew if the program cannot work with the schema; change nothing. One query."""
    program = program or this_program()
    with connect(dsn) as connection:
        applied = _applied(connection)
    missing = applied.changes_for(program).added
    if missing:
        raise SchemaNotReady(missing if applied.migrations else None)


def pending(connection: Connection) -> Changes:
    """What this release would change in the schema.

    Raises:
        SchemaTooNew: a later release has migrated the database, and this one cannot work with it.
    """
    return _applied(connection).changes_for(this_program())


@dataclass(frozen=True)
class Changes:
    """What a program has to change in a schema."""

    migrations: tuple[Migration, ...] = ()
    definitions: tuple[Definition, ...] = ()
    """Functions and views that are not there, or have another text."""
    superseded: tuple[str, ...] = ()
    """Functions and views that an earlier release has brought and this one does not have."""

    @property
    def added(self) -> list[str]:
        return [*(each.name for each in self.migrations), *(each.name for each in self.definitions)]

    @property
    def are_any(self) -> bool:
        return bool(self.migrations or self.definitions or self.superseded)


@dataclass(frozen=True)
class Applied:
    """What a database has."""

    migrations: Mapping[int, str | None]
    """By number: the oldest release that can work with it, if its migration says so."""
    definitions: Mapping[str, tuple[str, str]]
    """By name of the function or view: its checksum, and the release that migrated last."""

    def changes_for(self, program: Program) -> Changes:
        """What *program* has to change before it can go on. Nothing in the schema of a later release.

        Raises:
            SchemaTooNew: a later release has migrated, and *program* cannot go on with what it has left.
        """
        changes = Changes(
            tuple(migration for migration in program.migrations if migration.number not in self.migrations),
            tuple(
                definition
                for definition in program.definitions
                if self.definitions.get(definition.name, ("", ""))[0] != definition.checksum
            ),
            tuple(sorted(self.definitions.keys() - {definition.name for definition in program.definitions})),
        )
        release = release_order(program.release)
        later = {brought_by for _, brought_by in self.definitions.values() if release_order(brought_by) > release}
        unknown = self.migrations.keys() - {migration.number for migration in program.migrations}
        if not later and not unknown:
            return changes
        needed = {needs for needs in self.migrations.values() if needs and release_order(needs) > release}
        gone = [
            *(migration.name for migration in changes.migrations),
            *(definition.name for definition in changes.definitions if definition.name not in self.definitions),
        ]
        if needed or gone:
            raise SchemaTooNew(program.release, max(later | needed, key=release_order, default=None), gone)
        return Changes()


def _applied(connection: Connection) -> Applied:
    with connection.cursor() as cursor:
        try:
            return _read_applied(cursor)
        except psycopg2.errors.UndefinedTable:
            return Applied({}, {})


def _read_applied(cursor: Any) -> Applied:
    cursor.execute(_SCHEMA["applied"])
    rows = cursor.fetchall()
    return Applied(
        {number: release for number, _, _, release in rows if number is not None},
        {name: (checksum, release) for number, name, checksum, release in rows if number is None},
    )


def _apply(connection: Connection, program: Program, on_wait: Callable[[], None] | None) -> list[str]:
    with transaction(connection) as cursor:
        cursor.execute(_SCHEMA["encoding"])
        database, encoding = cursor.fetchone()
        if encoding != "UTF8":
            raise UnsupportedDatabase(database, encoding)
        _wait_for_turn(cursor, on_wait)
        cursor.execute(_SCHEMA["make_bookkeeping"])
        migrations = _read_applied(cursor).changes_for(program).migrations  # somebody else may have come first
        cursor.execute(_SCHEMA["rights_on_views"])
        rights = cursor.fetchall()
        for migration in migrations:
            cursor.execute(migration.sql)
            cursor.execute(
                _SCHEMA["note_migration"],
                {"number": migration.number, "name": migration.name, "needs_release": migration.needs_release},
            )
        changes = _read_applied(cursor).changes_for(program)  # a migration may have dropped views that were in its way
        _define(cursor, changes, program)
        _drop(cursor, list(changes.superseded))
        _note_release(cursor, program)
        _grant_again(cursor, rights)
    return [*(each.name for each in migrations), *(each.name for each in changes.definitions)]


def _wait_for_turn(cursor: Any, on_wait: Callable[[], None] | None) -> None:
    """Asks again and again, and not once for long: whoever waits can be interrupted, and no lock_timeout ends it."""
    is_told = False
    while True:
        cursor.execute(_SCHEMA["take_turn"], {"lock": ADVISORY_LOCK})
        if cursor.fetchone() == (True,):
            return
        if not is_told:
            logger.warning("waiting for another process that changes the schema or sets up its tables")
            if on_wait is not None:
                on_wait()
        is_told = True
        time.sleep(_TURN_SECONDS)


def _define(cursor: Any, changes: Changes, program: Program) -> None:
    cursor.execute("SAVEPOINT definitions")
    try:
        for definition in changes.definitions:
            cursor.execute(definition.sql)
    except psycopg2.errors.InvalidTableDefinition:
        # A view that is replaced must keep its columns. Views stand on each other, so all of them are made anew.
        cursor.execute("ROLLBACK TO SAVEPOINT definitions")
        views = [definition.name for definition in program.definitions if definition.is_view]
        cursor.execute(_SCHEMA["drop_views"], {"names": [*views, *changes.superseded]})
        for definition in program.definitions:
            if definition.is_view or definition in changes.definitions:
                cursor.execute(definition.sql)


def _note_release(cursor: Any, program: Program) -> None:
    """Write down whose functions and views are there now; those too that a release before had brought as they are."""
    for definition in program.definitions:
        cursor.execute(
            _SCHEMA["note_definition"],
            {"name": definition.name, "checksum": definition.checksum, "release": program.release},
        )


def _drop(cursor: Any, names: list[str]) -> None:
    cursor.execute(_SCHEMA["drop_views"], {"names": names})
    cursor.execute(_SCHEMA["drop_functions"], {"names": names})
    cursor.execute(_SCHEMA["forget_definitions"], {"names": names})


def _grant_again(cursor: Any, rights: list[tuple[str, int, str | None, str]]) -> None:
    """Say again who owns the views that were made anew, and who may read them."""
    cursor.execute(_SCHEMA["columns_of_views"])
    made = {name: (oid, columns) for name, oid, columns in cursor.fetchall()}
    for view, old_oid, column, statement in rights:
        oid, columns = made.get(view, (old_oid, []))
        if oid != old_oid and (column is None or column in columns):
            cursor.execute(statement)
