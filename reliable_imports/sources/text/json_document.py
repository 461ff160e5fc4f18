"""A JSON document with an array in it: each element is one item, kept as the text that it is.

The elements are cut out of the text, not parsed and written anew, so `1e2`, `-0.0` and thirty digits stay so. The array
is the document, or the one array of objects in the object that is the document (an envelope, as the answers of most
APIs have it), or stands where a pointer says. Objects one after another, without anything around them, are items too.
Of an object whose members are the items, each under a name of its own, the name becomes a field of the item.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Generator, Iterator, Sequence
from itertools import islice
from typing import Any

from reliable_imports.errors import SourceError
from reliable_imports.items.json_check import MAX_NESTING, JsonChecker, is_utf8, server_can_read, shortened
from reliable_imports.items.source_item import SourceItem
from reliable_imports.sources.options import SourceOptions
from reliable_imports.sources.text.content import Content

_SPACE = re.compile(r"[ \t\n\r]*")
_CONSTANT = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"|(NaN|-?Infinity)', re.DOTALL)
_KINDS = {"{": "an object", "[": "an array", '"': "a string", "t": "true", "f": "false", "n": "null"}
_CUT = 16
"""Characters at a window's end that may read as something else once more is there: `tru|e`, `1.|5`, `\\ud8|3d`."""
_LOOK_AHEAD = 1024 * 1024
"""Characters in which a first object must end, to be seen as one of several."""
_MAX_HINTS = 5

Items = Iterator[SourceItem]


def read_json_document(content: Content, options: SourceOptions) -> Items:
    """The elements; one that names a key twice is an item with a problem.

    Raises:
        SourceError: no array, or more than one to choose from; not JSON from some byte on, cut short, or an element
            over the limit of an item.
    """
    text = _Text(content, options.max_item_bytes)
    if options.pointer is not None or options.member_name is not None:
        return _at_pointer(text, options.pointer or "", options.member_name)
    match text.next_character():
        case "[":
            return _array(text)
        case "{":
            return read_values(text) if _begins_several(text) else _envelope(text)
    raise text.error(_what_is_there(text))


def read_json_values(content: Content, *, limit: int) -> Items:
    """Values one after another, over as many lines as they take; or the elements, if that is one array.

    Raises:
        SourceError: as above.
    """
    text = _Text(content, limit)
    return _array(text) if text.next_character() == "[" else read_values(text)


def read_values(text: _Text) -> Items:
    while text.next_character():
        yield _next_item(text)


def _array(text: _Text) -> Items:
    text.position += 1
    yield from _elements(text)
    text.require_end()


def _elements(text: _Text) -> Items:
    """What stands between the brackets, of which the first one has been read, and the other is read too."""
    for _ in _places(text):
        yield _next_item(text)


def _places(text: _Text) -> Iterator[int]:
    """Stops before each element of an array, for somebody else to read it; counts them from 0."""
    number = 0
    if text.next_character() == "]":
        text.position += 1
        return
    while True:
        text.next_character()
        yield number
        number += 1
        if text.require(",]", "the array is not closed; the file is cut short") == "]":
            return


def _named_members(text: _Text, field: str) -> Items:
    """The members of an object, which begins at the text's position; each with its name as *field*."""
    for name in _members(text):
        yield _next_item(text, f"{_quoted(field)}: {_quoted(name)}")


def _quoted(name: str) -> str:
    return json.dumps(name, ensure_ascii=not is_utf8(name))


def _members(text: _Text) -> Iterator[str]:
    """Stops before the value of each member of an object, for somebody else to read it; gives its name."""
    text.position += 1
    if text.next_character() == "}":
        text.position += 1
        return
    while True:
        if text.next_character() != '"':
            raise text.error("a name in quotes expected" if text.next_character() else _CUT_SHORT)
        name: str = json.loads(text.take(_find_end(text)))
        text.require(":", _CUT_SHORT)
        text.next_character()
        yield name
        if text.require(",}", _CUT_SHORT) == "}":
            return


_CUT_SHORT = "the object is not closed; the file is cut short"


def _next_item(text: _Text, member: str | None = None) -> SourceItem:
    """The value at the text's position.

    Args:
        member: a field that it gets, as JSON; a value that is no object becomes one, with a field `value`.
    """
    offset = text.offset_of(text.position)
    end = _find_end(text)
    if text.offset_of(end) - offset > text.limit:
        raise SourceError(
            text.source, f"an element holds more than {text.limit} bytes, the limit of an item", offset=offset
        )
    element = text.take(end)
    if member is None:
        problem = text.checker.problem_of_found(element)
    else:
        element = _with_member(element, member)
        problem = text.checker.check(element)
    if problem is not None:
        return SourceItem(None, element.encode(text.codec), problem.text, None, offset, problem.kind)
    if server_can_read(element):
        return SourceItem(element, None, None, None, offset)
    return SourceItem(None, element.encode(), None, None, offset)


def _with_member(element: str, member: str) -> str:
    if not element.startswith("{"):
        return f'{{{member}, "value": {element}}}'
    has_fields = element[1:].lstrip(" \t\n\r") != "}"
    return f"{{{member}{', ' if has_fields else ''}{element[1:]}"


def _envelope(text: _Text) -> Items:
    """The elements of the one array of objects that is a member of the document."""
    start = text.offset_of(text.position)
    found: str | None = None
    has_array = False
    deeper: list[str] = []
    for name in _members(text):
        if text.next_character() != "[":
            deeper += _pointers(text.take(_find_end(text)), f"/{_escaped(name)}")
            continue
        text.position += 1
        if text.next_character() != "{":
            has_array = has_array or text.next_character() == "]"
            for _ in _places(text):
                text.take(_find_end(text))
        elif found is not None:
            choices = ", ".join(f"'/{shortened(_escaped(each))[1:-1]}'" for each in (found, name))
            raise text.error(
                f"there are several arrays of objects, {choices}; choose one by SourceOptions(pointer=...)"
            )
        else:
            found = name
            yield from _elements(text)
    text.require_end()
    if found is None and not has_array:
        hint = f"choose one by SourceOptions(pointer=...): {', '.join(deeper)}" if deeper else _ONE_ITEM
        raise SourceError(
            text.source, f"this is an object without an array of objects in it; {hint}; {_MEMBERS}", offset=start
        )


_ONE_ITEM = "if it is one item, name the file .jsonl, or set SourceOptions(format='jsonl')"
_MEMBERS = (
    "if its members are the items, set SourceOptions(member_name='key'), or make lines of them by "
    "jq -c 'to_entries[] | {key} + .value' FILE > FILE.jsonl"
)


def _at_pointer(text: _Text, pointer: str, member_name: str | None) -> Items:
    tokens = [token.replace("~1", "/").replace("~0", "~") for token in pointer.split("/")[1:]]
    start = text.offset_of(text.position)
    if not (yield from _walk(text, tokens, pointer, member_name)):
        raise SourceError(text.source, f"nothing stands at {pointer!r}, the pointer of the options", offset=start)
    text.require_end()


def _walk(
    text: _Text, tokens: Sequence[str], pointer: str, member_name: str | None
) -> Generator[SourceItem, None, bool]:
    """The elements of the array, or members of the object, at the end of the way.

    Reads on to the end of the value where it begins.
    """
    first = text.next_character()
    if not first:
        raise text.error("the file is cut short")
    if not tokens and member_name is not None:
        if first != "{":
            place = f"what stands at {pointer!r}" if pointer else "this"
            raise text.error(f"{place} is {_kind(first)}; the items of member_name are the members of an object")
        yield from _named_members(text, member_name)
        return True
    if not tokens:
        if first != "[":
            raise text.error(f"what stands at {pointer!r} is {_kind(first)}, not an array of items")
        text.position += 1
        yield from _elements(text)
        return True
    found = False
    if first in "{[":
        steps: Iterator[str | int] = _members(text) if first == "{" else _steps(text)
        for step in steps:
            if str(step) != tokens[0]:
                _skip(text)
            elif found:
                raise text.error(f"there are two members {shortened(tokens[0])}")
            else:
                found = yield from _walk(text, tokens[1:], pointer, member_name)
    else:
        _skip(text)
    return found


def _steps(text: _Text) -> Iterator[int]:
    text.position += 1
    return _places(text)


def _skip(text: _Text) -> None:
    if text.next_character() == "[":
        for _ in _steps(text):
            text.take(_find_end(text))
    else:
        text.take(_find_end(text))


def _escaped(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")


def _pointers(value: str, place: str) -> list[str]:
    """Where in a value, cut out of the document, arrays of objects stand; the first few, and not too deep."""
    if not value.startswith("{") or len(value) > _LOOK_AHEAD:
        return []
    try:
        return list(islice(_find_pointers(json.loads(value), place, 3), _MAX_HINTS))
    except (ValueError, RecursionError):  # JSON it is, but not for Python: an integer of 5,000 digits
        return []


def _find_pointers(value: Any, place: str, levels: int) -> Iterator[str]:
    if isinstance(value, list) and value and isinstance(value[0], dict):
        yield repr(place[:200])
    elif isinstance(value, dict) and levels:
        for name, member in value.items():
            yield from _find_pointers(member, f"{place}/{_escaped(name)}", levels - 1)


def _begins_several(text: _Text) -> bool:
    """Whether the object at the text's position is followed by another value, as far as a look ahead can tell."""
    while True:
        try:
            end = text.checker.find_end(text.text, text.position)
            if following := text.text[end:].lstrip():
                return following[0] in "{["
        except (ValueError, RecursionError):
            pass
        if text.is_whole or len(text.text) > _LOOK_AHEAD:
            return False
        text.read_on()


def _find_end(text: _Text) -> int:
    """Where the value at the text's position ends; reads on until that is certain."""
    while True:
        certain = len(text.text) if text.is_whole else len(text.text) - _CUT
        try:
            end = text.checker.find_end(text.text, text.position)
            if end <= certain:
                return end
        except json.JSONDecodeError as error:
            if text.is_whole and error.pos >= len(text.text.rstrip()):
                raise text.error("the JSON does not end; the file is cut short", error.pos) from None
            # What looks like a string without an end is reported where it begins, and goes on in the next block.
            if text.is_whole or (error.pos < certain and not error.msg.startswith("Unterminated string")):
                raise text.error(f"{error.msg[0].lower()}{error.msg[1:]}", error.pos) from None
        except ValueError as error:
            raise text.error(str(error), _place_of_constant(text)) from None
        except RecursionError:
            raise text.error(f"an element is nested more than {MAX_NESTING} levels deep") from None
        if len(text.text) - text.position > text.limit + _CUT:
            raise text.error(f"an element does not end within {text.limit} bytes, the limit of an item")
        text.read_on()


def _place_of_constant(text: _Text) -> int:
    places = (match.start() for match in _CONSTANT.finditer(text.text, text.position) if match[1])
    return next(places, text.position)


def _what_is_there(text: _Text) -> str:
    first = text.next_character()
    if not first:
        return "the file is empty, and no array"
    kind = _kind(first)
    return f"this is {kind}, not an array of items" if kind else "this is no JSON; a JSON array was expected"


def _kind(first: str) -> str:
    return _KINDS.get(first, "a number" if first in "-0123456789" else "")


class _Text:
    """A window on the decoded content: where reading stands in it, and which byte that is."""

    def __init__(self, content: Content, limit: int) -> None:
        self.source = content.source
        self.limit = limit
        self.checker = JsonChecker(max_fields=content.max_fields)
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

    def take(self, end: int) -> str:
        """The text from the position to *end*, which is the position then."""
        taken = self.text[self.position : end]
        self.position = end
        return taken

    def require(self, characters: str, problem_at_end: str) -> str:
        """Go past the next character that is no white space, which must be one of *characters*, and return it."""
        following = self.next_character()
        if not following or following not in characters:
            expected = " or ".join(map(repr, characters))
            raise self.error(f"{expected} expected" if following else problem_at_end)
        self.position += 1
        return following

    def require_end(self) -> None:
        if self.next_character():
            raise self.error("there is something after the end of the document")

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
