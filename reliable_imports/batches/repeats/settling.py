"""Failures that a corrected delivery has settled: what failed was delivered again later, and completed.

They are repeated by items that are skipped, so that history stays as it is and nothing of them is outstanding.
"""

from __future__ import annotations

from itertools import groupby
from typing import Any, NamedTuple

from reliable_imports.batches.deliveries import log
from reliable_imports.batches.duplicates import Keying
from reliable_imports.postgres.connect import Connection, transaction
from reliable_imports.postgres.queries import load
from reliable_imports.statuses import Runner

_SETTLING = load("settling.sql")
_REPROCESS = load("reprocess.sql")


class _Settled(NamedTuple):
    """A failure, and the item that was delivered later and has completed its key."""

    first_batch_id: int
    batch_id: int
    item_number: int
    by_batch: int
    by_item: int


def settle(connection: Connection, batch_type: str, keying: Keying | None, runner: Runner) -> int:
    """Settle failures by all batches of the type that have ended since this was last done; how many there were.

    Safe to repeat and to call from several places at once. A batch that ended while its process died is looked at by
    whoever comes next.

    Args:
        keying: the natural key of the type's items; without one nothing settles anything.
    """
    with transaction(connection) as cursor:
        cursor.execute(_SETTLING["unsettled_batches"], {"batch_type": batch_type})
        if not cursor.fetchall():
            return 0
        cursor.execute(_SETTLING["lock_type"], {"batch_type": batch_type})
        cursor.execute(_SETTLING["unsettled_batches"], {"batch_type": batch_type})
        ended = cursor.fetchall()
        settled = 0
        if keying is not None:
            found = {each[1:3]: each for batch in ended for each in _settled_by(cursor, batch_type, batch, keying)}
            for _, of_lineage in groupby(sorted(found.values()), key=lambda each: each.first_batch_id):
                settled += _skip(cursor, list(of_lineage), runner)
        cursor.execute(_SETTLING["note_settled"], {"batches": [batch_id for batch_id, _ in ended]})
        return settled


def _settled_by(cursor: Any, batch_type: str, batch: tuple[int, int], keying: Keying) -> list[_Settled]:
    """What the items of a batch settle, and what of it newer batches have settled meanwhile."""
    batch_id, first_batch_id = batch
    asked = {"batch_type": batch_type, "batch_id": batch_id, "first_batch_id": first_batch_id}
    cursor.execute(_SETTLING["older_failures"], asked)
    older = [number for (number,) in cursor.fetchall()]
    if older:
        cursor.execute(_SETTLING["with_outstanding"], {"batches": older})
        outstanding = [number for (number,) in cursor.fetchall()]
        if repeated := set(older).difference(outstanding):
            cursor.execute(_SETTLING["note_all_repeated"], {"batches": sorted(repeated)})
        older = outstanding
    cursor.execute(_SETTLING["newer_batches"], {"batch_id": batch_id})
    newer = [number for (number,) in cursor.fetchall()]
    found: list[_Settled] = []
    for failed_in, completed_in in ((older, [batch_id]), ([batch_id], newer)):
        if failed_in and completed_in:
            statement = cursor.mogrify(_SETTLING["settled"], {"failed_in": failed_in, "completed_in": completed_in})
            key = ", ".join(f'{value} COLLATE "C"' for value in keying.values(cursor))
            cursor.execute(statement.decode().replace("{key}", key))
            found += [_Settled(*row) for row in cursor.fetchall()]
    return found


def _skip(cursor: Any, settled: list[_Settled], runner: Runner) -> int:
    """Repeat failures of one lineage by items that are skipped; how many of them nobody else has taken meanwhile."""
    from reliable_imports.batches.repeats.skipping import skip_repeats  # most deliveries settle nothing
    from reliable_imports.batches.repeats.taking import insert_repeat_batch, seal_repeat_batch, take

    first_batch_id = settled[0].first_batch_id
    cursor.execute(_REPROCESS["lock_lineage"], {"batch_id": first_batch_id})
    batches = [each.batch_id for each in settled]
    items = [each.item_number for each in settled]
    cursor.execute("SAVEPOINT nothing_settled")
    note = "settled by what was delivered later"
    new_batch_id = insert_repeat_batch(cursor, max(batches), note=note)
    taken = take(
        cursor,
        _SETTLING["settled_items"],
        {"new_batch_id": new_batch_id, "first_batch_id": first_batch_id, "batches": batches, "items": items},
    )
    if taken == 0:
        cursor.execute("ROLLBACK TO SAVEPOINT nothing_settled")
        return 0
    seal_repeat_batch(cursor, new_batch_id, taken)
    by = {"by_batches": [each.by_batch for each in settled], "by_items": [each.by_item for each in settled]}
    skip_repeats(cursor, new_batch_id, runner, "skip_settled_items", {"batches": batches, "items": items, **by})
    details = {"items": taken, "batch_id": new_batch_id, "settled_by": sorted(set(by["by_batches"]))}
    for logged_in in (new_batch_id, max(batches)):
        log(cursor, logged_in, "info", "failures settled", details)
    return taken
