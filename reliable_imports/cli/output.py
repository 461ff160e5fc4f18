"""What is printed: tables on a terminal, lines and tabs in a pipe, or one JSON document."""

from __future__ import annotations

import dataclasses
import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from enum import Enum
from typing import Any, Literal

from reliable_imports.cli.text import escaped, escaped_json, one_line
from reliable_imports.statuses import Stage

# On a terminal a long cell becomes many lines.
_MAX_CELL = 160
_MAX_CELL_IN_PIPE = 240
# Of a column whose cells may be broken into lines, at least this much is shown.
_MIN_TEXT = 10
_GAP = 3


@dataclasses.dataclass(frozen=True, slots=True)
class Column:
    """A column of a table.

    Attributes:
        is_number: on a terminal it stands at the right, and is whole.
        is_whole: its cells are never broken into lines.
        is_name: its cells are broken into lines only if leaving out columns makes too little room.
        dispensable: left out on a terminal that is too narrow for all, the higher the sooner; never if 0.
    """

    name: str
    is_number: bool = False
    is_whole: bool = False
    is_name: bool = False
    dispensable: int = 0


class Output:
    """Where a command prints. With *as_json* only `document` prints, and without it all but `document`."""

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json

    def document(self, value: object) -> None:
        """The command's whole answer: dataclasses as objects, times as ISO 8601, words as strings."""
        if self.as_json:
            # Where not every character can be written, escapes can.
            ascii_only = not (sys.stdout.encoding or "").lower().startswith("utf")
            _write(escaped_json(json.dumps(as_json_value(value), ensure_ascii=ascii_only, indent=2)) + "\n")

    def say(self, text: str = "") -> None:
        """One line, however long."""
        if not self.as_json:
            _write(one_line(text) + "\n")

    def verbatim(self, line: str) -> None:
        """One line with its blanks kept."""
        if not self.as_json:
            _write(escaped(line) + "\n")

    def headline(self, text: str) -> None:
        """One line that stands out on a terminal."""
        if self.as_json or not sys.stdout.isatty():
            self.say(text)
            return
        from rich.text import Text

        _terminal().print(Text(one_line(text), style="bold"), soft_wrap=True)

    def commands(self, commands: Sequence[tuple[str, str]]) -> None:
        """What to type next, with what for."""
        if self.as_json or not commands:
            return
        width = max(len(command) for command, _ in commands)
        _write("next:\n" + "".join(f"  {command:{width}}  {purpose}\n" for command, purpose in commands))

    def facts(self, facts: Iterable[tuple[str, str]]) -> None:
        """Names and values, one a line; a tab between them in a pipe."""
        if self.as_json:
            return
        cleaned = [(name, one_line(value)) for name, value in facts]
        width = max(len(name) for name, _ in cleaned)
        lines = [f"{name:{width}}  {value}" if sys.stdout.isatty() else f"{name}\t{value}" for name, value in cleaned]
        _write("\n".join(lines) + "\n")

    def table(self, columns: Sequence[Column], rows: Iterable[Sequence[str]]) -> None:
        """A table on a terminal; in a pipe a line of names and one for each row, separated by tabs."""
        if self.as_json:
            return
        limit = _MAX_CELL if sys.stdout.isatty() else _MAX_CELL_IN_PIPE
        cut = [[one_line(cell, limit) for cell in row] for row in rows]
        if sys.stdout.isatty():
            _print_table(columns, cut)
            return
        lines = [[column.name for column in columns], *cut]
        _write("".join("\t".join(line) + "\n" for line in lines))


def as_json_value(value: object) -> Any:
    """*value* in JSON's terms."""
    match value:
        case Enum():
            return value.value
        case datetime() | date():
            return value.isoformat()
        case Mapping():
            return {str(key): as_json_value(each) for key, each in value.items()}
        case list() | tuple():
            return [as_json_value(each) for each in value]
        case str() | int() | float() | bool() | None:
            return value
        case _ if dataclasses.is_dataclass(value):
            return {field.name: as_json_value(getattr(value, field.name)) for field in dataclasses.fields(value)}
        case _:
            return str(value)


def stored_value(text: str, stage: Stage | None) -> Any:
    """Stored source data as a JSON value; its text if it failed unread or is no JSON."""
    if stage is Stage.READ:
        return text
    try:
        return json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return text


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")


def _print_table(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> None:
    """As many columns as there is room for; nothing of a cell is ever left out."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    terminal = _terminal()
    widths = _fitting(columns, rows, terminal.width)
    if not widths:
        _print_records(columns, rows)
        return
    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, header_style="bold")
    for index, width in widths.items():
        column = columns[index]
        justify: Literal["left", "right"] = "right" if column.is_number else "left"
        table.add_column(column.name, justify=justify, overflow="fold", min_width=width)
    for row in rows:
        # Text, not str: what stands in the cells is data, and square brackets in it are no markup.
        table.add_row(*[Text(row[index]) for index in widths])
    terminal.print(table)
    left_out = [column.name for index, column in enumerate(columns) if index not in widths]
    if left_out:
        _write(f"not shown for want of width: {', '.join(left_out)}\n")


def _fitting(columns: Sequence[Column], rows: Sequence[Sequence[str]], width: int) -> dict[int, int]:
    """The columns, by index, that *width* has room for, with how wide each must be; none if there is too little."""
    from rich.cells import cell_len

    widest = [max(map(cell_len, [column.name, *cells])) for column, *cells in zip(columns, *rows, strict=True)]
    order = sorted(range(len(columns)), key=lambda index: columns[index].dispensable)
    for breaks_names in (False, True):
        shown: dict[int, int] = {}
        left = width + _GAP
        for index in order:
            column = columns[index]
            is_whole = column.is_number or column.is_whole or (column.is_name and not breaks_names)
            needed = widest[index] if is_whole else min(widest[index], _MIN_TEXT)
            if needed + _GAP <= left:
                shown[index] = needed
                left -= needed + _GAP
            elif not column.dispensable:
                break
        else:
            return dict(sorted(shown.items()))
    return {}


def _print_records(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> None:
    """Each row as lines of name and value, for a terminal that is narrower than the row's figures."""
    width = max(len(column.name) for column in columns)
    for row in rows:
        _write("".join(f"{column.name:{width}}  {cell}\n" for column, cell in zip(columns, row, strict=True)) + "\n")


def _terminal() -> Any:
    from rich.console import Console

    return Console(highlight=False)


def _write(text: str) -> None:
    """Print; a reader that has gone away does not change how the command ends."""
    try:
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        # The interpreter flushes once more at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
