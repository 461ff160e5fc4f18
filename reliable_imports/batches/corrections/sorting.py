"""Which corrections can still be made: an item is repeated once, whoever does it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from reliable_imports.batches.corrections.cells import is_same
from reliable_imports.errors import ConfigurationError
from reliable_imports.items.json_read import loads
from reliable_imports.postgres.connect import rows
from reliable_imports.postgres.queries import load

_CORRECTIONS = load("corrections.sql")


class ItemId(NamedTuple):
    """An item of a batch."""

    batch_id: int
    item_number: int

    def __str__(self) -> str:
        return f"{self.batch_id}/{self.item_number}"


@dataclass(frozen=True, slots=True)
class SortedOut:
    """What becomes of corrections.

    Attributes:
        to_make: those that can be made, by the first batch of their lineage.
        made: items that are repeated already with this very data, and by which item.
        refused: items that cannot be corrected, and why.
        under_way: batches with items of *made* that have not ended: whoever made them may have died.
        held: likewise, but people hold them back.
    """

    to_make: Mapping[int, Mapping[ItemId, Any]]
    made: Mapping[ItemId, ItemId]
    refused: Mapping[ItemId, str]
    under_way: Sequence[int] = ()
    held: Sequence[int] = ()

    @property
    def refusal(self) -> str:
        """Those that are refused, in words."""
        return refusal_of(self.refused)


def refusal_of(refused: Mapping[ItemId, str]) -> str:
    told = [f"item {item} {why}" for item, why in refused.items()]
    return "; ".join(told[:5]) + (f"; and {len(told) - 5} more" if len(told) > 5 else "")


def named_items(cursor: Any, items: Sequence[ItemId]) -> dict[ItemId, dict[str, Any]]:
    """How the items stand, in their order.

    Raises:
        ConfigurationError: there is no such item.
    """
    cursor.execute(
        _CORRECTIONS["named_items"],
        {"batches": [item.batch_id for item in items], "items": [item.item_number for item in items]},
    )
    found = {ItemId(row["batch_id"], row["item_number"]): row for row in rows(cursor)}
    for item in items:
        if not found[item]["is_known"]:
            raise ConfigurationError(f"there is no item {item}")
    return {item: found[item] for item in items}


def sort_out(found: Mapping[ItemId, Mapping[str, Any]], data: Mapping[ItemId, Any]) -> SortedOut:
    """What becomes of the corrections of items that stand so."""
    to_make: dict[int, dict[ItemId, Any]] = {}
    made: dict[ItemId, ItemId] = {}
    refused: dict[ItemId, str] = {}
    open_batches: dict[int, bool] = {}
    for item, value in data.items():
        row = found[item]
        if row["repeated_by_batch"] is not None and _is_made(row, value):
            made[item] = ItemId(row["repeated_by_batch"], row["repeated_by_item"])
            if row["is_under_way"]:
                open_batches[row["repeated_by_batch"]] = row["is_held"]
        elif (why := why_not(row)) is not None:
            refused[item] = why
        else:
            to_make.setdefault(row["first_batch_id"], {})[item] = value
    under_way, held = (sorted(each for each, is_held in open_batches.items() if is_held is of) for of in (False, True))
    return SortedOut(to_make, made, refused, under_way, held)


def why_not(row: Mapping[str, Any]) -> str | None:
    """Why an item cannot be corrected, to follow its name; None if it can."""
    if row["is_erased"]:
        return "has no data any more: it was erased"
    if row["repeated_by_batch"] is not None:
        by = f"was repeated meanwhile by item {row['newest_batch']}/{row['newest_item']}"
        match row["newest_outcome"]:
            case None if row["is_cancelled"]:
                return f"{by}, which a cancelled batch left undone: reprocess batch {row['newest_batch']}"
            case None:
                return f"{by}, which has not ended"
            case "failed":
                return f"{by}, which has failed: correct that one"
            case outcome:
                return f"{by}, which was {outcome}"
    if row["outcome"] != "failed":
        return f"has not failed: it was {row['outcome']}" if row["outcome"] else "has not failed: it has not ended"
    if not row["is_free"]:
        return f"is of batch {row['batch_id']}, which has not ended"
    return None


def _is_made(row: Mapping[str, Any], value: Any) -> bool:
    if not row["is_corrected"] or (row["newest_outcome"] is None and row["is_cancelled"]):
        return False
    text = row["repeated_data"] if row["repeated_raw"] is None else bytes(row["repeated_raw"])
    try:
        return text is not None and is_same(loads(text, decimals=True), value)
    except (ValueError, RecursionError):
        return False
