"""A correction: a repeat that has data of its own. The item that failed stays as it is."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from reliable_imports.batches.corrections.cells import is_same
from reliable_imports.batches.corrections.sorting import ItemId, named_items, refusal_of, sort_out
from reliable_imports.batches.repeats.request import Correct, ReprocessRequest, SetFields
from reliable_imports.batches.repeats.taking import take_corrected
from reliable_imports.errors import ConfigurationError
from reliable_imports.items.json_read import loads
from reliable_imports.items.json_write import TooLarge, dumps_item, place_of_nan
from reliable_imports.items.source_item import SourceItem
from reliable_imports.postgres.queries import load
from reliable_imports.processor.base import BaseProcessor

_CORRECTIONS = load("corrections.sql")
_NAMED = re.compile(r"([0-9]{1,18})/([0-9]{1,18})")


def corrected_from(request: ReprocessRequest) -> str | None:
    """What is kept with the batch; None if the request corrects nothing."""
    if request.corrections is None:
        return None
    return request.corrected_from or "Python"


def correct_items(
    cursor: Any,
    items: str,
    chosen: Mapping[str, Any],
    request: ReprocessRequest,
    processor: type[BaseProcessor] | None,
) -> int:
    """Take what the request corrects into a new batch, under the lock of the lineage; how many items it is.

    Args:
        items: SQL that chooses what was asked for, with the parameters *chosen*.

    Raises:
        ConfigurationError: there is no such item, it cannot be corrected any more, or what it should hold is no
            JSON.
    """
    corrections = request.corrections
    if isinstance(corrections, Mapping):
        data = _to_make(cursor, corrections, chosen["first_batch_id"])
        parameters = {
            **chosen,
            "corrected_batches": [item.batch_id for item in data],
            "corrected_items": [item.item_number for item in data],
        }
        narrowed = _CORRECTIONS["corrected_items"].replace("{chosen}", items)
        return take_corrected(cursor, narrowed, parameters, lambda item, was, is_read: _stored(item, data[item]))
    assert corrections is not None
    return take_corrected(cursor, items, chosen, _by_callable(corrections, processor), limit=request.limit)


def has_these_fields(cursor: Any, batch_id: int, fields: SetFields) -> bool:
    """Whether all items of a batch of corrections have these constants."""
    correct = _by_callable(fields, None)
    cursor.execute(_CORRECTIONS["corrected_data"], {"batch_id": batch_id})
    return all(correct(ItemId(batch_id, number), text, True) is None for number, text in cursor.fetchall())


def find_begun(cursor: Any, request: ReprocessRequest) -> int | None:
    """The oldest batch that made the very corrections of a mapping, and has not ended."""
    assert isinstance(request.corrections, Mapping)
    data = _by_item(request.corrections)
    written = {item: _as_stored(item, value) for item, value in data.items()}
    sorted_out = sort_out(named_items(cursor, list(data)), written)
    return next(iter(sorted_out.held if request.hold else sorted_out.under_way), None)


def _to_make(cursor: Any, corrections: Mapping[Any, Any], first_batch_id: int) -> Mapping[ItemId, Any]:
    data = _by_item(corrections)
    found = named_items(cursor, list(data))
    for item, row in found.items():
        if row["first_batch_id"] != first_batch_id:
            raise ConfigurationError(
                f"item {item} is of the lineage of batch {row['first_batch_id']}; make a request for each lineage"
            )
    # As it will be stored, so that what was made already is known again.
    written = {item: _as_stored(item, value) for item, value in data.items()}
    sorted_out = sort_out(found, written)
    if sorted_out.refused:
        raise ConfigurationError(f"nothing was corrected: {refusal_of(sorted_out.refused)}")
    to_make = sorted_out.to_make.get(first_batch_id, {})
    return {item: data[item] for item in to_make}


def _by_item(corrections: Mapping[Any, Any]) -> dict[ItemId, Any]:
    data: dict[ItemId, Any] = {}
    for key, value in corrections.items():
        item = _item_id(key)
        if item in data:
            raise ConfigurationError(f"item {item} is named twice in corrections")
        data[item] = value
    return data


def _item_id(key: object) -> ItemId:
    if isinstance(key, tuple) and len(key) == 2 and all(type(each) is int and 0 <= each < 10**18 for each in key):
        return ItemId(*key)
    named = _NAMED.fullmatch(key) if isinstance(key, str) else None
    if named is None:
        raise ConfigurationError(
            f"{key!r} names no item in corrections; write (batch_id, item_number), or a text such as '4/17'"
        )
    return ItemId(int(named[1]), int(named[2]))


def _by_callable(
    correct: Correct, processor: type[BaseProcessor] | None
) -> Callable[[ItemId, str | bytes, bool], SourceItem | None]:
    decimals = getattr(correct, "exact", processor is not None and processor.decimals)

    def corrected(item: ItemId, was: str | bytes, is_read: bool) -> SourceItem | None:
        if not is_read:
            return None
        try:
            data = loads(was, decimals=decimals)
        except ValueError:
            return None
        new = correct(data)
        # It may have changed what it was given.
        if new is None or is_same(new, loads(was, decimals=decimals)):
            return None
        return _stored(item, new)

    return corrected


def _as_stored(item: ItemId, value: Any) -> Any:
    stored = _stored(item, value)
    return loads(stored.text if stored.text is not None else stored.raw or b"", decimals=True)


def _stored(item: ItemId, value: Any) -> SourceItem:
    try:
        stored = dumps_item(value)
    except TooLarge as error:
        raise ConfigurationError(f"the correction of item {item} is {error}") from None
    problem = stored.problem
    if problem is None and (place := place_of_nan(value, "$")) is not None:
        problem = f"{place}: NaN is not JSON"
    if problem is not None:
        raise ConfigurationError(f"the correction of item {item} cannot be kept as JSON: {problem}")
    return stored
