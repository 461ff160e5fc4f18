"""What the statements for one row and those for many have in common: the parts of an INSERT, and of an upsert."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from reliable_imports.writes.identifiers import quoted
from reliable_imports.writes.key import Key
from reliable_imports.writes.request import WriteRequest
from reliable_imports.writes.target import Column, Target


class Insert:
    """The parts of statements that write rows with some columns to a table.

    In them `stands` is a row of the table, and EXCLUDED the row that meets it.

    Attributes:
        into: INSERT INTO, up to the columns.
        existing: what becomes of a row that is there, as the processor has asked for.
        is_upsert: a row that meets another one takes its place, or leaves it as it is.
        on_conflict: what makes an upsert of it; empty if it is none.
        updated: the columns that an upsert writes to the row that it meets.
    """

    def __init__(self, request: WriteRequest, target: Target, columns: Sequence[Column], key: Key) -> None:
        self.existing = request.existing
        self._target = target
        self._columns = columns
        self._key = key
        self.updated = [
            column
            for column in columns
            if column.name not in key.plain_columns
            and column.name not in request.never_updated
            and column.name not in request.defaulted
            and not column.is_always_identity
        ]
        names = ", ".join(quoted(column.name) for column in columns)
        overriding = " OVERRIDING SYSTEM VALUE" if any(column.is_always_identity for column in columns) else ""
        self.into = f"INSERT INTO {target.name} AS stands ({names}){overriding} "
        self.is_upsert = key.index is not None or (
            request.key is not None and target.is_view and not target.takes_plain_inserts
        )
        where = "" if request.existing == "rewrite" else f" WHERE {self._differs()}"
        self.on_conflict = self._do_update() + where if self.is_upsert else ""

    def on_conflict_tell(self, origin: str) -> str:
        """Like `on_conflict`, but it leaves in a setting what the row has met; see `may_update`.

        Args:
            origin: SQL for the two numbers of an origin; what was delivered after it is not overwritten.
        """
        differs = {"update": self._differs(), "rewrite": "true", "keep": "NULL"}[self.existing]
        may_update = f"reliable_imports.may_update_v1({differs}, {self._key.hash_of_row('stands')}, {origin})"
        return f"{self._do_update()} WHERE {may_update}"

    def typed(self, texts: Sequence[str], expressions: Iterable[tuple[int, str]]) -> list[str]:
        """SQL for the values of the columns, of SQL for their texts."""
        typed = [f"{text}::{column.type.cast}" for text, column in zip(texts, self._columns, strict=True)]
        for place, expression in expressions:
            typed[place] = expression.format(texts[place])
        return typed

    def _do_update(self) -> str:
        assignments = ", ".join(f"{name} = EXCLUDED.{name}" for name in self._names_updated())
        if not assignments:  # the server wants one, and takes none of a column that it numbers itself
            known = self._target.columns
            columns = [known[name] for name in (*sorted(self._key.columns), *known)]
            same = next((each for each in columns if not each.is_always_identity and not each.is_generated), columns[0])
            assignments = f"{quoted(same.name)} = stands.{quoted(same.name)}"
        return f" ON CONFLICT {self._key.arbiter()} DO UPDATE SET {assignments}"

    def _differs(self) -> str:
        """Compared as stored, byte by byte: every type has that, and 1.0 is not 1.00."""
        names = self._names_updated()
        if not names:
            return "false"
        stands = ", ".join(f"stands.{name}" for name in names)
        given = ", ".join(f"EXCLUDED.{name}" for name in names)
        return f"ROW({stands})::record OPERATOR(pg_catalog.*<>) ROW({given})::record"

    def _names_updated(self) -> list[str]:
        return [quoted(column.name) for column in self.updated]
