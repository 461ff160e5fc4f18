"""What a processor asks for when it writes rows to a table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

Existing = Literal["update", "rewrite", "keep"]
NullKeys = Literal["fail", "insert"]


@dataclass(frozen=True)
class UniqueIndex:
    """The key of a table by the name of its unique index or constraint, which may be partial or over expressions.

    Attributes:
        name: of the index, or of the constraint, without a schema.
        columns: what it is about, as the columns of a row; they say what an item is about. None need be given.
    """

    name: str
    columns: tuple[str, ...] = ()

    def __init__(self, name: str, *columns: str) -> None:
        object.__setattr__(self, "name", name)
        object.__setattr__(self, "columns", columns)


class WriteRequest(NamedTuple):
    """A kind of row for a table; a plan is made of it once a run.

    Attributes:
        key: the columns of a unique index, or its name; None inserts the row whatever there is.
        existing: what becomes of a row that is there: `update` where it differs, `rewrite` in any case, or `keep`.
        never_updated: columns that are written only when a row is inserted.
        null_keys: a row with NULL in its key, which no other row equals: `fail` or `insert`.
        defaulted: columns that the source did not give, and for which the model has a default: written when a row is
            inserted, if the table has no default of its own.
    """

    table: str
    columns: tuple[str, ...]
    key: tuple[str, ...] | UniqueIndex | None = None
    existing: Existing = "update"
    never_updated: tuple[str, ...] = ()
    null_keys: NullKeys = "insert"
    defaulted: tuple[str, ...] = ()
