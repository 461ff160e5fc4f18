"""The edited file, compared with what is stored: what was changed, and what may not be."""

from __future__ import annotations

import hashlib
import os
import re
import zipfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

from reliable_imports.batches.corrections.cells import (
    MISSING,
    BadCell,
    Kind,
    edited,
    field_name,
    is_same,
    is_untouched,
    unguarded,
    unmasked,
)
from reliable_imports.batches.corrections.export import (
    ITEM,
    LINE,
    OURS,
    RAW,
    VALUE,
    WRONG,
    FailedItem,
    header_of,
    kind_of,
    sensitive_of,
)
from reliable_imports.batches.corrections.reshown import is_reshown
from reliable_imports.batches.corrections.sorting import ItemId, SortedOut, named_items, sort_out
from reliable_imports.batches.corrections.written import SHEET
from reliable_imports.batches.failures import Scope
from reliable_imports.batches.read import read_batch
from reliable_imports.errors import ConfigurationError, SourceError
from reliable_imports.items.json_check import is_utf8, shortened
from reliable_imports.items.json_read import loads
from reliable_imports.items.redaction import MASKED, shown
from reliable_imports.postgres.connect import Connection, transaction
from reliable_imports.postgres.queries import load
from reliable_imports.processor.registry import ProcessorRegistry
from reliable_imports.processor.table_reading import known_facts
from reliable_imports.sources import Source, SourceOptions, open_source

_CORRECTIONS = load("corrections.sql")
_SHORTLY = 5
_BESIDE_ITEM = re.compile(rf'(?:^|["\r\n,;\t]){ITEM}"?([,;\t])|([,;\t])"?{ITEM}(?:["\r\n]|$)')
_DECIMAL_COMMA = re.compile(r"-?[0-9]+,[0-9]+([eE][+-]?[0-9]+)?")
_ITEM = re.compile(r"'?\s*([0-9]{1,18})\s*/\s*([0-9]{1,18})\s*")


@dataclass(frozen=True, slots=True)
class Corrections:
    """What an edited file of failed items says.

    Attributes:
        source: the file's name and the beginning of its SHA-256, which are kept with the batches.
        batch_type: of all its items.
        rows: how many it has.
        found: what becomes of those that were changed.
        reshown: cells, by their columns and items, that a spreadsheet has written its own way; they stay as they were.
    """

    source: str
    batch_type: str
    rows: int
    found: SortedOut
    reshown: Sequence[str] = ()

    @property
    def unchanged(self) -> int:
        """Rows that nobody has touched."""
        to_make = sum(map(len, self.found.to_make.values()))
        return self.rows - to_make - len(self.found.made) - len(self.found.refused)

    @property
    def told_reshown(self) -> str:
        """Of cells that a spreadsheet has written its own way, in words."""
        several = len(self.reshown) - _SHORTLY
        return (
            f"as a spreadsheet writes what is stored, and so left as it was: {', '.join(self.reshown[:_SHORTLY])}"
            f"{f' and {several:,} more' if several > 0 else ''}; json: before a value says that it is meant"
        )


class _Row(NamedTuple):
    """A row of the file: its place, the item that it is of, and its cells by their columns."""

    line: int | None
    item: ItemId
    cells: Mapping[str, Any]


def read_corrections(connection: Connection, path: Path, scope: Scope, registry: ProcessorRegistry) -> Corrections:
    """Read an edited file of failed items; nothing is done yet.

    Raises:
        SourceError: there is no such file, it cannot be read, or something in it was changed that may not be: our
            columns, columns that are gone or new, an item that stands there twice.
        ConfigurationError: the file's name does not say what it is.
    """
    kind = kind_of(path)
    source = open_edited(path, kind)
    rows = list(rows_of(source, kind))
    items = _by_item(source.name, rows)
    with transaction(connection) as cursor:
        try:
            found = named_items(cursor, list(items))
        except ConfigurationError as error:
            named = str(error).rpartition(" ")[2]
            line = next((row.line for row in rows if str(row.item) == named), None)
            raise SourceError(source.name, str(error), line=line) from None
        batch_type = _one_type(source.name, rows, found)
        _check_scope(cursor, source.name, rows, found, scope, batch_type)
        sensitive = sensitive_of(cursor, batch_type)
        headers = {each: header_of(cursor, each) for each in {row["first_batch_id"] for row in found.values()}}
        known = _known_fields(cursor, rows, found, headers.values(), registry, batch_type)
    stored = {item: FailedItem.of(row) for item, row in found.items()}
    columns = None if kind == "jsonl" else dict.fromkeys(source.findings.columns or ())
    edits = Edits(source.name, kind, sensitive, known, stored, has_decimal_commas=has_decimal_commas(source))
    if columns is not None:
        edits.check_columns(columns)
    data: dict[ItemId, Any] = {}
    for row in rows:
        stands = found[row.item]
        if stands["is_erased"] or stands["outcome"] != "failed":
            data[row.item] = None  # nobody can say what was changed; it is refused
            continue
        changed = edits.of(row, headers[stands["first_batch_id"]])
        if changed is not MISSING:
            data[row.item] = changed
    digest = source.sha256 or hashlib.sha256(path.read_bytes()).hexdigest()
    return Corrections(
        f"{path.name} ({digest[:12]})",
        batch_type,
        len(rows),
        sort_out(found, data) if data else SortedOut({}, {}, {}),
        edits.reshown,
    )


def open_edited(path: Path, kind: Kind) -> Source:
    options = SourceOptions(format=kind)
    if kind == "csv":
        # Spreadsheets write what their language delimits by.
        with path.open("rb") if path.exists() else open(os.devnull, "rb") as file:
            head = file.read(65_536).decode("utf-8-sig", "replace")
        found = _BESIDE_ITEM.search(head)
        options = SourceOptions(format=kind, delimiter=(found[1] or found[2]) if found else ",")
    if kind == "xlsx" and _has_our_sheet(path):
        options = SourceOptions(format=kind, sheet=SHEET)
    return open_source(path, options)


def _has_our_sheet(path: Path) -> bool:
    """People put sheets of their own before it; what renames it leaves it the first one."""
    try:
        with zipfile.ZipFile(path) as workbook:
            return f'name="{SHEET}"' in workbook.read("xl/workbook.xml").decode("utf-8", "replace")
    except (OSError, zipfile.BadZipFile, KeyError):
        return False  # reading it says why


def has_decimal_commas(source: Source) -> bool:
    """Where the comma is no delimiter because it stands in numbers."""
    return source.options.delimiter == ";"


def rows_of(source: Source, kind: Kind) -> Iterator[_Row]:
    for item in source:
        if item.problem is not None:
            hint = "; save it as CSV UTF-8, or as .xlsx" if item.kind == "bad-encoding" else ""
            raise SourceError(source.name, f"the row cannot be read: {item.problem}{hint}", line=item.line)
        try:
            cells = loads(item.text if item.text is not None else item.raw or b"", decimals=True)
        except ValueError as error:
            raise SourceError(source.name, f"the row cannot be read: {error}", line=item.line) from None
        if not isinstance(cells, dict):
            raise SourceError(source.name, "the row is no JSON object", line=item.line)
        for name in (ITEM, LINE, WRONG):
            if name not in cells:
                what = f"the column {name} is missing"
                raise SourceError(source.name, what, line=item.line if kind == "jsonl" else 1)
        yield _Row(item.line, _item_id(source.name, item.line, cells[ITEM]), cells)


def _item_id(source: str, line: int | None, cell: Any) -> ItemId:
    named = _ITEM.fullmatch(cell) if isinstance(cell, str) else None
    if named is None:
        is_what = "empty" if cell in (None, "") else shortened(str(cell))
        raise SourceError(
            source,
            f"{ITEM} is {is_what}, and not the number of a batch and of an item, like 4/17; some "
            "spreadsheets make dates of them in a .csv, and of none in an .xlsx",
            line=line,
        )
    return ItemId(int(named[1]), int(named[2]))


def _by_item(source: str, rows: Sequence[_Row]) -> dict[ItemId, _Row]:
    found: dict[ItemId, _Row] = {}
    for row in rows:
        if row.item in found:
            raise SourceError(source, f"item {row.item} stands in line {found[row.item].line} already", line=row.line)
        found[row.item] = row
    if not found:
        raise SourceError(source, "has no rows")
    return found


def _one_type(source: str, rows: Sequence[_Row], found: Mapping[ItemId, Mapping[str, Any]]) -> str:
    first = found[rows[0].item]["batch_type"]
    for row in rows:
        if (other := found[row.item]["batch_type"]) != first:
            raise SourceError(
                source, f"item {row.item} is of type {other}, and those before it of {first}", line=row.line
            )
    return str(first)


def _check_scope(
    cursor: Any,
    source: str,
    rows: Sequence[_Row],
    found: Mapping[ItemId, Mapping[str, Any]],
    scope: Scope,
    batch_type: str,
) -> None:
    """Raise SourceError if the file has items of another lineage, or another type, than was named."""
    if scope.batch_type not in (None, batch_type):
        raise SourceError(source, f"holds items of {batch_type}, not of {scope.batch_type}")
    if scope.batch_id is None:
        return
    first = read_batch(cursor, scope.batch_id).first_batch_id
    for row in rows:
        if found[row.item]["first_batch_id"] != first:
            what = f"item {row.item} is not of the lineage of batch {scope.batch_id}"
            raise SourceError(source, what, line=row.line)


def _known_fields(
    cursor: Any,
    edited_rows: Collection[_Row],
    found: Mapping[ItemId, Mapping[str, Any]],
    headers: Collection[Sequence[str]],
    registry: ProcessorRegistry,
    batch_type: str,
) -> frozenset[str]:
    """The fields that items of the type have, as far as anybody knows."""
    items = [FailedItem.of(row) for row in found.values()]
    known = {name for item in items for name in (*item.cells(), *item.missing)}
    known.update(name for header in headers for name in header)
    if batch_type in registry:
        for field in known_facts(cursor, registry.get(batch_type)).source_fields() or ():
            known.update(field.source_names)
    others = {name for row in edited_rows for name in row.cells if name not in known and name not in OURS}
    others = {name for name in others if is_utf8(name) and "\0" not in name}
    if others:  # rows of the file that had them may have been deleted in it
        batches = sorted({row["first_batch_id"] for row in found.values()} | {item.batch_id for item in found})
        cursor.execute(_CORRECTIONS["fields_of_items"], {"names": sorted(others), "batches": batches})
        known.update(name for (name,) in cursor.fetchall())
    return frozenset(known)


class Edits:
    """What was changed in one file."""

    def __init__(
        self,
        source: str,
        kind: Kind,
        sensitive: Collection[str],
        known: frozenset[str],
        stored: Mapping[ItemId, FailedItem],
        *,
        has_decimal_commas: bool = False,
    ) -> None:
        self._source = source
        self._kind = kind
        self._sensitive = sensitive
        self._known = known
        self._stored = stored
        self._has_decimal_commas = has_decimal_commas
        self.reshown: list[str] = []
        self._kinds: dict[str, set[type]] = {}
        for item in stored.values():
            for name, value in item.cells().items():
                if value is not None:
                    self._kinds.setdefault(name, set()).add(type(value))

    def check_columns(self, columns: Collection[str]) -> None:
        """Raise SourceError if a column of a table is gone."""
        there = {self._field(name, 1) for name in columns if name not in OURS}
        for item in self._stored.values():
            for name in item.cells():
                if name not in there:
                    raise SourceError(
                        self._source, f"the column {shortened(name)} is missing; item {item.name} has it", line=1
                    )

    def of(self, row: _Row, header: Sequence[str]) -> Any:
        """The item's new data; MISSING if nobody has touched it."""
        stored = self._stored[row.item]
        self._check_ours(row, stored)
        cells = {self._field(name, row.line): cell for name, cell in row.cells.items() if name not in OURS}
        for name, cell in cells.items():
            if name not in self._known and (self._kind == "jsonl" or cell not in (None, "")):
                where = row.line if self._kind == "jsonl" else 1
                raise SourceError(
                    self._source,
                    f"the column {shortened(name)} is new: no item has such a field, and neither has the "
                    "processor's model",
                    line=where,
                )
        if stored.raw is not None or not isinstance(stored.data, dict):
            return self._of_no_object(row, stored, cells, header)
        masked = shown(stored.data, self._sensitive)
        new = dict(stored.data)
        for name in stored.data:
            if name not in cells:
                raise SourceError(
                    self._source,
                    f"the field {shortened(name)} of item {row.item} is missing; write null to empty it",
                    line=row.line,
                )
        for name, cell in cells.items():
            was = stored.data.get(name, MISSING)
            cell = self._with_decimal_point(name, cell, was)
            if is_untouched(self._kind, cell, was) or is_untouched(self._kind, cell, masked.get(name, MISSING)):
                continue
            if self._is_reshown(cell, was):
                self.reshown.append(f"{shortened(name)} of item {row.item}")
                continue
            value = unmasked(self._edited(row, name, cell, was), was, self._sensitive, name)
            self._refuse_masks(row, name, value)
            if was is MISSING and value is None and self._kind != "jsonl":
                continue
            new[name] = value
        return MISSING if is_same(new, stored.data) else new

    def _of_no_object(self, row: _Row, stored: FailedItem, cells: Mapping[str, Any], header: Sequence[str]) -> Any:
        """What could not be read is filled in field by field; what is another value than an object, as a whole."""
        filled = {
            name: self._edited(row, name, cell, MISSING) for name, cell in cells.items() if cell not in (None, "")
        }
        if filled and header:  # of a file in which all is text
            texts = {name: str(cell) if isinstance(cell, int | Decimal) else cell for name, cell in filled.items()}
            return {**dict.fromkeys(header, ""), **texts}
        if filled:
            return filled
        if stored.raw is not None:
            return MISSING
        cell, was = row.cells.get(VALUE), stored.data
        masked = shown(was, self._sensitive)
        if is_untouched(self._kind, cell, was) or is_untouched(self._kind, cell, masked):
            return MISSING
        value = unmasked(self._edited(row, VALUE, cell, was), was, self._sensitive)
        return MISSING if is_same(value, was) else value

    def _with_decimal_point(self, name: str, cell: Any, was: Any) -> Any:
        kinds = self._kinds.get(name, set()) if was is None or was is MISSING else {type(was)}
        if self._has_decimal_commas and isinstance(cell, str) and kinds and kinds <= {int, Decimal, float}:
            return cell.replace(",", ".") if _DECIMAL_COMMA.fullmatch(cell) else cell
        return cell

    def _is_reshown(self, cell: Any, was: Any) -> bool:
        match self._kind:
            case "csv":
                return is_reshown(cell, was)
            case "xlsx":  # a text in a cell was typed as a text
                return not isinstance(cell, str) and is_reshown(cell, was)
            case _:
                return False

    def _edited(self, row: _Row, name: str, cell: Any, was: Any) -> Any:
        try:
            return edited(self._kind, cell, was, self._kinds.get(name, frozenset()))
        except BadCell as error:
            raise SourceError(
                self._source, f"the cell {shortened(name)} of item {row.item} {error}", line=row.line
            ) from None

    def _check_ours(self, row: _Row, stored: FailedItem) -> None:
        for name, was in ((LINE, stored.line), (WRONG, stored.wrong), (RAW, stored.raw)):
            cell = row.cells.get(name)
            if name == RAW and (cell in (None, "", MASKED) or (self._kind == "jsonl" and cell == was)):
                continue
            if name == LINE and cell is not None and str(cell) == str(was):
                continue
            if not is_untouched(self._kind, cell, was):
                hint = "; fill in the columns of the source instead" if name == RAW else ""
                raise SourceError(
                    self._source,
                    f"{name} of item {row.item} is not what was written there: this column says what the row is, and "
                    f"is not to be changed{hint}; was only a part of the columns sorted?",
                    line=row.line,
                )

    def _refuse_masks(self, row: _Row, name: str, value: Any) -> None:
        """Raise SourceError if *** stands where nothing is stored, which was no correction by anybody."""
        if name in self._sensitive and value == MASKED:
            raise SourceError(
                self._source,
                f"the cell {shortened(name)} of item {row.item} is {MASKED}, and stands for no value there",
                line=row.line,
            )

    def _field(self, column: str, line: int | None) -> str:
        try:
            return field_name(unguarded(column) if self._kind == "csv" else column)
        except BadCell as error:
            raise SourceError(self._source, f"the column {shortened(column)} {error}", line=line) from None
