"""JSON Lines: each line is one item, kept as the text that it is."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, islice

from reliable_imports.errors import SourceError
from reliable_imports.json_text import JsonChecker, server_can_read
from reliable_imports.source_item import SourceItem
from reliable_imports.sources.content import Content
from reliable_imports.sources.encodings import looks_binary
from reliable_imports.sources.lines import is_longer, split_lines, without_end

_JSON_SPACE = " \t\r\n"
_TRIED_LINES = 20


def read_json_lines(content: Content, *, limit: int) -> Iterator[SourceItem]:
    """The items; a line that is no JSON value is an item with a problem.

    Raises:
        SourceError: a line holds more than *limit* bytes, or the file is no text at all.
    """
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
        if found is not None:
            yield SourceItem(None, without_end(raw, content.encoding), found.text, line, start, found.kind)
        elif server_can_read(text):
            yield SourceItem(text, None, None, line, start)
        else:
            yield SourceItem(None, text.encode(), None, line, start)
