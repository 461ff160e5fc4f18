"""One item of a processor, tried: what it would write, and what is wrong with it."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from reliable_imports.errors import ConfigurationError
from reliable_imports.models import Fault
from reliable_imports.statuses import TryOutcome

if TYPE_CHECKING:
    from reliable_imports.processor.base import BaseProcessor
    from reliable_imports.testing.recorded import Rows


class Written(NamedTuple):
    """A row that an item would write.

    Attributes:
        table: as the processor names it.
        row: its columns. With a database all of them, as they would stand; without one those that were given, as they
            were given.
        before: the row as it stands; None if there is none, or without a database.
    """

    table: str
    row: Mapping[str, Any]
    before: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Tried:
    """What would become of one item.

    Attributes:
        outcome: with a database `created`, `changed`, `unchanged` or `completed`; without one `completed`. In both
            cases `skipped` or `failed`.
        written: the rows, in the order of the writes. With a database those of `upsert` and `insert`, each once; what
            other statements write is not told.
        result: what `process_item` returned, as JSON keeps it.
        words: why it would be skipped, or fail.
        faults: all that is wrong with it, as far as one attempt can tell; none unless it fails.
    """

    outcome: TryOutcome
    written: Sequence[Written] = ()
    result: Mapping[str, Any] | None = None
    words: str | None = None
    faults: Sequence[Fault] = ()

    @property
    def row(self) -> Mapping[str, Any]:
        """The row that is written, where it is exactly one.

        Raises:
            AssertionError: it is another number of rows; says why the item fails, if it does.
        """
        if len(self.written) != 1:
            because = f": {self.words}" if self.words else ""
            raise AssertionError(f"the item would be {self.outcome.value} and write {len(self.written)} rows{because}")
        return self.written[0].row

    @property
    def reasons(self) -> Sequence[str]:
        """The fingerprints of the causes, each once."""
        return tuple(dict.fromkeys(fault.reason for fault in self.faults))

    @property
    def rules(self) -> dict[str | None, str]:
        """Which rule each field breaks: `{"price": "decimal_parsing"}`; None stands for no field."""
        return {fault.field: fault.rule for fault in self.faults}


def try_item(
    processor: type[BaseProcessor],
    item: object,
    *,
    database: str | None = None,
    rows: Rows | None = None,
    prepared: object = None,
    params: object = None,
    partition: str | None = None,
    with_effects: bool = False,
) -> Tried:
    """Say what would become of one item, and keep nothing of it: no batch, no row.

    The item is read, cleaned, validated and processed as in a run. With a database its writes are made and rolled back,
    so types, constraints and triggers have their say, and `setup_sql` makes its tables for the try. Without one there
    is no server: the writes are only noted, look-ups find what *rows* has, `on_batch_start` is not called, and what
    only a server can answer is refused.

    Args:
        item: as for `create_batch`.
        database: a DSN; with pytest, the fixture `imports_database`.
        rows: without a database, the rows that are there, by table as the processor names it:
            `{"shop.customers": [{"email": "ada@example.com", "id": 7}]}`. They answer `lookup` and `returning`.
        prepared: what `prepare_item` is to have returned; without it, it is called.
        params, partition: as for `create_batch`.
        with_effects: also try a processor that says `has_effects`.

    Raises:
        InvalidProcessor, InvalidParams: as of a run.
        ConfigurationError: without a database, the item asks for what no row says, or the processor leaves its columns
            or its key to the table; or it has effects outside the database.
        InvalidTarget: the table is not there, or does not tell its key.
        TryEnded: the database has trouble of its own.
    """
    from reliable_imports.processor.registry import ProcessorRegistry

    registry = ProcessorRegistry()
    registry.register(processor)
    with _prepared(processor, prepared):
        if database is None:
            return _without_database(processor, item, rows or {}, params, partition, with_effects)
        if rows is not None:
            raise ConfigurationError("rows are for a try without a database; put them into that of database=")
        return _with_database(registry, processor, item, database, params, partition, with_effects)


@contextmanager
def _prepared(processor: type[BaseProcessor], value: object) -> Iterator[None]:
    """Let `prepare_item` return *value* for as long, unless that is None."""
    if value is None:
        yield
        return
    own = processor.__dict__.get("prepare_item")
    processor.prepare_item = lambda self, item: value  # type: ignore[method-assign]
    try:
        yield
    finally:
        if own is None:
            del processor.prepare_item
        else:
            processor.prepare_item = own  # type: ignore[method-assign]


def _with_database(
    registry: Any,
    processor: type[BaseProcessor],
    item: object,
    database: str,
    params: object,
    partition: str | None,
    with_effects: bool,
) -> Tried:
    from reliable_imports.manager import BatchManager

    report = BatchManager(database, registry=registry).try_items(
        processor.batch_type, [item], params=params, partition=partition, with_effects=with_effects
    )
    [tried] = report.items
    written = [Written(row.table, row.after, row.before) for row in tried.rows if row.after is not None]
    return Tried(tried.outcome, tuple(written), tried.result, tried.words, tuple(tried.faults))


def _without_database(
    processor: type[BaseProcessor],
    item: object,
    rows: Rows,
    params: object,
    partition: str | None,
    with_effects: bool,
) -> Tried:
    from reliable_imports.engine.work.attempt import Attempt, StoredItem
    from reliable_imports.engine.work.preparation import NOTHING, is_prepared, preparing_calls
    from reliable_imports.engine.work.user_code import UserCode
    from reliable_imports.items.failure import Failure, exception_failure, read_failure
    from reliable_imports.items.json_write import dumps_item
    from reliable_imports.postgres.error_sorting import is_item_fault
    from reliable_imports.processor.context import ContextState, Setting, SkipItem
    from reliable_imports.processor.facts import facts_of, require_no_effects
    from reliable_imports.processor.params import read_params, with_params
    from reliable_imports.processor.this_process import process_id
    from reliable_imports.testing.recorded import RecordedWrites

    if not with_effects:
        require_no_effects(processor)
    if (table := facts_of(processor).table_to_read()) is not None:
        raise ConfigurationError(
            f"{processor.__qualname__} leaves its columns or its key to table {table}, and only a database can tell "
            "them; pass database=, or declare model and key"
        )
    with_params(processor, None, params, partition)
    instance = processor()
    instance.params, instance.partition = read_params(processor, params), partition
    sensitive = facts_of(processor).sensitive_names()

    def failed(failure: Failure, source_data: object = None) -> Tried:
        shown = failure.without_values_of(sensitive, source_data)
        return Tried(TryOutcome.FAILED, words=shown.title, faults=shown.faults)

    given = dumps_item(item)
    if given.problem is not None:
        return failed(read_failure(processor.batch_type, given.kind or "unreadable", given.problem))
    code = UserCode(instance, _NO_BATCH, processor.batch_type)
    stored = StoredItem(1, given.text, given.raw, None, None)
    made = NOTHING
    if is_prepared(instance):
        calls = preparing_calls(instance, is_stopped=lambda: False)
        try:
            [made] = calls.call([stored.given(_NO_BATCH, code.read(stored).data)], tick=lambda: None) or [NOTHING]
        finally:
            calls.close()
    writes = RecordedWrites(rows)
    setting = Setting(_NO_BATCH, processor.batch_type, 0, {}, threading.get_ident(), process_id(), sensitive)
    state = ContextState(setting, writes, 1)
    attempt = Attempt(stored, cast(Any, writes))
    try:
        ended: object = code.process(attempt, state, made)
    except SkipItem as skip:
        ended = skip
    except BaseException as raised:
        error = code.named(raised)
        if not is_item_fault(error):
            raise
        writes.raise_if_not_the_items()
        ended = exception_failure(
            processor.batch_type,
            attempt.stage,
            error,
            source_data=attempt.source_data,
            team=code.team,
            retryable=isinstance(error, instance.transient_errors),
        )
    finally:
        state.end()
    writes.raise_if_not_the_items()
    if isinstance(ended, SkipItem):
        return Tried(TryOutcome.SKIPPED, words=ended.reason)
    if isinstance(ended, Failure):
        return failed(ended, attempt.source_data)
    result = None if attempt.result is None else json.loads(attempt.result)
    return Tried(TryOutcome.COMPLETED, tuple(Written(*each) for each in writes.written), result)


_NO_BATCH = 0
