"""Failed items as rows of a file."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from reliable_imports.batches.corrections.cells import Kind
from reliable_imports.batches.corrections.written import Row, write
from reliable_imports.batches.failures import Scope, find_reason
from reliable_imports.batches.read import get_batch
from reliable_imports.errors import ConfigurationError
from reliable_imports.items.json_read import loads
from reliable_imports.items.redaction import MASKED, shown
from reliable_imports.postgres.connect import Connection, rows, transaction
from reliable_imports.postgres.queries import load

_CORRECTIONS = load("corrections.sql")

ITEM, LINE, WRONG, RAW, VALUE = OURS = ("_item", "_line", "_wrong", "_raw", "_value")
"""Our columns: which item it is, its line in the source, what is wrong; what stood in a line that could not be read;
an item that is no object."""


@dataclass(frozen=True, slots=True)
class FailedItem:
    """A failed item, as it is stored.

    Attributes:
        data: parsed; None of one that could not be read, or that JSON readers refuse.
        raw: of such an item, what stood in the source.
        fields: those at fault, as the item or the table calls them.
        missing: those of them that the item must have and has not.
    """

    batch_id: int
    item_number: int
    line: int | None
    data: Any
    raw: str | None
    wrong: str
    fields: Sequence[str]
    missing: Sequence[str]

    @property
    def name(self) -> str:
        return f"{self.batch_id}/{self.item_number}"

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> FailedItem:
        data, raw = None, None
        text = row["source_data"] if row["source_raw"] is None else bytes(row["source_raw"])
        if text is None:
            pass  # erased
        elif not row["is_unread"]:
            try:
                data = loads(text, decimals=True)
            except (ValueError, RecursionError):
                raw = text
        else:
            raw = text
        faults = row["faults"] or []
        return cls(
            row["batch_id"],
            row["item_number"],
            row["source_line"],
            data,
            raw.decode("utf-8", "backslashreplace") if isinstance(raw, bytes) else raw,
            "; ".join(row["titles"] or ()),
            tuple(dict.fromkeys(fault["field"] for fault in faults if fault["field"])),
            tuple(fault["field"] for fault in faults if fault["field"] and fault["rule"] == "missing"),
        )

    def cells(self) -> dict[str, Any]:
        """The item's own fields."""
        return self.data if self.raw is None and isinstance(self.data, dict) else {}

    def shown(self, sensitive: Collection[str]) -> Row:
        """The row for people, who see `***` for what is sensitive."""
        ours: dict[str, Any] = {ITEM: self.name, LINE: self.line, WRONG: self.wrong}
        if self.raw is not None:
            ours[RAW] = MASKED if sensitive else self.raw
        elif not isinstance(self.data, dict):
            ours[VALUE] = shown(self.data, sensitive)
        cells = shown(self.cells(), sensitive)
        return Row(ours, cells, self.faulty(cells))

    def faulty(self, columns: Collection[str]) -> Sequence[str]:
        """The columns at fault; a table may call them by other names than the item does."""
        alike = {_plain(name): name for name in columns}
        found = []
        for field in self.fields:
            for name in (field, field.split(".")[0], alike.get(_plain(field)), field in self.missing and field):
                if name and (name in columns or name in self.missing):
                    found.append(name)
                    break
        return found


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written.

    Attributes:
        batch_type: of all items.
        masked: sensitive fields of which `***` was written.
        undone: items that are outstanding and not in the file: a cancelled batch left them undone, and they have not
            failed.
    """

    batch_type: str
    items: int
    masked: Sequence[str]
    undone: int


def kind_of(path: Path | str) -> Kind:
    """By the file's name.

    Raises:
        ConfigurationError: it is none of those that corrections come in.
    """
    ending = os.path.splitext(os.fspath(path))[1].lower()
    if ending not in (".csv", ".jsonl", ".xlsx"):
        raise ConfigurationError(f"{os.fspath(path)}: corrections are in a .csv, a .jsonl or an .xlsx file")
    return cast("Kind", ending[1:])


def export(
    connection: Connection,
    path: Path,
    scope: Scope,
    reasons: Sequence[str],
    *,
    with_sensitive: bool,
    plain: bool,
) -> Exported:
    """Write the outstanding failures of the scope into a file, which is there as a whole or not at all.

    Args:
        scope: a batch stands for its lineage.
        reasons: only failures for one of these, by the beginnings of their ids.
        plain: only the source's own columns.
    """
    kind = kind_of(path)
    found = [find_reason(connection, reason, scope) for reason in dict.fromkeys(reasons)]
    first = None if scope.batch_id is None else get_batch(connection, scope.batch_id).first_batch_id
    parameters: dict[str, Any] = {
        "first_batch_id": first,
        "batch_type": scope.batch_type,
        "reasons": found or None,
    }
    with transaction(connection) as cursor:
        cursor.execute(_CORRECTIONS["read_only"])
        cursor.execute(_CORRECTIONS["types"], parameters)
        types = [batch_type for (batch_type,) in cursor.fetchall()]
        if not types:
            raise ConfigurationError("nothing that was asked for is outstanding, and no file was written")
        if len(types) > 1:
            raise ConfigurationError(
                f"failures of {' and of '.join(types)} are outstanding, and a file has the columns of one type; "
                "give --as TYPE"
            )
        parameters["batch_type"] = types[0]
        sensitive = frozenset() if with_sensitive else sensitive_of(cursor, types[0])
        ours, columns, count = _columns(cursor, parameters)
        masked = sorted(sensitive.intersection(columns))
        items = (item.shown(sensitive) for item in _items(cursor, parameters))
        write(path, kind, items, () if plain else ours, columns, count)
        cursor.execute(_CORRECTIONS["count_undone"], parameters)
        undone = int(cursor.fetchone()[0])
    return Exported(types[0], count, masked, undone)


def sensitive_of(cursor: Any, batch_type: str) -> frozenset[str]:
    cursor.execute(_CORRECTIONS["sensitive_fields_of_type"], {"batch_type": batch_type})
    return frozenset(name for (name,) in cursor.fetchall())


def header_of(cursor: Any, first_batch_id: int) -> Sequence[str]:
    """The names of the columns of the file that a lineage began with; none if it was no such file."""
    cursor.execute(_CORRECTIONS["header"], {"first_batch_id": first_batch_id})
    found = cursor.fetchone()
    return [name for name in (found[0] if found else None) or () if name.strip()]


def _columns(cursor: Any, parameters: Mapping[str, Any]) -> tuple[Sequence[str], Sequence[str], int]:
    """Our columns that are needed, those of the source in their order, and how many rows there are."""
    names: dict[str, None] = {}
    missing: dict[str, None] = {}
    count = 0
    has_raw = has_value = False
    headers: dict[int, Sequence[str]] = {}
    unread_in: set[int] = set()
    for row in _rows(cursor, parameters):
        item = FailedItem.of(row)
        count += 1
        names |= dict.fromkeys(item.cells())
        missing |= dict.fromkeys(name for name in item.missing if "." not in name)
        has_raw = has_raw or item.raw is not None
        has_value = has_value or (item.raw is None and not isinstance(item.data, dict))
        if item.raw is not None:
            unread_in.add(row["first_batch_id"])
    for first_batch_id in sorted(unread_in):
        headers[first_batch_id] = header_of(cursor, first_batch_id)
    for header in headers.values():
        names = dict.fromkeys(header) | names
    ours = [ITEM, LINE, WRONG, *([RAW] if has_raw else []), *([VALUE] if has_value else [])]
    return ours, list(names | missing), count


def _items(cursor: Any, parameters: Mapping[str, Any]) -> Iterator[FailedItem]:
    return map(FailedItem.of, _rows(cursor, parameters))


def _rows(cursor: Any, parameters: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    cursor.execute(f"{_CORRECTIONS['declare_failed']}\n{_CORRECTIONS['failed_items']}", parameters)
    while True:
        cursor.execute(_CORRECTIONS["fetch_failed"])
        page = rows(cursor)
        if not page:
            break
        yield from page
    cursor.execute(_CORRECTIONS["close_failed"])


def _plain(name: str) -> str:
    return "".join(each for each in name.casefold() if each.isalnum())
