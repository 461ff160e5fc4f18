"""A file that is one JSON array: each element is one item, kept as the text that it is.

The elements are cut out of the text, not parsed and written anew, so `1e2`, `-0.0` and thirty digits stay so.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterator

from reliable_imports.errors import SourceError
from reliable_imports.json_text import MAX_NESTING, JsonChecker, server_can_read
from reliable_imports.source_item import SourceItem
from reliable_imports.sources.content import Content

_SPACE = re.compile(r"[ \t\n\r]*")
_CONSTANT = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|(NaN|-?Infinity)', re.DOTALL)
_KINDS = {"{": "an object", '"': "a string", "t": "true", "f": "false", "n": "null"}
_CUT = 16
"""Characters at a window's end that may read as something else once more is there: `tru|e`, `1.|5`, `\\ud8|3d`."""


def read_json_array(content: Content, *, limit: int) -> Iterator[SourceItem]:
    """The elements; one that names a key twice is an item with a problem.

    Raises:
        SourceError: not an array, not JSON from some byte on, cut short, or an element of more than *limit* bytes.
    """
    text = _Text(content)
    if text.next_character() != "[":
        raise text.error(_what_is_there(text))
    text.position += 1
    checker = JsonChecker(max_fields=content.max_fields)
    if text.next_character() == "]":
        text.position += 1
    else:
        yield from _elements(text, checker, limit)
    if text.next_character():
        raise text.error("there is something after the end of the array")


def _elements(text: _Text, checker: JsonChecker, limit: int) -> Iterator[SourceItem]:
    while True:
        text.next_character()
        offset = text.offset_of(text.position)
        end = _find_end(text, checker, limit)
        element = text.text[text.position : end]
        if text.offset_of(end) - offset > limit:
            raise SourceError(
                text.source, f"an element holds more than {limit} bytes, the limit of an item", offset=offset
            )
        text.position = end
        problem = checker.problem_of_found(element)
        if problem is not None:
            yield SourceItem(None, element.encode(text.codec), problem.text, None, offset, problem.kind)
        elif server_can_read(element):
            yield SourceItem(element, None, None, None, offset)
        else:
            yield SourceItem(None, element.encode(), None, None, offset)
        following = text.next_character()
        if following not in (",", "]"):
            raise text.error("',' or ']' expected" if following else "the array is not closed; the file is cut short")
        text.position += 1
        if following == "]":
            return


def _find_end(text: _Text, checker: JsonChecker, limit: int) -> int:
    """Where the value at the text's position ends; reads on until that is certain."""
    while True:
        certain = len(text.text) if text.is_whole else len(text.text) - _CUT
        try:
            end = checker.find_end(text.text, text.position)
            if end <= certain:
                return end
        except json.JSONDecodeError as error:
            if text.is_whole and error.pos >= len(text.text.rstrip()):
                raise text.error("the array is not closed; the file is cut short", error.pos) from None
            # What looks like a string without an end is reported where it begins, and goes on in the next block.
            if text.is_whole or (error.pos < certain and not error.msg.startswith("Unterminated string")):
                raise text.error(f"{error.msg[0].lower()}{error.msg[1:]}", error.pos) from None
        except ValueError as error:
            raise text.error(str(error), _place_of_constant(text)) from None
        except RecursionError:
            raise text.error(f"an element is nested more than {MAX_NESTING} levels deep") from None
        if len(text.text) - text.position > limit + _CUT:
            raise text.error(f"an element does not end within {limit} bytes, the limit of an item")
        text.read_on()


def _place_of_constant(text: _Text) -> int:
    places = (match.start() for match in _CONSTANT.finditer(text.text, text.position) if match[1])
    return next(places, text.position)


def _what_is_there(text: _Text) -> str:
    first = text.next_character()
    if not first:
        return "the file is empty, and no array"
    kind = _KINDS.get(first, "a number" if first in "-0123456789" else "")
    if not kind:
        return "this is no JSON; a JSON array was expected"
    problem = f"this is {kind}, not an array of items"
    try:
        end = JsonChecker().find_end(text.text, text.position)
    except (ValueError, RecursionError):
        return problem
    return f"{problem}; it looks like JSON Lines: name it .jsonl" if text.text[end:].strip() else problem


class _Text:
    """A window on the decoded content: where reading stands in it, and which byte that is."""

    def __init__(self, content: Content) -> None:
        self.source = content.source
        self.codec = content.encoding.codec
        self.text = ""
        self.position = 0
        self.is_whole = False
        """Whether the text goes to the end of the content."""
        self._blocks = content.blocks
        self._decoder = codecs.getincrementaldecoder(self.codec)()
        self._read_to = content.start
        self._known = (0, content.start)
        """A character of the text, and its byte."""

    def next_character(self) -> str:
        """Go to the next character that is no white space; return it, or nothing at the end."""
        while True:
            match = _SPACE.match(self.text, self.position)
            assert match is not None
            self.position = match.end()
            if self.position < len(self.text) or self.is_whole:
                return self.text[self.position : self.position + 1]
            self.read_on()

    def read_on(self) -> None:
        """Let go of what is before the position, and make what is after it at least twice as long, if there is more."""
        self._known = (0, self.offset_of(self.position))
        rest = self.text[self.position :]
        parts = [rest]
        wanted = max(len(rest), 1)
        while wanted > 0 and not self.is_whole:
            part = self._decoded(next(self._blocks, b""))
            wanted -= len(part)
            parts.append(part)
        self.text = "".join(parts)
        self.position = 0

    def offset_of(self, index: int) -> int:
        """The byte of a character; asked for in rising order, as the known place moves along."""
        character, byte = self._known
        if self.codec == "utf-8" and self.text.isascii():
            byte += index - character
        else:
            byte += len(self.text[character:index].encode(self.codec))
        self._known = (index, byte)
        return byte

    def error(self, problem: str, index: int | None = None) -> SourceError:
        return SourceError(self.source, problem, offset=self.offset_of(self.position if index is None else index))

    def _decoded(self, block: bytes) -> str:
        waiting = len(self._decoder.getstate()[0])
        self.is_whole = not block
        try:
            text = self._decoder.decode(block, final=self.is_whole)
        except UnicodeDecodeError as error:
            offset = self._read_to - waiting + error.start
            raise SourceError(self.source, f"cannot be decoded as {self.codec}", offset=offset) from None
        self._read_to += len(block)
        return text
