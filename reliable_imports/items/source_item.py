"""What a source yields: one item as it is going to be stored."""

from __future__ import annotations

import msgspec

MAX_ITEM_BYTES = 16 * 1024 * 1024
"""What one item may hold unless a source is told otherwise."""


class SourceItem(msgspec.Struct, frozen=True, gc=False):
    """One item of a source. Exactly one of `text` and `raw` is set. (A Struct, because a million of them are made.)

    Attributes:
        text: the item as JSON that PostgreSQL reads, in its `json` type and in the operators on it.
        raw: the bytes of an item that cannot be `text`. Without a problem: its JSON in UTF-8, holding `\\u0000` or
            a lone surrogate, which the server's operators refuse and a processor gets all the same. With a problem:
            what stood in the (decompressed) file, without the line end; for a Python object the start of its repr.
        problem: why the item could not be read, in words and without the item's values; None if it could.
        line: 1-based line where the item begins, or the row of a workbook or a Parquet file; None where neither has a
            meaning.
        offset: 0-based byte offset where the item begins in the decompressed source; None where there are no bytes.
        kind: a short stable name for the problem, by which failures are grouped: `short-row`, `long-row`,
            `nameless-cell`, `repeated-header`, `bad-quoting`, `bad-encoding`, `bad-json`, `repeated-key`, `too-deep`,
            `not-json-value`, `too-many-fields`, `cell-error`.
    """

    text: str | None
    raw: bytes | None
    problem: str | None
    line: int | None = None
    offset: int | None = None
    kind: str | None = None
