"""How much may become of a file: limits that no honest import meets, so that a small one cannot fill the disk."""

from __future__ import annotations

from dataclasses import dataclass

from reliable_imports.errors import SourceError

MAX_ITEMS = 100_000_000
LARGEST_NUMBER = 2**31 - 2
"""Of an item in its batch: its row holds the number in 32 bits, and a range also that of the item after its last."""
MAX_CONTENT_BYTES = 100 * 1024**3
MAX_RATIO = 250
MAX_FIELDS = 100_000
_ITEM_BYTES = 64
"""What the database keeps beside an item's text, so that items of one byte are not taken for nothing."""
_ALWAYS_ALLOWED = 16 * 1024 * 1024
"""A content of so many bytes fits everywhere, however few stored bytes it comes from."""


@dataclass(slots=True)
class Growth:
    """One reading's content, measured against its limits.

    Attributes:
        content: bytes that were read so far, decompressed.
    """

    source: str
    max_items: int
    max_content_bytes: int
    max_ratio: int
    content: int = 0

    def check_content(self, stored: int, items: int = 0) -> None:
        """Raise SourceError if so many stored bytes have become too much.

        Args:
            items: how many of them were made of the content so far.
        """
        if self.content > self.max_content_bytes:
            raise SourceError(
                self.source,
                f"holds more than {self.max_content_bytes:,} bytes when decompressed, the limit of a source; if that "
                "is meant, raise SourceOptions.max_content_bytes",
            )
        if self.content + items * _ITEM_BYTES > max(_ALWAYS_ALLOWED, self.max_ratio * stored):
            raise SourceError(
                self.source,
                f"{stored:,} stored bytes become more than {self.max_ratio} times as much, which is how a file that is "
                "to fill a disk looks; if it is honest, raise SourceOptions.max_ratio",
            )

    def check_items(self, items: int, stored: int) -> None:
        """Raise SourceError if the items are too many, or far too many for so many stored bytes."""
        if items > self.max_items:
            raise SourceError(self.source, too_many_items(self.max_items))
        self.check_content(stored, items)


def too_many_items(limit: int) -> str:
    return f"holds more than {limit:,} items, the limit of a batch; if that is meant, raise SourceOptions.max_items"


def too_many_fields(limit: int) -> str:
    return f"and {limit:,} are the most of an item; if that is meant, raise SourceOptions.max_fields"
