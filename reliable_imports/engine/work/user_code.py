"""The processor's code as the engine calls it: stage by stage, in time, and in this process only."""

from __future__ import annotations

import hashlib
import inspect
import json
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

from reliable_imports.engine.process.call_result import CallResult
from reliable_imports.engine.process.time_limit import TimedOut, time_limit
from reliable_imports.engine.work.attempt import Attempt, StoredItem
from reliable_imports.errors import ContextMisuse, ItemTimeout
from reliable_imports.items.cells import CellReader, Cells
from reliable_imports.items.code.team import team_code
from reliable_imports.items.failure import Failure, rejection
from reliable_imports.items.json_read import loads, with_floats
from reliable_imports.items.rejection import why_rejected
from reliable_imports.processor.base import BaseProcessor
from reliable_imports.processor.context import ContextState, ImportContext, SkipItem
from reliable_imports.processor.facts import facts_of
from reliable_imports.processor.item import ImportBatchItem
from reliable_imports.processor.result import dumps_result
from reliable_imports.processor.this_process import process_id
from reliable_imports.statuses import Stage

_NO_LIMIT = nullcontext()
_NO_NUMBERS_WITHIN = frozenset({str, int, bool, type(None)})


class UserCode:
    """Calls the hooks of one processor for the items of one batch.

    Attributes:
        processor: whose hooks are called.
        read: from the stored text or bytes of an item to what the processor wants.
        has_error_hook: whether the processor wants to be told of failed items.
        team: which code is that of the processor's team.
    """

    def __init__(self, processor: BaseProcessor, batch_id: int, batch_type: str) -> None:
        self.processor = processor
        self.read = _reader(processor)
        self.has_error_hook = type(processor).on_item_error is not BaseProcessor.on_item_error
        self.team = team_code(type(processor))
        self._batch_id = batch_id
        self._batch_type = batch_type
        self._process_id = process_id()
        self._validates = type(processor).validate_item is not BaseProcessor.validate_item
        limit = processor.item_timeout
        self._in_time: Callable[[], AbstractContextManager[None]] = (
            (lambda: _NO_LIMIT) if limit is None else partial(time_limit, limit)
        )

    def process(self, attempt: Attempt, state: ContextState, prepared: CallResult | None) -> SkipItem | Failure | None:
        """Take one item through its stages; `attempt.stage` tells how far it came.

        Returns None if it has completed, and otherwise how it has ended. Whatever user code raises comes through.
        """
        cells = self.read(attempt.stored)
        attempt.item = item = self._item(attempt, cells.data, prepared)
        state.source_data = item.source_data
        if cells.faults:
            raise facts_of(self.processor).refusal_of(cells)
        if prepared is not None and prepared.error is not None:
            attempt.stage = Stage.PREPARE
            raise prepared.error
        ctx = ImportContext(state)
        with self._in_time():
            if self._validates:
                attempt.stage = Stage.VALIDATE
                accepted = self.processor.validate_item(item, ctx)
                if not accepted:
                    return self._rejection(item, is_told=accepted is not None)
                if accepted is not True and inspect.isawaitable(accepted):
                    raise ContextMisuse("validate_item returned something to await, which is no answer")
            attempt.stage = Stage.PROCESS
            returned = self.processor.process_item(item, ctx)
        self.end_if_forked()
        attempt.result = dumps_result(returned)
        attempt.stage = Stage.WRITE
        attempt.writes.raise_if_not_the_items()
        state.end()
        if attempt.writes.origin is not None and attempt.natural_key is not None:
            # Its own statements, which nobody else can guard, would overwrite what a newer item wrote.
            newer = attempt.writes.newer_writer(attempt.natural_key)
            if newer is not None:
                return SkipItem(f"item {newer[1]} of batch {newer[0]} is newer and has completed the same natural key")
        attempt.writes.complete()
        return None

    def tell_of_failure(self, attempt: Attempt, state: ContextState) -> None:
        """Call `on_item_error`, which has as long as an item; whatever it raises comes through."""
        assert attempt.failure is not None
        state.source_data = attempt.source_data
        ctx = ImportContext(state)
        with self._in_time():
            self.processor.on_item_error(attempt.item or attempt.stored.given(self._batch_id), attempt.failure, ctx)

    def named(self, error: BaseException) -> BaseException:
        """The error as people know it: an ItemTimeout for what `time_limit` raises."""
        if not isinstance(error, TimedOut):
            return error
        assert self.processor.item_timeout is not None
        seconds = self.processor.item_timeout.total_seconds()
        timeout = ItemTimeout(f"the item took longer than item_timeout, {seconds:g} seconds")
        return timeout.with_traceback(error.__traceback__)

    def end_if_forked(self) -> None:
        """A process that an item has forked, and in which it came back, is not to work the batch a second time."""
        if process_id() != self._process_id:
            sys.stderr.write("an item came back in a process that it had forked; end it by os._exit\n")
            os._exit(1)

    def _rejection(self, item: ImportBatchItem, *, is_told: bool) -> Failure:
        """Why `validate_item` does not want the item; it returned None if that is not told."""
        processor = type(self.processor)
        rejected = why_rejected(inspect.unwrap(processor.validate_item), item)
        if not is_told:
            name = f"{processor.__qualname__}.validate_item"
            words = f"{name} returned None, which rejects the item; is a `return` missing?"
            rejected = rejected._replace(words=words)
        return rejection(self._batch_type, rejected, item.source_data)

    def _item(self, attempt: Attempt, data: Any, prepared: CallResult | None) -> ImportBatchItem:
        if self.processor.natural_key:
            attempt.natural_key = _declared_key(self._batch_type, data, self.processor.natural_key)
        return attempt.stored.given(self._batch_id, data, None if prepared is None else prepared.value)


def _declared_key(batch_type: str, data: Any, fields: Sequence[str]) -> int | None:
    values = [data.get(field) for field in fields] if isinstance(data, dict) else []
    if not values or any(value is None for value in values):
        return None
    return hash_of_values(batch_type, values)


def hash_of_values(batch_type: str, values: Sequence[Any]) -> int:
    """A declared natural key as 64 bits, the same for 7 and "7"."""
    text = json.dumps([batch_type, *map(str, values)])
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big", signed=True)


def _reader(processor: BaseProcessor) -> Callable[[StoredItem], Cells]:
    facts = facts_of(processor)
    exact = frozenset() if processor.decimals else facts.exact_numbers()
    exact = frozenset(name for each in exact for name in facts.spelling.source_names(each))
    decimals = processor.decimals or bool(exact)
    read_cells = CellReader(facts.spelling, facts.cell_kinds()).read

    def read(stored: StoredItem) -> Cells:
        text = stored.text
        value = loads(bytes(stored.raw or b"") if text is None else text, decimals=decimals)
        if exact and isinstance(value, dict) and not _NO_NUMBERS_WITHIN.issuperset(map(type, value.values())):
            value = {name: each if name in exact else with_floats(each) for name, each in value.items()}
        return read_cells(value)

    return read
