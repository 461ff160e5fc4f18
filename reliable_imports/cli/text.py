"""Values as people read them; nothing that a terminal would obey gets through."""

from __future__ import annotations

import json
import re
from datetime import datetime

_UNUSUAL = re.compile(r"[^\n\x20-\x7e]")


def one_line(text: str, limit: int | None = None) -> str:
    """*text* on one line without control characters, cut at *limit* characters."""
    # Cut first: an item may be megabytes.
    part = text if limit is None else text[: limit * 2]
    part = "".join(character if character.isprintable() else " " for character in part)
    part = " ".join(part.split())
    if limit is None or (len(part) <= limit and len(text) <= limit * 2):
        return part
    return part[: limit - 1] + "…"


def escaped(text: str) -> str:
    """*text* with its lines kept, and whatever a terminal would obey, or not show, as an escape such as `\\x1b`."""
    return _UNUSUAL.sub(lambda found: found[0] if found[0].isprintable() else _escape(found[0]), text)


def escaped_json(document: str) -> str:
    """The same of a JSON document, in JSON's own escapes: it stays the same document."""
    return _UNUSUAL.sub(lambda found: found[0] if found[0].isprintable() else json.dumps(found[0])[1:-1], document)


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode()


def number(value: int) -> str:
    return f"{value:,}"


def count(value: int, noun: str, plural: str | None = None) -> str:
    """`1 item`, `1,126 items`."""
    return f"{value:,} {noun if value == 1 else plural or noun + 's'}"


def duration(seconds: float | None) -> str:
    """`0.4 s`, `3 min 20 s`, `2 h 5 min`; a dash where there is none."""
    if seconds is None:
        return "-"
    if seconds < 59.95:  # what would be rounded to 60.0 s is a minute
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600:,} h {whole % 3600 // 60} min"


def moment(value: datetime | None) -> str:
    """The local time, to the second; a dash where there is none."""
    return "-" if value is None else f"{value.astimezone():%Y-%m-%d %H:%M:%S}"


def optional(value: object) -> str:
    return "-" if value is None else one_line(str(value))
