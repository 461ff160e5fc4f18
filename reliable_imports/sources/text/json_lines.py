"""JSON Lines: each line is one item, kept as the text that it is.

Values that follow each other within a line are an item each. If the first one takes several lines, as where they were
printed for people to read, lines mean nothing in the whole file.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from itertools import chain, islice

from reliable_imports.errors import SourceError
from reliable_imports.items.json_check import JsonChecker, Problem, server_can_read
from reliable_imports.items.source_item import SourceItem
from reliable_imports.sources.text.content import Content
from reliable_imports.sources.text.encodings import looks_binary
from reliable_imports.sources.text.json_document import read_json_values
from reliable_imports.sources.text.lines import is_longer, split_lines, without_end

_JSON_SPACE = " \t\r\n"
_SPACE = re.compile(r"[ \t\r\n]*")
_TRIED_LINES = 20


def read_json_lines(content: Content, *, limit: int) -> Iterator[SourceItem]:
    """The items; a line that is no JSON value is an item with a problem.

    Raises:
        SourceError: a line holds more than *limit* bytes, or the file is no text at all; or, where values take several
            lines, one that is no JSON.
    """
    if _begins_with_long_value(content):
        yield from read_json_values(content, limit=limit)
        return
    items = _items(content, limit)
    first = []
    for item in islice(items, _TRIED_LINES):
        first.append(item)
        if item.problem is None:
            break
    else:
        if first and looks_binary(content.head, content.encoding):
            raise SourceError(
                content.source,
                "this looks binary, not like JSON Lines; UTF-16 text needs its encoding declared",
                line=1,
            )
    yield from chain(first, items)


def _items(content: Content, limit: int) -> Iterator[SourceItem]:
    codec = content.encoding.codec
    checker = JsonChecker(max_fields=content.max_fields)
    line = 0
    offset = content.start
    # LF alone: U+2028, and a CR within a line, are data.
    for raw in split_lines(content, limit=limit, carriage_return_ends=False):
        line += 1
        start = offset
        offset += len(raw)
        if len(raw) > limit and is_longer(raw, limit, content.encoding):
            raise SourceError(
                content.source, f"the line holds more than {limit} bytes, the limit of an item", line=line, offset=start
            )
        try:
            text = raw.decode(codec).strip(_JSON_SPACE)
        except UnicodeDecodeError as error:
            unread = without_end(raw, content.encoding)
            problem = f"byte {error.start + 1} of the line cannot be decoded as {codec}"
            yield SourceItem(None, unread, problem, line, start, "bad-encoding")
            continue
        if not text:
            continue
        found = checker.check(text)
        if found is None:
            yield _item(text, line, start)
        elif found.kind != "bad-json" or not (places := _places_of_values(checker, text)):
            yield SourceItem(None, without_end(raw, content.encoding), found.text, line, start, found.kind)
        else:
            place = 0
            offset_there = start + len(raw.decode(codec).partition(text)[0].encode(codec))
            for begin, end in places:
                offset_there += len(text[place:begin].encode(codec))
                place = begin
                yield _item(text[begin:end], line, offset_there, checker.check(text[begin:end]), codec)


def _item(text: str, line: int, offset: int, problem: Problem | None = None, codec: str = "") -> SourceItem:
    if problem is not None:
        return SourceItem(None, text.encode(codec), problem.text, line, offset, problem.kind)
    if server_can_read(text):
        return SourceItem(text, None, None, line, offset)
    return SourceItem(None, text.encode(), None, line, offset)


def _places_of_values(checker: JsonChecker, text: str) -> list[tuple[int, int]]:
    """Where the values of a line begin and end, if it holds nothing but objects and arrays; else nothing."""
    places = []
    start = 0
    while start < len(text):
        if text[start] not in "{[":
            return []
        try:
            end = checker.find_end(text, start)
        except (ValueError, RecursionError):
            return []
        places.append((start, end))
        start = _SPACE.match(text, end).end()  # type: ignore[union-attr]  # it fits everything
    return places


def _begins_with_long_value(content: Content) -> bool:
    """Whether the first value begins in the first line of the content that is not empty, and ends in a later one."""
    text = content.head.decode(content.encoding.codec, "replace").lstrip(_JSON_SPACE)
    if text[:1] not in ("{", "["):
        return False
    checker = JsonChecker()
    first_line = text.split("\n", 1)[0].rstrip(_JSON_SPACE)
    if "\n" not in text.rstrip(_JSON_SPACE) or checker.check(first_line) is None:
        return False
    try:
        return "\n" in text[: checker.find_end(text, 0)]
    except json.JSONDecodeError as error:
        # Not broken, as far as it goes: it goes on after the first bytes, or the file is cut short.
        return error.pos >= len(text.rstrip()) or error.msg.startswith("Unterminated string")
    except (ValueError, RecursionError):
        return False
