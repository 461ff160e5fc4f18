"""Running items again: a new batch, linked to the one it repeats, item by item."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from reliable_imports.batches.deliveries import log
from reliable_imports.batches.duplicates import Keying
from reliable_imports.batches.repeats.canary import begin_canary
from reliable_imports.batches.repeats.correcting import correct_items, corrected_from, find_begun, has_these_fields
from reliable_imports.batches.repeats.request import ReprocessRequest, SetFields, WhichItems
from reliable_imports.batches.repeats.skipping import skip_repeats
from reliable_imports.batches.repeats.taking import insert_repeat_batch, seal_repeat_batch, take_and_read_again
from reliable_imports.errors import (
    AmbiguousReason,
    ConfigurationError,
    IdempotencyKeyTaken,
    UnknownBatch,
    UnknownReason,
)
from reliable_imports.postgres.connect import Connection, transaction
from reliable_imports.postgres.queries import load
from reliable_imports.processor.base import BaseProcessor
from reliable_imports.processor.code_version import code_version
from reliable_imports.processor.facts import Facts
from reliable_imports.statuses import Runner

_INGEST = load("ingest.sql")
_REPROCESS = load("reprocess.sql")


def create_reprocess_batch(
    connection: Connection,
    batch_id: int,
    request: ReprocessRequest,
    facts: Facts | None,
    runner: Runner,
) -> int | None:
    """Take the items under the lock of the lineage into a new batch; see `BatchManager.create_reprocess_batch`.

    Args:
        facts: of the processor: tell the natural key, and how files are read now: rows that could not be read are read
            again so.
        runner: who skips items, if they are to be skipped.
    """
    processor = None if facts is None else facts.processor
    with transaction(connection) as cursor:
        first_batch_id, batch_type = lock_lineage(cursor, batch_id)
        if request.idempotency_key is not None:
            cursor.execute(
                _INGEST["find_delivery"], {"batch_type": batch_type, "idempotency_key": request.idempotency_key}
            )
            if (known := cursor.fetchone()) is not None:
                if known[1] != first_batch_id or known[0] == first_batch_id:
                    raise IdempotencyKeyTaken(request.idempotency_key, int(known[0]), batch_id)
                return int(known[0])
        chosen = chosen_by(cursor, batch_id, first_batch_id, request, processor)
        if request.canary is not None and (under_way := _find_open(cursor, chosen, only_canary=True)) is not None:
            return under_way
        cursor.execute("SAVEPOINT nothing_taken")
        new_batch_id = insert_repeat_batch(
            cursor,
            batch_id,
            overwrite_newer=request.overwrite_newer,
            is_held=request.hold,
            corrected_from=corrected_from(request),
            idempotency_key=request.idempotency_key,
            requested_by=request.requested_by,
            note=request.note,
        )
        # Waits for chunks that are under way; after this nobody else works on what a cancelled batch left undone.
        cursor.execute(_REPROCESS["close_cancelled_ranges"], chosen)
        cursor.execute(_REPROCESS["close_cancelled_retries"], chosen)
        items = items_of(request)
        if request.canary is not None:
            items = _REPROCESS["canary_items"].replace("{chosen}", items)
        taken, read_again = take_requested(cursor, items, {**chosen, "new_batch_id": new_batch_id}, request, processor)
        if taken == 0:
            cursor.execute("ROLLBACK TO SAVEPOINT nothing_taken")
            if request.corrections is not None:
                return _find_corrected(cursor, chosen, request)
            if request.skip is not None:
                return None  # what others have begun is theirs
            return _find_open(cursor, chosen)
        seal_repeat_batch(cursor, new_batch_id, taken)
        details: dict[str, Any] = {
            "items": taken,
            "reprocess_of": batch_id,
            "requested_by": request.requested_by,
            "note": request.note,
            "batch_id": new_batch_id,
        }
        if read_again:
            details["items_read_again"] = read_again
        if request.corrections is not None:
            details["corrected_from"] = corrected_from(request)
        if request.skip is not None:
            by = "skipped" if request.requested_by is None else f"skipped by {request.requested_by}"
            skip_repeats(cursor, new_batch_id, runner, "skip_items", {"skip_reason": f"{by}: {request.skip}"})
            details["skip"] = request.skip
            messages = ("items skipped", "failures skipped")
        else:
            cursor.execute(_INGEST["make_ranges"], {"batch_id": new_batch_id, "total_items": taken})
            keying = None if facts is None else Keying.of(facts)
            if keying is not None:
                keying.mark_duplicates(cursor, new_batch_id)
            if request.canary is not None:
                begin_canary(cursor, new_batch_id, chosen, request.limit)
            messages = ("reprocess batch created", "reprocess requested")
            if request.corrections is not None:
                messages = ("batch of corrections created", "corrections requested")
        for logged_in, message in zip((new_batch_id, batch_id), messages, strict=True):
            log(cursor, logged_in, "info", message, details)
        return new_batch_id


def take_requested(
    cursor: Any,
    items: str,
    chosen: Mapping[str, Any],
    request: ReprocessRequest,
    processor: type[BaseProcessor] | None,
) -> tuple[int, int]:
    """Put what the request asks for into a new batch; of how many items, and how many of them can be read now.

    Args:
        items: SQL that chooses them, with the parameters *chosen*.
    """
    if request.corrections is not None:
        return correct_items(cursor, items, chosen, request, processor), 0
    options = None if processor is None else processor.source_options
    return take_and_read_again(cursor, items, chosen, options, limit=request.limit)


def _find_corrected(cursor: Any, chosen: dict[str, Any], request: ReprocessRequest) -> int | None:
    """The open batch that holds just these corrections: whoever made it may have died. Nobody knows of a callable."""
    if isinstance(request.corrections, Mapping):
        return find_begun(cursor, request)
    if not isinstance(request.corrections, SetFields):
        return None
    begun = _find_open(cursor, chosen, corrected_from=corrected_from(request))
    return begun if begun is not None and has_these_fields(cursor, begun, request.corrections) else None


def _find_open(
    cursor: Any, chosen: dict[str, Any], *, only_canary: bool = False, corrected_from: str | None = None
) -> int | None:
    """The open reprocess batch that holds what was asked for."""
    narrowed = {"only_canary": only_canary, "corrected_from": corrected_from}
    cursor.execute(_REPROCESS["find_open_reprocess"], {**chosen, **narrowed})
    open_batch = cursor.fetchone()
    return None if open_batch is None else int(open_batch[0])


def lock_lineage(cursor: Any, batch_id: int) -> tuple[int, str]:
    """Wait until nobody else takes items of the batch's lineage; its first batch, and its batch type.

    Raises UnknownBatch.
    """
    cursor.execute(_REPROCESS["lock_lineage"], {"batch_id": batch_id})
    first = cursor.fetchone()
    if first is None:
        raise UnknownBatch(batch_id)
    return int(first[0]), str(first[1])


def items_of(request: ReprocessRequest) -> str:
    """SQL that chooses items, with the parameters of `chosen_by`."""
    return _REPROCESS["ended_items" if request.which is WhichItems.ALL else "outstanding_items"]


def chosen_by(
    cursor: Any,
    batch_id: int,
    first_batch_id: int,
    request: ReprocessRequest,
    processor: type[BaseProcessor] | None,
) -> dict[str, Any]:
    """The request as parameters of the queries that choose items."""
    changed_from = None
    if request.changed:
        changed_from = None if processor is None else code_version(processor)
        if changed_from is None:
            raise ConfigurationError(
                "nobody knows whether the code has changed: the batch's processor is not registered, or has no source "
                "file"
            )
    return {
        "first_batch_id": first_batch_id,
        "which": request.which.value,
        "reasons": None
        if request.reasons is None
        else _whole_reasons(cursor, batch_id, first_batch_id, request.reasons),
        "exclude_reasons": list(request.exclude_reasons),
        "max_attempts": request.max_attempts,
        "since": request.since,
        "changed_from": changed_from,
        "from_item": request.from_item,
        "to_item": request.to_item,
        "is_held": request.hold,
        "canary": request.canary,
    }


def _whole_reasons(cursor: Any, batch_id: int, first_batch_id: int, prefixes: Sequence[str]) -> list[str]:
    """The reasons that the beginnings of their ids stand for.

    Raises UnknownReason, AmbiguousReason.
    """
    cursor.execute(_REPROCESS["find_reasons"], {"first_batch_id": first_batch_id, "prefixes": list(prefixes)})
    found = {prefix: reasons or [] for prefix, reasons in cursor.fetchall()}
    whole = []
    for prefix in prefixes:
        reasons = found[prefix]
        if not prefix or not reasons:
            raise UnknownReason(prefix, batch_id)
        if prefix not in reasons and len(reasons) > 1:
            raise AmbiguousReason(prefix, sorted(reasons))
        whole.append(prefix if prefix in reasons else reasons[0])
    return whole


def last_of_lineage(connection: Connection, batch_id: int) -> int:
    """The newest batch of the lineage."""
    with transaction(connection) as cursor:
        first_batch_id, _ = lock_lineage(cursor, batch_id)
        cursor.execute(_REPROCESS["find_last_of_lineage"], {"first_batch_id": first_batch_id})
        return int(cursor.fetchone()[0] or batch_id)
