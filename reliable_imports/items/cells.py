"""How a source writes its cells: names, white space, missing values, numbers and dates, as a processor declares them.

The stored item keeps what came. What is read here is what a processor is given as `source_data`: texts still, but with
`1234.56` for `1.234,56` and `2024-01-31` for `31.01.2024`, so that a model or a column of a table can take them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import lru_cache, partial
from typing import Any, NamedTuple

import msgspec

from reliable_imports.items.model_fields import CellKind, ModelFault

WHITE_SPACE = (
    "\t\n\x0b\x0c\r\x1c\x1d\x1e\x1f \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u2028\u2029\u202f\u205f\u3000"
)
"""What `str.strip` takes away, for the server."""

_MAX_REMEMBERED = 8_192
"""Dates of a source; most come again."""

# The groups are of three, and all marks between them are the same.
_COMMA_NUMBER = re.compile(
    r"\s*([+-]?)(\d{1,3}(?:([.' \u00a0\u202f])\d{3}(?:\3\d{3})*)|\d*)(?:,(\d+))?([eE][+-]?\d+)?\s*", re.ASCII
)
_NO_DIGIT = re.compile(r"\D", re.ASCII)
_DATE_PARTS = re.compile(r"%[aAbBcdDeFGjmuUVwWxyY]")
_TIME_PARTS = re.compile(r"%[cfHIklMpRSTXzZ]")

_NO_NUMBER = {
    "int": ("int_parsing", "Input should be a valid integer, unable to parse string as an integer"),
    "float": ("float_parsing", "Input should be a valid number, unable to parse string as a number"),
    "decimal": ("decimal_parsing", "Input should be a valid decimal"),
}

Convert = Callable[[str], str | None]


class Spelling(NamedTuple):
    """What a processor declares of its sources' cells; see the attributes of BaseProcessor."""

    rename: Mapping[str, str]
    strip: bool
    null_tokens: frozenset[str]
    decimal_comma: bool | Sequence[str]
    dates: str | Sequence[str] | Mapping[str, str | Sequence[str]]

    def source_names(self, name: str) -> tuple[str, ...]:
        """The names that a field may have in the source, the likeliest first; none if they all mean other fields."""
        renamed = tuple(source for source, new in self.rename.items() if new == name)
        return renamed if name in self.rename else (*renamed, name)

    def told_names(self, name: str) -> tuple[str, ...]:
        """The names that a field is declared to have in the source; its own where none is declared."""
        return tuple(source for source in self.source_names(name) if source != name) or (name,)


class Cells(msgspec.Struct, frozen=True, gc=False):
    """An item's cells.

    Attributes:
        data: as the processor gets them; what is no object is left as it is.
        faults: of cells that are not written as declared, whose text is left as it came.
    """

    data: Any
    faults: tuple[ModelFault, ...] = ()


class CellReader:
    """Reads the cells of items that are written in one way."""

    def __init__(self, spelling: Spelling, kinds: Mapping[str, CellKind]) -> None:
        """
        Args:
            kinds: of fields, by name, as far as they are known.
        """
        self._rename = {source: name for source, name in spelling.rename.items() if source != name}
        self._strip = spelling.strip
        self._tokens = spelling.null_tokens
        self._converters = [*_numbers(spelling.decimal_comma, kinds), *_dates(spelling.dates, kinds)]
        self._last_names: tuple[str, ...] | None = None
        self._last_renamed: tuple[str, ...] = ()

    def read(self, data: Any) -> Cells:
        """
        Args:
            data: as parsed; an object is used up.
        """
        if type(data) is not dict:
            return Cells(data)
        faults: list[ModelFault] = []
        if self._rename:
            data = self._renamed(data, faults)
        tokens = self._tokens
        if self._strip:
            data = {name: cell.strip() if type(cell) is str else cell for name, cell in data.items()}
        if tokens and _may_hold(data, tokens):
            data = {name: None if type(cell) is str and cell in tokens else cell for name, cell in data.items()}
        for name, convert, kind, problem in self._converters:
            cell = data.get(name)
            if type(cell) is str:
                converted = convert(cell)
                if converted is None:
                    faults.append(ModelFault(name, kind, problem, None, False, cell))
                else:
                    data[name] = converted
        return Cells(data, tuple(faults)) if faults else Cells(data)

    def _renamed(self, data: dict[str, Any], faults: list[ModelFault]) -> dict[str, Any]:
        names = tuple(data)
        if names != self._last_names:  # most items have the names of the one before
            self._last_names = names
            self._last_renamed = tuple(self._rename.get(name, name) for name in names)
        renamed = dict(zip(self._last_renamed, data.values(), strict=True))
        if len(renamed) < len(data):
            for name in dict.fromkeys(self._last_renamed):
                sources = [source for source, new in zip(names, self._last_renamed, strict=True) if new == name]
                if len(sources) > 1:
                    problem = f"Input should be given once, and is given as {' and as '.join(map(repr, sources))}"
                    faults.append(ModelFault(name, "given_more_than_once", problem, None, True, None))
        return renamed


def _may_hold(data: Mapping[str, Any], tokens: frozenset[str]) -> bool:
    """Whether one of the cells may be a token: of most items none is, and to look at all at once takes little."""
    try:
        return not tokens.isdisjoint(data.values())
    except TypeError:  # a list or an object, which has no hash
        return True


def _numbers(declared: bool | Sequence[str], kinds: Mapping[str, CellKind]) -> list[tuple[str, Convert, str, str]]:
    if isinstance(declared, bool):
        names = [name for name, kind in kinds.items() if kind in _NO_NUMBER] if declared else []
    else:
        names = list(declared)
    return [(name, _with_point, *_NO_NUMBER.get(kinds.get(name, "decimal"), _NO_NUMBER["decimal"])) for name in names]


def _with_point(text: str) -> str | None:
    """`1.234,56` as `1234.56`; None if it is no number that is written so."""
    found = _COMMA_NUMBER.fullmatch(text)
    if found is None:
        return None
    sign, whole, _, fraction, exponent = found.groups()
    if not whole and not fraction:
        return None
    digits = _NO_DIGIT.sub("", whole) or "0"
    return f"{sign}{digits}{f'.{fraction}' if fraction else ''}{exponent or ''}"


def _dates(
    declared: str | Sequence[str] | Mapping[str, str | Sequence[str]], kinds: Mapping[str, CellKind]
) -> list[tuple[str, Convert, str, str]]:
    if isinstance(declared, Mapping):
        by_field = {name: _formats(each) for name, each in declared.items()}
    else:
        formats = _formats(declared)
        of_kind = [name for name, kind in kinds.items() if kind in ("date", "datetime")] if formats else []
        by_field = dict.fromkeys(of_kind, formats)
    readers = {formats: _date_reader(formats) for formats in by_field.values()}
    found = []
    for name, formats in by_field.items():
        kind = kinds.get(name, "date")
        kind = kind if kind in ("datetime", "time") else "date"
        words = f"Input should be a valid {kind} in the format {' or '.join(formats)}"
        found.append((name, readers[formats], f"{kind}_parsing", words))
    return found


def _formats(declared: str | Sequence[str]) -> tuple[str, ...]:
    return (declared,) if isinstance(declared, str) else tuple(declared)


def _date_reader(formats: tuple[str, ...]) -> Convert:
    return lru_cache(_MAX_REMEMBERED)(partial(_as_iso, formats))


def _as_iso(formats: tuple[str, ...], text: str) -> str | None:
    for each in formats:
        try:
            read = datetime.strptime(text.strip(), each)
        except ValueError:
            continue
        if not _TIME_PARTS.search(each):
            return read.date().isoformat()
        return read.isoformat() if _DATE_PARTS.search(each) else read.timetz().isoformat()
    return None
