"""Names of tables and columns in SQL, and constants."""

from __future__ import annotations

import re
from collections.abc import Iterable

from reliable_imports.errors import ContextMisuse

_MAX_BYTES = 63
_PART = re.compile(r'"(?P<quoted>(?:[^"]|"")*)"(?=\.|$)|(?P<plain>[^.]+)')


def quoted(name: str) -> str:
    """One name, quoted.

    Raises:
        ContextMisuse: a name that PostgreSQL would silently cut, or that holds a NUL.
    """
    if "\0" in name or not 0 < len(name.encode("utf-8", "replace")) <= _MAX_BYTES:
        raise ContextMisuse(f"{name[:80]!r} is not a name of 1 to {_MAX_BYTES} bytes")
    return '"' + name.replace('"', '""') + '"'


def quoted_table(table: str) -> str:
    """`name` or `schema.name`, quoted; a part that holds a dot is given in quotes, as in SQL: `sales."q1.2024"`.

    Raises:
        ContextMisuse: no such name can be.
    """
    parts = []
    position = 0
    while match := _PART.match(table, position):
        parts.append(match["plain"] if match["quoted"] is None else match["quoted"].replace('""', '"'))
        position = match.end()
        if table[position : position + 1] != ".":
            break
        position += 1
    if position != len(table) or len(parts) not in (1, 2) or table.endswith("."):
        raise ContextMisuse(f'{table[:80]!r} is no name of a table; write name, schema.name, or schema."a.name"')
    return ".".join(quoted(part) for part in parts)


def literal(text: str | None) -> str:
    """A text as a constant of SQL, whatever the server's settings; NULL for None."""
    if text is None:
        return "NULL"
    text = text.replace("'", "''")
    if "\\" in text:
        return " E'" + text.replace("\\", "\\\\") + "'"
    return f"'{text}'"


def array_text(numbers: Iterable[int | str]) -> str:
    """Integers, and the text NULL for none, as the server writes an array of them; to stand between quotes."""
    return f"{{{','.join(map(str, numbers))}}}"
