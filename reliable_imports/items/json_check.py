"""Whether a text is one JSON value that PostgreSQL reads too, and what keeps it from being one."""

from __future__ import annotations

import json
import re
import sys
from typing import Any, NamedTuple

MAX_NESTING = 200
"""Objects and arrays within each other: far more than data has, and little enough for Python at any depth of calls."""

TOO_DEEP = f"nested more than {MAX_NESTING} levels deep"
_ESCAPES = re.compile(
    r"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(?P<unreadable>u0000|u[dD][89a-fA-F])|.)", re.DOTALL
)
_BRACKETS = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|[\[{]+|[\]}]+', re.DOTALL)


class Problem(NamedTuple):
    """Why a text is no item: a `kind` of SourceItem, and the reason in words."""

    kind: str
    text: str


def server_can_read(text: str) -> bool:
    """Whether PostgreSQL's json operators take this JSON: they refuse escaped NUL characters and lone surrogates."""
    if "\\u0000" not in text and "\\ud" not in text and "\\uD" not in text:
        return True
    return not any(escape["unreadable"] for escape in _ESCAPES.finditer(text))


def is_utf8(text: str) -> bool:
    """Whether *text* can be sent at all: a lone surrogate cannot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def shortened(name: str) -> str:
    """A name in quotes, as JSON in ASCII, so that nothing in it does harm where it is shown."""
    return json.dumps(name if len(name) <= 60 else name[:60] + "…")


class JsonChecker:
    """Checks many texts, one at a time; making one costs more than checking a short text."""

    def __init__(self, *, max_fields: int = sys.maxsize) -> None:
        self._max_fields = max_fields
        self._most_fields = 0
        self._repeated_key: str | None = None
        self._decoder = json.JSONDecoder(
            # The values are of no interest, so numbers stay text: no limit of digits, nothing to overflow.
            object_pairs_hook=self._note_members,
            parse_float=str,
            parse_int=str,
            parse_constant=refuse_constant,
        )

    def check(self, text: str) -> Problem | None:
        """What keeps *text* from being one JSON value (RFC 8259), if anything does. It has no white space around it."""
        try:
            end = self.find_end(text, 0)
        except json.JSONDecodeError as error:
            return Problem("bad-json", f"{error.msg[0].lower()}{error.msg[1:]} (character {error.pos + 1})")
        except BadNumber as error:
            return Problem("bad-json", str(error))
        except RecursionError:
            return Problem("too-deep", TOO_DEEP)
        if end != len(text):
            return Problem("bad-json", f"extra data (character {end + 1})")
        return self.problem_of_found(text)

    def find_end(self, text: str, start: int) -> int:
        """Where the JSON value ends that begins at *start*.

        Raises:
            ValueError: there is none, or not a whole one; usually a JSONDecodeError.
            RecursionError: its nesting is deeper than Python can follow.
        """
        self._repeated_key = None
        self._most_fields = 0
        return self._decoder.raw_decode(text, start)[1]

    def problem_of_found(self, text: str) -> Problem | None:
        """What is wrong with the value that `find_end` found last, and whose text is *text*, though it is JSON."""
        if self._repeated_key is not None:
            return Problem("repeated-key", f"the key {shortened(self._repeated_key)} is repeated in one object")
        if self._most_fields:
            return Problem(
                "too-many-fields", f"an object has {self._most_fields:,} fields, and {self._max_fields:,} are the most"
            )
        # Cheap tests first: each level of nesting takes two characters, and most items have few brackets.
        if (
            len(text) > 2 * MAX_NESTING
            and text.count("[") + text.count("{") > MAX_NESTING
            and _nesting(text) > MAX_NESTING
        ):
            return Problem("too-deep", TOO_DEEP)
        return None

    def _note_members(self, pairs: list[tuple[str, Any]]) -> None:
        if len(pairs) > self._max_fields:
            self._most_fields = max(self._most_fields, len(pairs))
        if len(pairs) != len(dict(pairs)) and self._repeated_key is None:
            seen: set[str] = set()
            for name, _ in pairs:
                if name in seen:
                    self._repeated_key = name
                seen.add(name)


class BadNumber(ValueError):
    """A number that is not JSON, or that Python cannot hold."""


def refuse_constant(name: str) -> None:
    raise BadNumber(f"{name} is not JSON")


def _nesting(text: str) -> int:
    depth = deepest = 0
    for match in _BRACKETS.finditer(text):
        brackets = match[0]
        if brackets[0] in "[{":
            depth += len(brackets)
            deepest = max(deepest, depth)
        elif brackets[0] != '"':
            depth -= len(brackets)
    return deepest
