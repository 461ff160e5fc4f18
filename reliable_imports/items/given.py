"""What a caller gives beside the items: refused, by its name, if the database cannot keep it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from reliable_imports.errors import ConfigurationError
from reliable_imports.items.json_check import is_utf8

_MAX_IDEMPOTENCY_KEY = 500


def require_texts(**texts: object) -> None:
    """Raise ConfigurationError if one of *texts* that is not None is no text that PostgreSQL can hold."""
    for name, text in texts.items():
        if text is None:
            continue
        if not isinstance(text, str):
            raise ConfigurationError(f"{name} is a {type(text).__name__}, not a text")
        if "\0" in text:
            raise ConfigurationError(f"{name} holds a NUL character, which PostgreSQL cannot keep; leave it out")
        if not is_utf8(text):
            raise ConfigurationError(f"{name} is no valid Unicode: it holds half of a surrogate pair")


def require_idempotency_key(key: str | None) -> None:
    """Raise ConfigurationError if *key* can name nothing.

    An empty one, as from an unset variable of a shell, would make every delivery the same.
    """
    if key is None:
        return
    if not key.strip() or not key.isprintable() or len(key) > _MAX_IDEMPOTENCY_KEY:
        raise ConfigurationError(
            f"{key[:40]!r} is no idempotency key; give 1 to {_MAX_IDEMPOTENCY_KEY} printable characters"
        )


_LARGEST = 2**63 - 1
"""The largest that PostgreSQL numbers anything with, in a column of type bigint."""


def as_numbers(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters of a question, with the nearest number that a bigint holds for one that none does.

    No batch, item or run has that number either, and as a limit it is as good as none. So nobody who asks has to look
    at numbers before.

    Raises:
        ConfigurationError: a limit is negative.
    """
    for name, value in parameters.items():
        if type(value) is int and value < 0 and name.startswith(("limit", "max_")):
            raise ConfigurationError(f"{name} is {value}, and there are never fewer than none; give 0 or more")
    return {name: _nearest(value) for name, value in parameters.items()}


def _nearest(value: Any) -> Any:
    if type(value) is int:
        return max(-_LARGEST, min(value, _LARGEST))
    return [_nearest(each) for each in value] if type(value) is list else value


def json_object(name: str, values: Mapping[str, Any]) -> str:
    """*values* as the text of a JSON object, written as items are.

    Raises:
        ConfigurationError: JSON, or PostgreSQL's jsonb, cannot hold one of them; says which.
    """
    from reliable_imports.items.json_write import TooLarge, dumps_item, place_of_nan  # most calls give none

    try:
        stored = dumps_item(dict(values))
    except TooLarge as error:
        raise ConfigurationError(f"{name} holds {error}") from None
    if stored.text is None:
        problem = stored.problem or "a text in it holds a NUL character or half of a surrogate pair"
        raise ConfigurationError(f"{name} cannot be kept as JSON: {problem}")
    # Of an item, NaN is a value that is missing; here nobody would expect that.
    if (place := place_of_nan(values, "$")) is not None:
        raise ConfigurationError(f"{name} cannot be kept as JSON: {place}: NaN is not JSON")
    return stored.text
