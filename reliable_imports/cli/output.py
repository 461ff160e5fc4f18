"""What is printed: tables on a terminal, lines and tabs in a pipe, or one JSON document."""

from __future__ import annotations

import dataclasses
import json
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from enum import Enum
from typing import Any

from reliable_imports.cli.text import one_line
from reliable_imports.statuses import Stage

# On a terminal a long cell becomes many lines.
_MAX_CELL = 160
_MAX_CELL_IN_PIPE = 240


@dataclasses.dataclass(frozen=True, slots=True)
class Column:
    """A column of a table. On a terminal *is_number* sets it to the right, and *is_whole* keeps cells on one line."""

    name: str
    is_number: bool = False
    is_whole: bool = False


class Output:
    """Where a command prints. With *as_json* only `document` prints, and without it all but `document`."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json

    def document(self, value: object) -> None:
        """The command's whole answer: dataclasses as objects, times as ISO 8601, words as strings."""
        if self._as_json:
            # Where not every character can be written, escapes can.
            ascii_only = not (sys.stdout.encoding or "").lower().startswith("utf")
            _write(json.dumps(as_json_value(value), ensure_ascii=ascii_only, indent=2) + "\n")

    def say(self, text: str = "") -> None:
        """One line, however long."""
        if not self._as_json:
            _write(one_line(text) + "\n")

    def headline(self, text: str) -> None:
        """One line that stands out on a terminal."""
        if self._as_json or not sys.stdout.isatty():
            self.say(text)
            return
        from rich.text import Text

        _terminal().print(Text(one_line(text), style="bold"), soft_wrap=True)

    def commands(self, commands: Sequence[tuple[str, str]]) -> None:
        """What to type next, with what for."""
        if self._as_json or not commands:
            return
        width = max(len(command) for command, _ in commands)
        _write("next:\n" + "".join(f"  {command:{width}}  {purpose}\n" for command, purpose in commands))

    def facts(self, facts: Iterable[tuple[str, str]]) -> None:
        """Names and values, one a line; a tab between them in a pipe."""
        if self._as_json:
            return
        cleaned = [(name, one_line(value)) for name, value in facts]
        width = max(len(name) for name, _ in cleaned)
        lines = [f"{name:{width}}  {value}" if sys.stdout.isatty() else f"{name}\t{value}" for name, value in cleaned]
        _write("\n".join(lines) + "\n")

    def table(self, columns: Sequence[Column], rows: Iterable[Sequence[str]]) -> None:
        """A table on a terminal; in a pipe a line of names and one for each row, separated by tabs."""
        if self._as_json:
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
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(
            column.name,
            justify="right" if column.is_number else "left",
            no_wrap=column.is_number or column.is_whole,
            overflow="fold",
        )
    for row in rows:
        # Text, not str: what stands in the cells is data, and square brackets in it are no markup.
        table.add_row(*[Text(cell) for cell in row])
    _terminal().print(table)


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
