"""Items as they may be shown: without what their processor calls sensitive.

Everything that shows an item asks here: the command line, exports, reports, logs, Dagster. The stored item stays whole.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any

MASKED = "***"
_SHORTEST = 3


def shown(value: Any, sensitive: Collection[str]) -> Any:
    """A value as JSON is parsed, with `***` for what sensitive fields hold, at any depth."""
    if not sensitive:
        return value
    if isinstance(value, Mapping):
        return {
            name: MASKED if name in sensitive and each is not None else shown(each, sensitive)
            for name, each in value.items()
        }
    return [shown(each, sensitive) for each in value] if isinstance(value, list | tuple) else value


def shown_text(text: str, sensitive: Collection[str]) -> str:
    """An item as it is stored, for a person; one that is no JSON is masked whole, for nobody knows its fields."""
    if not sensitive:
        return text
    from reliable_imports.items.json_read import loads  # most questions show no item
    from reliable_imports.items.json_write import dumps_item

    try:
        masked = dumps_item(shown(loads(text, decimals=True), sensitive)).text
    except (ValueError, RecursionError):
        return MASKED
    return MASKED if masked is None else masked


def with_field_first(text: str, field: str | None) -> str:
    """An item's JSON text with the field that is asked about before the others; as it stands where it has none."""
    if field is None:
        return text
    from reliable_imports.items.json_read import loads
    from reliable_imports.items.json_write import dumps_item

    first = field.split(".")[0]
    try:
        item = loads(text, decimals=True)
    except (ValueError, RecursionError):
        return text
    if not isinstance(item, dict):
        return text
    name = field if field in item else first
    if name not in item or next(iter(item)) == name:
        return text
    ordered = {name: item[name], **{other: value for other, value in item.items() if other != name}}
    return dumps_item(ordered).text or text


def without_secrets(value: Any, source_data: Any, sensitive: Collection[str]) -> Any:
    """What was said of an item, with `***` for what its sensitive fields hold, in whatever case it is written."""
    secrets = _secrets(source_data, frozenset(sensitive))
    if not secrets:
        return shown(value, sensitive)
    longest_first = sorted(set(secrets), key=len, reverse=True)
    pattern = re.compile("|".join(map(re.escape, longest_first)), re.IGNORECASE)
    return _replaced(shown(value, sensitive), pattern)


def _replaced(value: Any, pattern: re.Pattern[str]) -> Any:
    match value:
        case str():
            return pattern.sub(MASKED, value)
        case Mapping():
            return {_replaced(name, pattern): _replaced(each, pattern) for name, each in value.items()}
        case list() | tuple():
            return [_replaced(each, pattern) for each in value]
        case bool() | None:
            return value
    return MASKED if pattern.search(str(value)) else value


def may_keep(field: str | None, value: str | None, source_data: Any, sensitive: frozenset[str]) -> bool:
    """Whether the value of a field may be kept beside an item: not if it is a sensitive one's, under whatever name."""
    if not sensitive or value is None:
        return True
    if field is None or not sensitive.isdisjoint(field.split(".")):
        return False
    told = value.casefold()
    secrets = _secrets(source_data, sensitive)
    return not any(each in told or (len(told) >= _SHORTEST and told in each) for each in secrets)


def is_secret_key(key: str, source_data: Any, sensitive: frozenset[str]) -> bool:
    """Whether a key, of which the parts stand with a comma and a space between them, is told by a sensitive field."""
    if not may_keep("", key, source_data, sensitive):
        return True
    parts = {key, *key.split(", ")}
    return isinstance(source_data, Mapping) and any(
        name in sensitive and _text_of(value) in parts for name, value in source_data.items()
    )


def fields_that_hold(key: str, source_data: Any, sensitive: frozenset[str]) -> tuple[str, ...] | None:
    """The item's fields of which the parts of a key are the values; None if one of them is the value of none."""
    if not isinstance(source_data, Mapping):
        return None
    holders: dict[str, str] = {}
    # A sensitive one rather than another that happens to hold the same.
    for name in sorted(source_data, key=lambda name: name not in sensitive):
        text = _text_of(source_data[name])
        if text is not None:
            holders.setdefault(text, name)
    parts = [key] if key in holders else key.split(", ")
    return tuple(holders[part] for part in parts) if all(part in holders for part in parts) else None


def _text_of(value: Any) -> str | None:
    return str(value) if isinstance(value, str | int) and not isinstance(value, bool) else None


def _secrets(value: Any, sensitive: frozenset[str], *, is_secret: bool = False) -> list[str]:
    """The texts of all that sensitive fields hold, but those that are so short that they are in many others."""
    if isinstance(value, Mapping):
        return [
            text
            for name, each in value.items()
            for text in _secrets(each, sensitive, is_secret=is_secret or name in sensitive)
        ]
    if isinstance(value, list | tuple):
        return [text for each in value for text in _secrets(each, sensitive, is_secret=is_secret)]
    text = str(value).casefold()
    return [text] if is_secret and value is not None and len(text) >= _SHORTEST else []
