"""How the next chunk is made, by what became of the last ones."""

from __future__ import annotations

import math

from reliable_imports.engine.isolation.chunk_writes import ChunkWrites
from reliable_imports.engine.isolation.transaction import MAX_SUBTRANSACTIONS
from reliable_imports.engine.work.claims import MAX_ITEMS

_LARGEST_GROUP = 50
"""Items that share a subtransaction, where hardly any fails."""

_SOME_REFUSALS = 0.03
_FEW_REFUSALS = 0.0016
"""Of all declared writes: with more, most chunks hold one, and trying them as one statement first is in vain."""

_WEIGHT = 0.3
"""Of the last chunk, against those before it."""


class Pace:
    def __init__(self) -> None:
        self._refused = 0.0
        self._undone = 0.0
        self._is_mixed = False

    def committed(self, writes: ChunkWrites) -> None:
        """Take note of a chunk that was committed."""
        declared, own = writes.declared, writes.savepoints
        if declared.sent:
            self._refused += _WEIGHT * (len(declared.errors) / declared.sent - self._refused)
        if own.items:
            self._undone += _WEIGHT * (own.undone / own.items - self._undone)
        self._is_mixed = bool(own.items and declared.sent)

    @property
    def chunk_limit(self) -> int:
        """How many items a chunk may have. Where both kinds of writes meet, each item may need a subtransaction."""
        return MAX_SUBTRANSACTIONS if self._is_mixed else MAX_ITEMS

    @property
    def tries_columns(self) -> bool:
        return self._refused < _FEW_REFUSALS

    @property
    def tries_groups(self) -> bool:
        return self._refused < _SOME_REFUSALS

    @property
    def items_together(self) -> int:
        """How many items with statements of their own share a savepoint.

        A failure makes the server repeat half a group on average, so groups shrink as failures rise. A subtransaction
        costs a fiftieth of a commit, about as much as two statements; so `failures * size ** 2 / 2 = 2`.
        """
        return _LARGEST_GROUP if self._undone < 0.0016 else max(1, round(2 / math.sqrt(self._undone)))
