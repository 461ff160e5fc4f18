"""What stands beneath the rows of a file and is none of them."""

from __future__ import annotations

import re

TOTAL = re.compile(
    r"(grand |sub)?totals?|sum|summe|gesamt|insgesamt|gesamtsumme|average|mean|saldo|(closing |ending )?balance",
    re.IGNORECASE,
)
"""The first cell of a row that adds others up."""
NOTE = re.compile(
    r"(sources?|notes?|footnotes?|quellen?|hinweise?|stand|created|downloaded|generated|exported|erstellt)\b|[*\u00a9]",
    re.IGNORECASE,
)
"""How a remark begins."""


def pattern_of_beginning(text: str) -> str | None:
    """A pattern for texts that begin like this one, without the digits, which differ from file to file."""
    found = re.match(r"[^\d]{0,30}", text)
    same = found[0].rstrip() if found else ""
    return re.escape(same).replace("\\ ", " ") if len(same) > 2 else None
