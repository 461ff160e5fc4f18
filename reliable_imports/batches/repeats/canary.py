"""A repeat batch that tries a few items for each reason first, and then takes the rest of what is repaired.

The batch grows once, when the first few have ended: in one transaction, so that a process may die at any moment, and
under locks, so that one of several workers does it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

from psycopg2.extras import Json

from reliable_imports.batches.deliveries import log
from reliable_imports.batches.duplicates import Keying
from reliable_imports.batches.repeats.taking import take_and_read_again
from reliable_imports.postgres.connect import Connection, transaction
from reliable_imports.postgres.queries import load
from reliable_imports.processor.facts import Facts

_INGEST = load("ingest.sql")
_REPROCESS = load("reprocess.sql")
_WORK = load("work.sql")


class _Unrepaired(NamedTuple):
    """A reason for which all of the first few have failed again."""

    reason: str
    tried: int
    left_alone: int


def begin_canary(cursor: Any, batch_id: int, chosen: Mapping[str, Any], limit: int | None) -> None:
    """Keep with the batch, which has its first few items, what else was asked for, if anything of it is left."""
    cursor.execute(_with_chosen("are_any_left"), chosen)
    if cursor.fetchone() == (False,):
        return
    since = chosen["since"]
    kept = {**chosen, "since": None if since is None else since.isoformat(), "limit": limit}
    cursor.execute(_REPROCESS["begin_canary"], {"batch_id": batch_id, "canary": Json(kept)})


def take_rest(connection: Connection, batch_id: int, facts: Facts) -> bool:
    """Take the rest of the batch's items, once the first few have ended, but for reasons that are not repaired.

    Returns whether the batch is to be worked again: it has more items, or is to be closed. Safe to repeat.
    """
    with transaction(connection) as cursor:
        cursor.execute(_REPROCESS["lock_lineage"], {"batch_id": batch_id})
        cursor.execute(_WORK["lock_batch"], {"batch_id": batch_id})
        cursor.execute(_REPROCESS["find_canary"], {"batch_id": batch_id})
        found = cursor.fetchone()
        if found is None:  # not yet, or another worker has taken the rest: then there may be work
            cursor.execute(_WORK["has_free_range"], {"batch_id": batch_id})
            return cursor.fetchone() is not None
        asked, tried = found
        since = asked["since"]
        asked["since"] = None if since is None else datetime.fromisoformat(since)
        unrepaired = _unrepaired(cursor, batch_id, asked)
        excluded = [*asked["exclude_reasons"], *[each.reason for each in unrepaired]]
        taken, _ = take_and_read_again(
            cursor,
            _REPROCESS["outstanding_items"],
            {**asked, "exclude_reasons": excluded, "new_batch_id": batch_id},
            facts.processor.source_options,
            after=tried,
            limit=None if asked["limit"] is None else max(0, asked["limit"] - tried),
        )
        total = tried + taken
        warnings = [
            f"{each.reason} is not repaired: {each.tried:,} of {each.tried:,} the same, {each.left_alone:,} left alone"
            for each in unrepaired
            if each.left_alone
        ]
        cursor.execute(_REPROCESS["end_canary"], {"batch_id": batch_id, "total_items": total, "warnings": warnings})
        cursor.execute(_INGEST["make_ranges"], {"batch_id": batch_id, "total_items": total})
        keying = Keying.of(facts)
        if keying is not None and taken:
            keying.mark_duplicates(cursor, batch_id)
        log(cursor, batch_id, "info", "canary ended", {"tried": tried, "taken": taken})
        for warning in warnings:
            log(cursor, batch_id, "warning", warning, {})
        return True


def _unrepaired(cursor: Any, batch_id: int, asked: Mapping[str, Any]) -> Sequence[_Unrepaired]:
    cursor.execute(_REPROCESS["canary_outcomes"], {"batch_id": batch_id})
    tried = {reason: tried for reason, tried, failed_again in cursor.fetchall() if failed_again == tried}
    if not tried:
        return []
    cursor.execute(_with_chosen("count_left"), {**asked, "reasons": list(tried)})
    left = dict(cursor.fetchall())
    return [_Unrepaired(reason, number, left.get(reason, 0)) for reason, number in tried.items()]


def _with_chosen(query: str) -> str:
    return _REPROCESS[query].replace("{chosen}", _REPROCESS["outstanding_items"])
