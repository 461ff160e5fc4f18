"""Deliveries that came before: under the same idempotency key, or with the same content."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sized
from dataclasses import dataclass
from typing import Any, Literal

from psycopg2.extras import Json

from reliable_imports.errors import AlreadyImported
from reliable_imports.log import logger
from reliable_imports.models import Delivery
from reliable_imports.postgres.connect import Connection, one_row, transaction
from reliable_imports.postgres.queries import load
from reliable_imports.sources import Source

SameContent = Literal["warn", "skip", "refuse"]
"""What becomes of a file whose content is that of an earlier batch: stored with a warning, not stored, or refused."""

_INGEST = load("ingest.sql")
_WORK = load("work.sql")


@dataclass(frozen=True, slots=True)
class Offer:
    """What somebody wants to be stored, before anything is."""

    batch_type: str
    items: Iterable[object]
    source: str | None
    idempotency_key: str | None
    requested_by: str | None
    metadata: Mapping[str, Any]
    same_content: SameContent


@dataclass(frozen=True, slots=True)
class EarlierBatch:
    """A batch that holds what is delivered now, or what was delivered under the same key."""

    id: int
    source: str | None
    source_sha256: str | None
    source_bytes: int | None
    total_items: int
    is_finished: bool


def find_by_key(cursor: Any, offer: Offer) -> EarlierBatch | None:
    """The batch that the offer's idempotency key names."""
    if offer.idempotency_key is None:
        return None
    cursor.execute(_INGEST["find_delivery"], {"batch_type": offer.batch_type, "idempotency_key": offer.idempotency_key})
    row = one_row(cursor)
    if row is None:
        return None
    return EarlierBatch(**{name: row[name] for name in EarlierBatch.__slots__})


def find_by_content(cursor: Any, offer: Offer, sha256: str, size: int, batch_id: int = 0) -> EarlierBatch | None:
    """The newest batch with this content, *batch_id* itself left out.

    None if a file of its name, or of the offer's, has come with other content since: then this content is news again.
    """
    cursor.execute(
        _INGEST["find_same_content"],
        {
            "batch_id": batch_id,
            "batch_type": offer.batch_type,
            "source": offer.source,
            "sha256": sha256,
            "size": size,
            "metadata": Json(dict(offer.metadata)),
        },
    )
    row = one_row(cursor)
    return None if row is None else EarlierBatch(**row)


def find_before_reading(connection: Connection, offer: Offer) -> EarlierBatch | None:
    """The batch with the content that the file has now.

    Only where it would not be stored again, and if a batch has its size: then the file is read once for its hash, which
    takes much less than storing it, and leaves nothing behind.
    """
    items = offer.items
    if offer.same_content == "warn" or not isinstance(items, Source) or items.total_bytes is None:
        return None
    with connection.cursor() as cursor:
        cursor.execute(_INGEST["find_size"], {"batch_type": offer.batch_type, "size": items.total_bytes})
        if cursor.fetchone() is None:
            return None
        sha256 = items.read_to_its_end()
        return None if sha256 is None else find_by_content(cursor, offer, sha256, items.total_bytes)


def told_of_same_key(connection: Connection, offer: Offer, earlier: EarlierBatch) -> Delivery:
    """The delivery that the key has made unnecessary; if what came now is something else, that is said."""
    if not _is_other_content(offer.items, earlier):
        return Delivery(earlier.id, is_new=False, warnings=())
    warning = (
        f"what came from {offer.source or 'the items'} was not stored, though its content is another one: its "
        f"idempotency key names batch {earlier.id}, from {earlier.source or 'items'}; give each delivery its own key"
    )
    with transaction(connection) as cursor:
        log(cursor, earlier.id, "warning", "its idempotency key came with other content", {"source": offer.source})
    logger.warning("idempotency key with other content", extra={"batch_id": earlier.id, "source": offer.source})
    return Delivery(earlier.id, is_new=False, warnings=(warning,))


def told_of_same_content(connection: Connection, offer: Offer, earlier: EarlierBatch) -> Delivery:
    """The delivery that the content has made unnecessary. Its key names the earlier batch from now on.

    Raises AlreadyImported: nobody said that it should be skipped.
    """
    if offer.same_content == "refuse":
        raise AlreadyImported(offer.source, earlier.id, is_finished=earlier.is_finished)
    with transaction(connection) as cursor:
        if offer.idempotency_key is not None:
            cursor.execute(
                _INGEST["insert_unchanged_delivery"],
                {
                    "batch_type": offer.batch_type,
                    "idempotency_key": offer.idempotency_key,
                    "batch_id": earlier.id,
                    "source": offer.source,
                },
            )
        log(cursor, earlier.id, "info", "delivered again, unchanged", {"source": offer.source})
    logger.info("delivered again, unchanged", extra={"batch_id": earlier.id, "source": offer.source})
    return Delivery(earlier.id, is_new=False, warnings=())


def add_warning(connection: Connection, batch_id: int, warning: str) -> None:
    """Keep a warning that came up later, unless the batch has it already."""
    with transaction(connection) as cursor:
        cursor.execute(_INGEST["add_warning"], {"batch_id": batch_id, "warning": warning})
        if cursor.rowcount:
            log(cursor, batch_id, "warning", warning, {})


def same_content_warning(earlier: EarlierBatch) -> str:
    held = f", from {earlier.source}" if earlier.source is not None else ""
    return f"the same content is in batch {earlier.id} already{held}; skip_unchanged leaves out what comes twice"


def log(cursor: Any, batch_id: int, level: str, message: str, details: Mapping[str, Any]) -> None:
    """A line in the batch's audit log."""
    cursor.execute(
        _WORK["insert_log"],
        {"batch_id": batch_id, "run_id": None, "level": level, "message": message, "details": Json(dict(details))},
    )


def _is_other_content(items: Iterable[object], earlier: EarlierBatch) -> bool:
    """Whether that is known: what is a generator, or cannot be read now, is taken for the same."""
    if not isinstance(items, Source):
        return isinstance(items, Sized) and earlier.source_sha256 is None and len(items) != earlier.total_items
    if earlier.source_sha256 is None:
        return False
    if None not in (items.total_bytes, earlier.source_bytes) and items.total_bytes != earlier.source_bytes:
        return True
    sha256 = items.read_to_its_end()
    return sha256 is not None and sha256 != earlier.source_sha256
