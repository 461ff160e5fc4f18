"""Counting again: whether every item of a batch is in exactly one place, and all counts say so."""

from __future__ import annotations

from dataclasses import dataclass

from reliable_imports.errors import UnknownBatch
from reliable_imports.items.given import as_numbers
from reliable_imports.postgres.connect import Connection, transaction
from reliable_imports.postgres.queries import load

_VERIFY = load("verification.sql")


@dataclass(frozen=True, slots=True)
class Verification:
    """What was found when a batch was counted again.

    Attributes:
        items: how many items the batch holds.
        problems: what does not add up, in words; empty if all of it does.
    """

    batch_id: int
    items: int
    problems: tuple[str, ...]


def verify(connection: Connection, batch_id: int | None) -> list[Verification]:
    """Count one batch, or all of them, again; each in one snapshot, so it may be worked meanwhile."""
    with transaction(connection) as cursor:
        cursor.execute(_VERIFY["batches"], as_numbers({"batch_id": batch_id}))
        batches = [number for (number,) in cursor.fetchall()]
    if batch_id is not None and not batches:
        raise UnknownBatch(batch_id)
    return [_verify(connection, number) for number in batches]


def _verify(connection: Connection, batch_id: int) -> Verification:
    with transaction(connection) as cursor:
        cursor.execute(_VERIFY["verify"], {"batch_id": batch_id})
        row = cursor.fetchone()
        names = [column.name for column in cursor.description]
    found = dict(zip(names, row, strict=True))
    problems = []
    for name, words in _PROBLEMS.items():
        if number := found[name]:
            problems.append(words.format(number))
    return Verification(batch_id, found["items"], tuple(problems))


_PROBLEMS = {
    "missing_items": "{} items are missing, or their numbers have gaps",
    "strangers": "{} item numbers have outcomes, and no item",
    "done_without_outcome": "{} items are behind the progress of their range, and have no outcome",
    "open_with_outcome": "{} items are still to be done, and have an outcome",
    "several_outcomes": "{} items have more than one outcome",
    "retry_with_outcome": "{} items wait for another try, and have an outcome",
    "wrong_completed": "the counts of completed items are off by {}",
    "wrong_failed": "the counts of failed items are off by {}",
    "wrong_skipped": "the counts of skipped items are off by {}",
    "wrong_run_counts": "the counts of the batch's runs are off by {}",
    "wrong_batch_counts": "the counts of the finished batch differ from those of its ranges",
    "open_in_finished": "{} items of the finished batch are open",
    "broken_links": "{} items repeat an item that is not there",
    "without_data": "{} items repeat an item whose data is not there",
    "wrong_failure_counts": "the kept counts of failures differ for {} reasons",
    "wrong_repeat_counts": "the kept counts of what is repeated differ for {} reasons",
    "wrong_erased": "the count of erased items is off by {}",
}
