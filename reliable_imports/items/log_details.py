"""The details of a log line as jsonb takes them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from reliable_imports.items.json_write import TooLarge, dumps_item
from reliable_imports.items.short_repr import short_repr

_MAX_PRINTED = 2_000


def details_json(details: Mapping[str, Any]) -> str | None:
    """Details as JSON, None for none; those that JSON cannot hold, or that are too large, as they print, cut."""
    if not details:
        return None
    try:
        text = dumps_item(details).text
    except TooLarge:
        text = None
    if text is None:
        printed = short_repr(details).decode().replace("\0", "")
        text = json.dumps({"details": printed[:_MAX_PRINTED]})
    return text
