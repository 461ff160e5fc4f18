"""Statements for many rows of a kind: of all that one INSERT takes, and of those that are left."""

from __future__ import annotations

import itertools
import secrets
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from typing import NamedTuple

from reliable_imports.postgres.queries import load
from reliable_imports.writes.identifiers import literal, quoted
from reliable_imports.writes.insert import Insert
from reliable_imports.writes.joined_texts import cut, joined
from reliable_imports.writes.key import Key
from reliable_imports.writes.origin import Origin, arrays_of
from reliable_imports.writes.prediction import NEWER, UNREADABLE, Prediction, Refusal
from reliable_imports.writes.row_texts import Expressions
from reliable_imports.writes.target import Column, Target

_WRITES = load("writes.sql")


class _RowsGiven(NamedTuple):
    """Rows as texts.

    Attributes:
        query: a SELECT of all of them.
        texts: the names of its columns of texts.
        place: the name of the column that counts the rows.
    """

    query: str
    texts: Sequence[str]
    place: str

    def as_text(self, origins: tuple[str, str] | None) -> str:
        """SQL that joins rows into one text: of each its place, the numbers of its origin, and its texts.

        Args:
            origins: SQL for arrays of the numbers, by place; None if rows are not guarded.
        """
        numbers = [f"({array})[{self.place}]::text" for array in origins or ()]
        cells = f"ARRAY[{', '.join([f'{self.place}::text', *numbers, *self.texts])}]"
        return joined(f"pg_catalog.array_agg({cells} ORDER BY {self.place})")


class ManyRows:
    """Writes many rows with some columns to a table.

    Their texts are given by `columns_of_texts`, and their origins in the same order. In the statements `texts` are the
    rows as texts, and `given` are those of them that can be read, with the typed columns.

    Attributes:
        spares_sequence: rows that are there already must not take numbers from a sequence.
    """

    def __init__(
        self, target: Target, columns: Sequence[Column], key: Key, insert: Insert, prediction: Prediction
    ) -> None:
        self._target = target
        self._columns = [column.name for column in columns]
        self._key = key
        self._insert = insert
        self._prediction = prediction
        self.spares_sequence = (
            insert.existing == "update"
            and key.is_plain
            and key.is_in_row
            and any(column.has_sequence for name, column in target.columns.items() if name not in self._columns)
            and self._is_known_what_refuses(columns)
        )

    def statement_of_all(
        self,
        columns: Sequence[str],
        expressions: Expressions,
        origins: Sequence[Origin | None],
        suspected: AbstractSet[Refusal],
        *,
        told: str,
        rows_left: str,
    ) -> str:
        """A statement that writes the rows at once, but for those that are suspected.

        See `write_as_one_v1`.

        Args:
            expressions: those that all of the rows have.
            origins: of the rows' items.
            suspected: the refusals that are looked for.
            told: the name of the setting that holds the answer afterwards.
            rows_left: likewise, of the rows that are left.
        """
        is_guarded = self._guards(origins)
        texts = [f"columns[{number}]" for number in range(1, len(columns) + 1)]
        # The planner copies a parameter wherever it stands, and these are all texts of all rows.
        given = self._rows_given(texts, len(origins), " FROM (SELECT $1 AS columns OFFSET 0) AS given")
        numbers = arrays_of(origins) if is_guarded else None
        left = given.as_text(numbers and ("$2", "$3"))
        insert = self._insert_of_all(given, left, expressions, suspected, is_guarded=is_guarded)
        batches, items = numbers or ("NULL", "NULL")
        return _WRITES["write_as_one"].format(
            statement=literal(insert),
            columns=", ".join(map(literal, columns)),
            origin_batches=batches,
            origin_items=items,
            told=literal(told),
            rows_left=literal(rows_left),
        )

    def statement_of_none(
        self, columns: Sequence[str], origins: Sequence[Origin | None], *, told: str, rows_left: str
    ) -> str:
        """Like `statement_of_all`, but all rows are left."""
        given = self._rows_given(list(map(literal, columns)), len(origins))
        left = given.as_text(arrays_of(origins) if self._guards(origins) else None)
        return _WRITES["leave_rows"].format(
            rows=f"SELECT {left} FROM ({given.query}) AS texts", told=literal(told), rows_left=literal(rows_left)
        )

    def block_of_the_rest(
        self,
        expressions: Expressions,
        origins: Sequence[Origin | None],
        suspected: AbstractSet[Refusal],
        *,
        told: str,
        rows_left: str,
        together: int,
    ) -> str:
        """A block that writes the rows one by one that the statement of all has left, and tells which are refused, and
        which are left for newer data.

        Nobody may have altered the table since the plan was made: the block raises RI002 then. See `write_left_rows`.

        Args:
            expressions: those that all of the rows have.
            origins: of all rows' items.
            suspected: what the statement of all has looked for.
            together: how many rows share a subtransaction at most.
        """
        is_guarded = self._guards(origins)
        width = len(self._columns) + (3 if is_guarded else 1)
        cells = [f"cells[at + {number}]" for number in range(width - len(self._columns) + 1, width + 1)]
        insert = f"{self._insert.into}VALUES ({', '.join(self._insert.typed(cells, expressions))})"
        if is_guarded:
            # What stands behind ON CONFLICT may name columns of the table.
            origin = "block.cells[block.at + 2]::bigint, block.cells[block.at + 3]::bigint"
            insert += f"{self._insert.on_conflict_tell(origin)}; {_WRITES['note_fate'].format(width=width)}"
        else:
            insert += self._insert.on_conflict
        return _WRITES["write_left_rows"].format(
            tag=f"$rows_{secrets.token_hex(8)}$",
            table=self._target.name,
            unaltered=self._unaltered(),
            together=together,
            in_the_way=self._prediction.in_the_way(suspected),
            insert=insert,
            told=literal(told),
            cells=cut(f"pg_catalog.current_setting({literal(rows_left)})"),
            width=width,
        )

    def _guards(self, origins: Sequence[Origin | None]) -> bool:
        """Whether rows of such items must not overwrite what was delivered later."""
        return self._key.exists and any(origins)

    def _rows_given(self, columns: Sequence[str], count: int, source: str = "") -> _RowsGiven:
        """
        Args:
            columns: SQL for the joined texts of each.
            source: a FROM clause that has them.
        """
        texts = [f"c{number}" for number in range(1, len(columns) + 1)]
        place = quoted(next(name for name in map("place{}".format, itertools.count()) if name not in self._columns))
        parts = [f"pg_catalog.unnest({cut(column)}) AS {text}" for column, text in zip(columns, texts, strict=True)]
        parts.append(f"pg_catalog.generate_series(1, {count}) AS {place}")
        return _RowsGiven(f"SELECT {', '.join(parts)}{source}", texts, place)

    def _insert_of_all(
        self,
        rows: _RowsGiven,
        left: str,
        expressions: Expressions,
        suspected: AbstractSet[Refusal],
        *,
        is_guarded: bool,
    ) -> str:
        """A statement that inserts all rows but those that are suspected, and returns these.

        If rows are guarded, it also returns the places of the rows that it inserts, and their keys.

        Args:
            left: an aggregate of rows into what is returned.
            suspected: the refusals that are looked for.
        """
        query, texts, place = rows
        names = [quoted(name) for name in self._columns]
        typed = self._insert.typed(texts, expressions)
        given = ", ".join(f"{each} AS {name}" for each, name in zip(typed, names, strict=True))
        unreadable = None
        if UNREADABLE in suspected:
            unreadable = self._prediction.unreadable(texts, [number for number, _ in expressions])
        suspects = self._prediction.suspects(suspected, place)
        looks_for_newer = is_guarded and NEWER in suspected and self._key.is_plain
        if looks_for_newer:
            stands = f"EXISTS ({self._standing_row()})"
            suspects.append(f"SELECT {place} FROM given WHERE {place} IN (TABLE newer) AND {stands}")
        # What is read more than once is made once.
        is_made = suspects or unreadable is not None or is_guarded or self.spares_sequence
        made = "AS MATERIALIZED" if is_made else "AS"
        parts = [f"texts {made} ({query})"]
        readable = ""
        if unreadable is not None:
            parts.append(f"unreadable {made} (SELECT {place} FROM texts WHERE {unreadable})")
            readable = f" WHERE {place} NOT IN (SELECT {place} FROM unreadable)"
            suspects.append(f"SELECT {place} FROM unreadable")
        parts.append(f"given {made} (SELECT {given}, {place} FROM texts{readable})")
        if is_guarded:
            parts.append(f"keyed AS MATERIALIZED ({self._key.hashes_of_given_rows(place)})")
        if looks_for_newer:
            keys = f"ARRAY(SELECT {place} FROM keyed), ARRAY(SELECT row_key FROM keyed)"
            parts.append(f"newer AS MATERIALIZED (SELECT reliable_imports.newer_rows_v1({keys}, $2, $3))")
        conditions = []
        left_out, inserted = "NULL::text", ""
        if suspects:
            parts.append(f"suspect {made} ({' UNION '.join(suspects)})")
            conditions.append(f"given.{place} NOT IN (SELECT {place} FROM suspect)")
            left_out = f"(SELECT {left} FROM texts WHERE {place} IN (SELECT {place} FROM suspect))"
            inserted = f" WHERE {place} NOT IN (SELECT {place} FROM suspect)"
        if self.spares_sequence:
            conditions.append(self._changes_something())
        # What joins the rows to others need not keep their order.
        which = f" WHERE {' AND '.join(conditions)} ORDER BY given.{place}" if conditions else ""
        insert = f"{self._insert.into}SELECT {', '.join(names)} FROM given{which}{self._insert.on_conflict}"
        parts.append(f"written AS ({insert})")
        told = [left_out]
        if is_guarded:
            told += [f"ARRAY(SELECT {each} FROM keyed{inserted})" for each in (place, "row_key")]
        return f"WITH {', '.join(parts)} SELECT {', '.join(told)} WHERE {self._unaltered()}"

    def _is_known_what_refuses(self, columns: Sequence[Column]) -> bool:
        """Whether a row itself tells if the server refuses it: that looks at what it would insert before it looks for a
        row that stands."""
        target, updated = self._target, {column.name for column in self._insert.updated}
        left_out = [column for name, column in target.columns.items() if name not in self._columns]
        return (
            not target.has_other_checks
            and all(check.reads.issubset(self._columns) for check in target.checks)
            and all(column.has_default or not column.is_not_null for column in left_out)
            and not any(column.is_generated for column in left_out)
            # A value that is compared with the one that stands has its length.
            and all(
                column.modifier == -1 or column.name in updated or column.name in self._key.plain_columns
                for column in columns
            )
        )

    def _standing_row(self) -> str:
        """A SELECT of the row that stands under the key of a row `given`; the index is over columns alone."""
        keys = [f"stands.{quoted(name)} = given.{quoted(name)}" for name in sorted(self._key.plain_columns)]
        return f"SELECT true FROM {self._target.name} AS stands WHERE {' AND '.join(keys)}"

    def _changes_something(self) -> str:
        """Whether a row of `given` is not the same as the one that stands under its key, or is refused all the same."""
        unchanged = self._standing_row()
        if updated := self._insert.updated:
            stands = ", ".join(f"stands.{quoted(column.name)}::{column.type.cast}" for column in updated)
            given = ", ".join(f"given.{quoted(column.name)}" for column in updated)
            unchanged += f" AND ROW({stands})::record OPERATOR(pg_catalog.*=) ROW({given})::record"
        # Looked for row by row, where the planner cannot join: it would read the whole table.
        changes = f"({unchanged} LIMIT 1) IS NOT TRUE"
        refused = self._prediction.refuses_row_alone()
        return changes if refused is None else f"({changes} OR {refused})"

    def _unaltered(self) -> str:
        return f"reliable_imports.require_version_v1({literal(self._target.name)}, {literal(self._target.version)})"
