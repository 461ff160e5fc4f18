"""Which cells of a row stand in quotes: what the csv module does not tell."""

from __future__ import annotations

import re

from reliable_imports.sources.options import SourceOptions


class QuotedCells:
    """Looks at the text of rows that were read already, so it is known to be well-formed."""

    def __init__(self, delimiter: str, options: SourceOptions) -> None:
        self._quotechar = options.quotechar
        self._delimiter = delimiter
        escape = re.escape(options.escapechar) if options.escapechar else r"(?!)"
        end = re.escape(delimiter)
        if options.quotechar is None:
            self._cell = re.compile(rf"(?P<bare>(?:{escape}.|(?!{end}).)*)(?:{end}|\Z)", re.DOTALL)
            return
        quote = re.escape(options.quotechar)
        self._stray = re.compile(rf"(?:{escape}.|(?!{escape}|{quote}).)*{quote}", re.DOTALL)
        quoted = rf"{quote}(?:{escape}.|{quote}{quote}|(?!{quote}).)*{quote}"
        bare = rf"(?:{escape}.|(?!{end}).)*"
        self._cell = re.compile(rf"(?:(?P<quoted>{quoted})|(?P<bare>{bare}))(?:{end}|\Z)", re.DOTALL)

    def judge(self, text: str, cells: list[str]) -> tuple[list[str | None], bool]:
        """The cells with None for empty ones without quotes; and whether a quote stands within one without."""
        if self._quotechar is None or self._quotechar not in text:
            return [cell or None for cell in cells], False
        bare = [match["bare"] for match in self._cell.finditer(text.rstrip("\r\n"))][: len(cells)]
        judged = [None if text == "" else cell for text, cell in zip(bare, cells, strict=True)]
        return judged, any(text and self._has_stray_quote(text) for text in bare)

    def _has_stray_quote(self, bare: str) -> bool:
        return self._stray.match(bare) is not None
