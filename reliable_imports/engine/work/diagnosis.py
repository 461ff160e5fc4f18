"""What is kept of a failure. Where an error of the server does not say what it is about, the server is asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import psycopg2

from reliable_imports.engine.isolation.chunk_writes import ChunkWrites
from reliable_imports.engine.isolation.write_error import WriteError
from reliable_imports.engine.work.attempt import Attempt
from reliable_imports.engine.work.user_code import UserCode
from reliable_imports.items.failure import Failure, Named, Refused, exception_failure, server_failure
from reliable_imports.items.fingerprint import server_places
from reliable_imports.postgres.queries import load
from reliable_imports.statuses import Stage
from reliable_imports.writes.plan import Write
from reliable_imports.writes.refusals import (
    cells_of,
    is_raised_by_code,
    named_by_server,
    named_by_target,
    names_no_column,
    refusals,
    refusals_query,
)

_WRITES = load("writes.sql")


class Diagnosis:
    """Tells the causes of the failures of one chunk's items."""

    def __init__(self, code: UserCode, batch_type: str, writes: ChunkWrites) -> None:
        self._code = code
        self._batch_type = batch_type
        self._names = writes.plans.names
        self._transaction = writes.transaction
        self._bodies: dict[str, str] = {}

    def of_exception(self, attempt: Attempt, error: BaseException) -> Failure:
        """What the item's code has raised; whatever the item has written must be undone."""
        named, refused = None, attempt.writes.refused
        bodies: Mapping[str, str] = {}
        columns: Sequence[Refused] = ()
        if isinstance(error, psycopg2.Error) and error.pgcode:
            diag = error.diag
            named = self._named(diag.schema_name, diag.table_name, diag.constraint_name, refused)
            if _is_to_be_asked(error.pgcode, diag.table_name, diag.column_name, diag.constraint_name, diag.context):
                columns = self._refused_columns([refused]).get(0, ())
            bodies = self._bodies_of(diag.context)
        return exception_failure(
            self._batch_type,
            attempt.stage,
            error,
            source_data=attempt.source_data,
            team=self._code.team,
            named=named,
            refused=columns,
            bodies=bodies,
            is_declared=bool(refused),
            retryable=isinstance(error, self._code.processor.transient_errors),
        )

    def of_refused_writes(self, refused: Sequence[tuple[Attempt, WriteError]]) -> list[Failure]:
        """What the server says of declared writes that were sent together."""
        columns = self._refused_columns(
            [
                error.item.declared
                if _is_to_be_asked(error.sqlstate, error.table, error.column, error.constraint, error.context)
                else ()
                for _, error in refused
            ]
        )
        return [
            self._of_refused_write(attempt, error, columns.get(place, ()))
            for place, (attempt, error) in enumerate(refused)
        ]

    def _of_refused_write(self, attempt: Attempt, error: WriteError, columns: Sequence[Refused]) -> Failure:
        return server_failure(
            self._batch_type,
            Stage.WRITE,
            sqlstate=error.sqlstate,
            message=error.message,
            detail=error.detail,
            table=error.table or None,
            column=error.column or None,
            constraint=error.constraint or None,
            context=error.context,
            named=self._named(error.schema, error.table, error.constraint, error.item.declared),
            refused=columns,
            bodies=self._bodies_of(error.context),
            source_data=attempt.source_data,
        )

    def _bodies_of(self, context: str | None) -> Mapping[str, str]:
        """The text of the functions in the database that an error came out of; asked once for each."""
        for function in dict.fromkeys(place.function for place in server_places(context)):
            if function not in self._bodies:
                rows = self._transaction.ask(
                    self._transaction.mogrify(_WRITES["function_body"], {"function": function})
                )
                self._bodies[function] = rows[0][0] if rows and rows[0][0] else ""
        return self._bodies

    def _named(
        self, schema: str | None, table: str | None, constraint: str | None, refused: Sequence[Write]
    ) -> Named | None:
        """What a table and a constraint are called for all partitions alike; asked once for each.

        Args:
            refused: the writes that the error is about, if it is about such.
        """
        if not schema or not table:
            return _target_of(refused)
        facts = (schema, table, constraint or None)
        if facts not in self._names:
            for write in refused:
                if named := named_by_target(write.plan.target, *facts):
                    self._names[facts] = named
                    return named
            asked = {"schema": schema, "table": table, "constraint": constraint or None}
            rows = self._transaction.ask(self._transaction.mogrify(_WRITES["root_names"], asked))
            self._names[facts] = named_by_server(rows[0] if rows else None, table, constraint or None)
        return self._names[facts]

    def _refused_columns(self, writes: Sequence[Sequence[Write]]) -> Mapping[int, Sequence[Refused]]:
        """Of items whose writes were refused, by place: the columns that refuse their values."""
        cells = [cell for place, each in enumerate(writes) for cell in cells_of(place, each)]
        if not cells:
            return {}
        rows = self._transaction.ask(refusals_query(cells, self._transaction.connection.server_version))
        return refusals(cells, rows[0][0] if rows else None)


def _is_to_be_asked(
    sqlstate: str, table: str | None, column: str | None, constraint: str | None, context: str | None
) -> bool:
    """Whether to ask which column an error is about."""
    names_none = names_no_column(sqlstate, table or None, column or None, constraint or None)
    return names_none and not is_raised_by_code(context)


def _target_of(writes: Sequence[Write]) -> Named | None:
    """The table, where an error names none."""
    tables = {write.plan.target.root for write in writes}
    return Named(tables.pop()) if len(tables) == 1 else None
