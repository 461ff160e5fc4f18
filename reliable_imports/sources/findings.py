"""What reading a source finds out beside its items."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(slots=True)
class Findings:
    """Filled while a source is read; whole when its last item has been.

    Attributes:
        codec: the encoding of the text, byte order included; None where there is no text.
        header: the cells of the header, as they stand; None where the source has none.
        columns: the names of those that have one: the fields that an item may have. Known before the first item.
        delimiter: what the file itself says that it is delimited by; None if it does not.
        left_out: lines and cells that are in no item, though the options say so; how many of each, for the log.
        warnings: what people should know, a sentence each.
    """

    codec: str | None = None
    header: Sequence[str] | None = None
    columns: Sequence[str] | None = None
    delimiter: str | None = None
    left_out: dict[str, int] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    def leave_out(self, what: str, count: int = 1) -> None:
        self.left_out[what] = self.left_out.get(what, 0) + count
