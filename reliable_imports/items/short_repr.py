"""What a Python object looks like that cannot be stored: the start of its repr."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

_MAX_REPR = 64 * 1024


def short_repr(value: object) -> bytes:
    """The repr of *value*, cut when it grows long; neither its size nor what it holds can do harm."""
    pieces = []
    room = _MAX_REPR
    for piece in _repr_pieces(value, 0):
        pieces.append(piece[:room])
        room -= len(piece)
        if room <= 0:
            pieces.append("…")
            break
    return "".join(pieces).encode("utf-8", "backslashreplace")


def _repr_pieces(value: Any, depth: int) -> Iterator[str]:
    kind = type(value)
    if depth > 50:
        yield "..."
    elif kind is dict:
        yield "{"
        for index, (name, member) in enumerate(value.items()):
            yield ", " if index else ""
            yield from _repr_pieces(name, depth + 1)
            yield ": "
            yield from _repr_pieces(member, depth + 1)
        yield "}"
    elif kind is list or kind is tuple:
        yield "[" if kind is list else "("
        for index, member in enumerate(value):
            yield ", " if index else ""
            yield from _repr_pieces(member, depth + 1)
        yield "]" if kind is list else ",)" if len(value) == 1 else ")"
    elif kind is str or kind is bytes:
        yield repr(value[:_MAX_REPR])
    else:
        try:
            yield repr(value)
        except Exception:  # the object's own code, which may raise anything
            yield f"<{kind.__name__} without a repr>"
