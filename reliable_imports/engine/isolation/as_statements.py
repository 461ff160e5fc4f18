"""Declared writes as statements: each is one of its own, which also tells what became of it."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from itertools import accumulate

from reliable_imports.engine.isolation.item_record import ItemRecord
from reliable_imports.engine.isolation.transaction import ChunkTransaction
from reliable_imports.engine.isolation.write_error import WriteError
from reliable_imports.postgres.queries import load

_WRITES = load("writes.sql")

_ITEMS_TOGETHER = 20
"""That share a subtransaction until the server refuses one of their writes."""


def statements_of(item: ItemRecord, transaction: ChunkTransaction) -> tuple[str, bool]:
    """SQL for the writes that one item has declared, and whether it answers what became of them."""
    if not item.needs_telling:
        return "; ".join(write.plan.statement(write) for write in item.declared), False
    parameters = {
        "statements": [write.plan.telling_statement(write, item.origin) for write in item.declared],
        "return_keys": [write.plan.returns_key for write in item.declared],
    }
    return transaction.mogrify(_WRITES["run_writes"], parameters), True


def send_as_statements(
    waiting: Sequence[ItemRecord], transaction: ChunkTransaction, check_deferred_sql: str | None
) -> tuple[list[WriteError], list[ItemRecord]]:
    """Send the writes of many items; return what the server has refused, and the items whose writes found no room.

    Args:
        check_deferred_sql: checks an item's deferred constraints at once; None where the database has none.
    """
    sent = [(owner, write) for owner, item in enumerate(waiting) for write in item.declared]
    entries, separator = _joined([write.plan.telling_statement(write, waiting[owner].origin) for owner, write in sent])
    parameters = {
        "entries": entries,
        "separator": separator,
        "owners": [owner for owner, _ in sent],
        "return_keys": [write.plan.returns_key for _, write in sent],
        "group_ends": _group_ends(waiting),
        "check_deferred": check_deferred_sql if any(write.plan.has_deferrable for _, write in sent) else None,
        "room": transaction.room,
    }
    cursor = transaction.send_for_all(transaction.mogrify(_WRITES["apply_writes"], parameters))
    *told, (tried, *_, subtransactions) = cursor.fetchall()
    errors = []
    for index, verdict, row_key, *facts, _ in told:
        owner, write = sent[index]
        if verdict in ("refused", "waits for others"):
            errors.append(WriteError(waiting[owner], verdict == "waits for others", *facts))
        else:
            waiting[owner].note(write, verdict, row_key)
    transaction.subtransactions += subtransactions
    return errors, list(waiting[sent[tried][0] :]) if tried < len(sent) else []


def _joined(texts: Sequence[str]) -> tuple[str, str]:
    """The texts as one, and what stands between them: the server cuts a text apart faster than it reads an array."""
    separator = "\x1e"
    joined = separator.join(texts)
    while joined.count(separator) >= len(texts):
        separator = secrets.token_hex(8)
        joined = separator.join(texts)
    return joined, separator


def _group_ends(waiting: Sequence[ItemRecord]) -> list[int]:
    """How many writes there are up to the end of each group of neighbouring items."""
    ends = list(accumulate(len(item.declared) for item in waiting))
    return [*ends[_ITEMS_TOGETHER - 1 :: _ITEMS_TOGETHER], *([ends[-1]] if len(ends) % _ITEMS_TOGETHER else [])]
