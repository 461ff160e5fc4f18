"""What `process_item` returns, as it is kept with the attempt."""

from __future__ import annotations

from collections.abc import Mapping

from reliable_imports.errors import ItemError
from reliable_imports.items.json_write import TooLarge, dumps_item, plain_object


def dumps_result(result: object) -> str | None:
    """The result as JSON text; None stays None.

    Raises:
        ItemError: neither a mapping nor None, or with a value that JSON cannot hold.
    """
    if result is None:
        return None
    if (text := plain_object(result)) is not None:
        return text
    if not isinstance(result, Mapping):
        raise ItemError(f"process_item returned {type(result).__name__}; return a dict such as target_id, or None")
    try:
        stored = dumps_item(result)
    except TooLarge as error:
        raise ItemError(f"what process_item returned holds {error}") from None
    if stored.text is None:
        raise ItemError(f"what process_item returned cannot be kept as JSON: {stored.problem or 'a NUL character'}")
    return stored.text
