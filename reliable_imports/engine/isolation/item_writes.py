"""What one item may do to the database, kept apart from what its neighbours do."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import psycopg2
from psycopg2 import sql

from reliable_imports.engine.isolation.as_statements import statements_of
from reliable_imports.engine.isolation.chunk_writes import ChunkWrites
from reliable_imports.engine.isolation.item_record import ItemRecord
from reliable_imports.engine.isolation.statements import AS_IT_IS, Repetition
from reliable_imports.errors import ContextMisuse
from reliable_imports.postgres.error_sorting import Fault, fault_of
from reliable_imports.postgres.queries import load
from reliable_imports.postgres.statement import changes_session, is_blind_write, transaction_command
from reliable_imports.writes.identifiers import quoted, quoted_table
from reliable_imports.writes.plan import Plan
from reliable_imports.writes.request import WriteRequest
from reliable_imports.writes.values import as_parameter

_WRITES = load("writes.sql")


class ItemWrites(ItemRecord, eq=False, kw_only=True):
    """The writes of one item, which an ImportContext passes on, and their end: complete or undone."""

    chunk: ChunkWrites

    # What the processor does

    def execute(self, statement: str | sql.Composable, params: Any = None, *, hides_rows: bool = False) -> Any:
        """Run a statement of the item and return the cursor; what the item has declared before goes first.

        Args:
            hides_rows: of what it returns, the item gets nothing but how many rows there are.

        Raises:
            ContextMisuse: the statement would end the transaction that the item shares with others.
            psycopg2.Error: as the server says.
        """
        transaction = self.chunk.transaction
        transaction.begin()
        text = statement if isinstance(statement, str) else statement.as_string(transaction.connection)
        if command := transaction_command(text):
            raise ContextMisuse(
                f"{command} is not for a processor: its writes and its outcome are committed together by the framework"
            )
        self.changed_session = self.changed_session or changes_session(text)
        self.ran_statements = True
        is_blind = is_blind_write(text, hides_rows=hides_rows)
        given = text
        # Before anything is sent: what cannot be adapted or encoded is then an error of Python alone.
        if params is not None:
            text = transaction.mogrify(text, params)
        elif not text.isascii():
            text.encode()
        self.raise_if_ignored()
        if self.changed_session or (is_blind and not self.chunk.savepoints.give_numbers):
            return self._run(text, is_blind=is_blind)
        repetition = self.chunk.statements.repetition(given, params, text, transaction)
        return self._run(text, repetition, is_blind=is_blind)

    def look_up(self, table: str, key: Mapping[str, Any], column: str) -> Any:
        """The column of the row whose columns equal the key, a None too; None without a row.

        `IS NOT DISTINCT FROM` says the same, but no index serves it.
        """
        conditions = " AND ".join(
            f"{_name(each)} IS NULL" if value is None else f"{_name(each)} = %s" for each, value in key.items()
        )
        statement = f"SELECT {_name(column)} FROM {quoted_table(table).replace('%', '%%')} WHERE {conditions} LIMIT 1"
        ran_statements = self.ran_statements
        row = self.execute(statement, [as_parameter(each) for each in key.values() if each is not None]).fetchone()
        self.ran_statements = ran_statements  # it was ours, and wrote nothing
        return None if row is None else row[0]

    def declare(self, request: WriteRequest, values: Collection[Any]) -> None:
        """Write a row later, together with others; *values* are in the order of the request's columns."""
        self.declared.append(self.plan(request).write(values))

    def write_returning(self, request: WriteRequest, values: Collection[Any], returning: str) -> Any:
        """Write a row at once, and return a column of it as it stands then; of a row that was left, as it stood."""
        plan = self.plan(request)
        write = plan.write(values)
        # What the client cannot know of the row, the server has to tell.
        told = write.needs_telling or self.origin is not None or (plan.key.exists and write.key is None)
        repetition = None
        if told:
            text = plan.telling_statement(write, self.origin, returning)
            text = f"{_WRITES['forget_what_was_met']}; {text}"
        else:
            text = plan.statement(write, returning)
            if not (write.expressions or self.changed_session):
                self.raise_if_ignored()
                form = plan.form(returning)
                repetition = self.chunk.statements.repetition(form, None, text, self.chunk.transaction)
        images = self.chunk.images
        if images is not None:
            self._run("SELECT")  # what was declared before goes first
            images.before([(self, write)])
        try:
            row = self._run(text, repetition).fetchone()
        except psycopg2.Error:
            self.refused = self.refused or (write,)
            raise
        if images is not None:
            images.after()
        if not told:
            self.written += (write,)
        elif row is not None:
            *keys, value = row
            self.note(write, "moved" if False in keys[1:] else "written", keys[0] if keys else None)
            return value
        else:
            ((met,),) = self._send(_WRITES["what_was_met"]).fetchall()
            self.note(write, met or "left out", None)
        if row is not None:
            return row[0]
        if not plan.key.exists or not plan.key.is_in_row:
            return None
        self.was_answered = True
        row = self._send(plan.standing_row(write, returning)).fetchone()
        return None if row is None else row[0]

    # How it ends

    def complete(self) -> None:
        """The item has ended well: it can no longer be undone alone. What it has declared may wait for others.

        Raises:
            psycopg2.Error: one of its writes or deferred constraints was refused.
            ContextMisuse: it caught an error of the server and went on as if nothing had happened.
        """
        if self.sent is None:
            if self.declared:
                self.chunk.queue_declared(self)
            return
        self.write_now()
        self.chunk.savepoints.complete(self)

    def write_now(self) -> None:
        """Send what is declared, and check deferred constraints; the item can still be undone. Raises as `complete`."""
        self.raise_if_ignored()
        if self.sent is None:
            if not self.declared:
                return
            self.chunk.flush_declared()
            if self.needs_telling:
                self.chunk.savepoints.close()
            self.chunk.savepoints.open(self)
        else:
            self.chunk.transaction.require_open()
        if self.declared:
            self._send_declared()
        if self.chunk.check_deferred_sql:
            try:
                self._send(self.chunk.check_deferred_sql, AS_IT_IS)
            except psycopg2.Error:
                self.waits_for_others = True
                raise

    def undo(self) -> None:
        """Take back whatever the item did, and nothing of what others did."""
        self.declared = []
        self.chunk.savepoints.undo(self)

    def raise_if_not_the_items(self) -> None:
        """Whatever the processor made of it: an error of the server that is not the item's is not booked as its own."""
        transaction = self.chunk.transaction
        if transaction.error is not None:
            raise transaction.error
        if self.chunk.declared.lost is not None:
            raise self.chunk.declared.lost
        if self.error is not None and fault_of(self.error, transaction.connection) is not Fault.ITEM:
            raise self.error

    # For the framework

    def plan(self, request: WriteRequest) -> Plan:
        """How a kind of row is written; asks the catalogue the first time.

        Raises:
            UnusableTarget: the table cannot be written to in this way.
        """
        plans = self.chunk.plans
        known = plans.find(request)
        if known is not None and not self.changed_session:
            return known
        self.raise_if_ignored()
        transaction = self.chunk.transaction
        table = {"table": quoted_table(request.table)}
        if known is not None:
            # To this item the name may mean another table.
            named = transaction.send_for_all(transaction.mogrify(_WRITES["resolved_table"], table)).fetchone()
            if named == (known.target.oid,):
                return known
            plans.forget()
        target = plans.target(request.table)
        if target is None:
            described = transaction.send_for_all(transaction.mogrify(_WRITES["describe_target"], table)).fetchone()
            target = plans.learn(request.table, described[0])
        return plans.make(request, target, transaction.connection.server_version)

    def newer_writer(self, row_key: int) -> tuple[int, int] | None:
        """The batch and number of an item that was delivered later than this repeated one and wrote the same key.

        What the item did is sent first: then the rows are locked, and whatever was there before has been committed.
        """
        assert self.origin is not None
        self.write_now()
        self.was_answered = True  # the answer may be another one the next time
        transaction = self.chunk.transaction
        parameters = {
            "row_key": row_key,
            "origin_batch_id": self.origin.batch_id,
            "origin_item_number": self.origin.item_number,
        }
        row = transaction.send_for_all(transaction.mogrify(_WRITES["find_newer"], parameters)).fetchone()
        return None if row is None else (row[0], row[1])

    def _run(self, text: str, repetition: Repetition | None = None, *, is_blind: bool = False) -> Any:
        """Send SQL of the item and return the cursor; its declared writes go first.

        Args:
            repetition: how it is repeated so that it does and answers the same; None if that is not sure.
            is_blind: the item is told nothing but how many rows were touched.
        """
        self.raise_if_ignored()
        chunk = self.chunk
        savepoints = chunk.savepoints
        chunk.flush_declared()
        if self.declared and self.needs_telling:
            is_blind, repetition = False, None
        if not is_blind and repetition is None:
            self.was_answered = True
        if not is_blind and self.sent is None and (repetition is None or savepoints.are_unsure):
            savepoints.close()
        savepoints.open(self)
        if self.declared:
            self._send_declared()
        return savepoints.send(self, text, repetition)

    def _send(self, text: str, repetition: Repetition | None = None) -> Any:
        return self.chunk.savepoints.send(self, text, repetition)

    def _send_declared(self) -> None:
        text, answers = statements_of(self, self.chunk.transaction)
        writes, self.declared = self.declared, []
        images = self.chunk.images
        if images is not None:
            images.before([(self, write) for write in writes])
        try:
            cursor = self._send(text)
        except psycopg2.Error:
            self.refused = tuple(writes)
            raise
        told = cursor.fetchall() if answers else []
        if images is not None:
            images.after()
        if not answers:
            self.written += tuple(writes)
            return
        self.was_answered = True
        for write, (verdict, row_key) in zip(writes, told, strict=True):
            self.note(write, verdict, row_key)


def _name(column: str) -> str:
    """Quoted for a statement that takes parameters: a `%` would be taken for one."""
    return quoted(column).replace("%", "%%")
