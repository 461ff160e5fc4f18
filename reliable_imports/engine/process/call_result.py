"""What a call gave. Apart from what makes the calls, which takes long to import, and which few processors need."""

from __future__ import annotations

from typing import Any, NamedTuple


class CallResult(NamedTuple):
    """What one call gave, or what it raised."""

    value: Any
    error: BaseException | None
