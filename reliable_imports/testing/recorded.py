"""What stands in for the database where a test has none: writes are kept, and rows that the test declares are found."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, NoReturn

from reliable_imports.errors import ConfigurationError, NullInKey
from reliable_imports.writes.request import WriteRequest
from reliable_imports.writes.values import as_parameter

Rows = Mapping[str, Sequence[Mapping[str, Any]]]


class RecordedWrites:
    """What one item writes, in its order. It is no copy of PostgreSQL: what only a database can tell is not answered.

    Attributes:
        written: table and row of each write.
        unanswered: the first question that has no answer; the item cannot be judged then, whatever its code made of it.
    """

    origin = None

    def __init__(self, rows: Rows) -> None:
        self.written: list[tuple[str, dict[str, Any]]] = []
        self.unanswered: ConfigurationError | None = None
        self._rows = rows

    # What the processor does

    def execute(self, statement: object, params: object = None, *, hides_rows: bool = False) -> NoReturn:
        self._refuse(f"the item runs SQL of its own, which only a database can answer: {_begin(statement)}")

    def declare(self, request: WriteRequest, values: Collection[Any]) -> None:
        row = dict(zip(request.columns, values, strict=True))
        missing = [name for name in _key_of(request) if row.get(name) is None]
        if missing and request.null_keys == "fail":
            raise NullInKey(request.table, sorted(_key_of(request)), missing)
        self.written.append((request.table, row))

    def write_returning(self, request: WriteRequest, values: Collection[Any], returning: str) -> Any:
        self.declare(request, values)
        _, row = self.written[-1]
        if returning in row:
            return row[returning]
        key = {name: row[name] for name in _key_of(request) if name in row}
        there = [each for each in self._rows.get(request.table, ()) if key and returning in each and _has(each, key)]
        if not there:
            self._refuse(
                f"only a database knows {returning!r} of the row that is written to {request.table}; say which row is "
                f"there, by rows={{{request.table!r}: [...]}}"
            )
        return there[0][returning]

    def look_up(self, table: str, key: Mapping[str, Any], column: str) -> Any:
        own = [row for name, row in self.written if name == table]
        if table not in self._rows and not own:
            self._refuse(
                f"the item looks up {', '.join(key)} in {table}; say which rows are there, by rows={{{table!r}: [...]}}"
            )
        for row in (*self._rows.get(table, ()), *own):
            if _has(row, key):
                if column not in row:
                    self._refuse(f"the item looks up {column} in {table}, and the row that was found has none")
                return row[column]
        return None

    # How it ends

    def raise_if_not_the_items(self) -> None:
        """Whatever the processor made of it."""
        if self.unanswered is not None:
            raise self.unanswered

    def complete(self) -> None:
        self.raise_if_not_the_items()

    def _refuse(self, problem: str) -> NoReturn:
        error = ConfigurationError(f"{problem}; or try the item with database=")
        self.unanswered = self.unanswered or error
        raise error


def _key_of(request: WriteRequest) -> Sequence[str]:
    return request.key if isinstance(request.key, tuple) else ()


def _has(row: Mapping[str, Any], key: Mapping[str, Any]) -> bool:
    return all(name in row and _equal(row[name], value) for name, value in key.items())


def _equal(one: Any, other: Any) -> bool:
    """As a column would take them: 7 and "7" are one value."""
    if one is None or other is None:
        return one is other
    return bool(one == other) or str(as_parameter(one)) == str(as_parameter(other))


def _begin(statement: object) -> str:
    text = " ".join(str(statement).split())
    return text if len(text) <= 80 else f"{text[:77]}..."
