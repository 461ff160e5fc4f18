"""Why the server has refused a declared write."""

from __future__ import annotations

from dataclasses import dataclass

from reliable_imports.engine.isolation.item_record import ItemRecord

_INSUFFICIENT_PRIVILEGE = "42501"


@dataclass(frozen=True, slots=True)
class WriteError:
    """Why a declared write was refused by the server; for the fields see PostgreSQL's GET STACKED DIAGNOSTICS."""

    item: ItemRecord
    waits_for_others: bool
    """A deferred constraint was not met; another item may still bring what it needs."""
    sqlstate: str
    message: str
    detail: str | None
    schema: str | None
    table: str | None
    column: str | None
    constraint: str | None
    context: str | None

    @property
    def is_of_the_table(self) -> bool:
        """Whether it says that the statement, which is ours, does not fit the table; rights are another matter."""
        return self.sqlstate.startswith("42") and self.sqlstate != _INSUFFICIENT_PRIVILEGE
