"""The way in: create batches, process them, run failures again, and ask how things stand."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from datetime import datetime
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg2

from reliable_imports.batches import control, read, verify
from reliable_imports.batches.repeats.request import ReprocessRequest, WhichItems
from reliable_imports.batches.verify import Verification
from reliable_imports.errors import ConfigurationError, InvalidTarget, SetupFailed, UnknownReason
from reliable_imports.items.given import json_object, require_idempotency_key, require_texts
from reliable_imports.log import logger
from reliable_imports.postgres import schema
from reliable_imports.postgres.connect import Connection, discard_session, transaction
from reliable_imports.postgres.sharing import Connections
from reliable_imports.settings import resolve_dsn
from reliable_imports.statuses import BatchStatus, ItemStatus, Runner

# What takes long to load is imported by those methods that need it: most calls are questions.
if TYPE_CHECKING:
    from reliable_imports.batches.corrections.edits import Corrections
    from reliable_imports.batches.corrections.export import Exported
    from reliable_imports.batches.deliveries import Offer, SameContent
    from reliable_imports.batches.erasing.erasure import Erasure, ErasureKey
    from reliable_imports.batches.purge import Purge, PurgeProgress, PurgeRequest
    from reliable_imports.batches.staging import Staged
    from reliable_imports.causes import FailureReason, OutstandingReason, ReasonDetails, ReasonSummary
    from reliable_imports.engine.progress import ProgressCallback
    from reliable_imports.models import Batch, BatchSummary, Delivery, ItemRecord, LogEntry, RunRecord
    from reliable_imports.orchestration import Orchestration
    from reliable_imports.processor.base import BaseProcessor
    from reliable_imports.processor.facts import Facts
    from reliable_imports.processor.registry import ProcessorRegistry
    from reliable_imports.sources import Source
    from reliable_imports.tried import TryReport


class BatchManager:
    """Everything that can be done with batches, on one database.

    Opens a connection for each call and holds none in between, so it may be shared by threads and survive a fork.
    """

    def __init__(
        self,
        dsn: str | None = None,
        *,
        registry: ProcessorRegistry | None = None,
        migrate: bool = True,
        runner: Runner = Runner.PYTHON,
    ) -> None:
        """Nothing is connected to yet.

        Args:
            dsn: the database; else the variable RELIABLE_IMPORTS_DSN; else the embedded server, which is started.
            registry: the processors; an empty registry if not given.
            migrate: bring the schema, and the tables of each processor's `setup_sql`, up to date before the first use.
                With False a schema that is not up to date raises SchemaNotReady.
            runner: who makes the calls; noted in `import_runs`.
        """
        if registry is not None:
            self.registry = registry
        self._migrate = migrate
        self._runner = Runner(runner)
        # Without a reference to the manager: what a processor's module holds is ended when that is freed.
        self._connections = Connections(partial(resolve_dsn, dsn), migrate=migrate)

    @cached_property
    def registry(self) -> ProcessorRegistry:
        """The processors that this manager knows."""
        from reliable_imports.processor.registry import ProcessorRegistry

        return ProcessorRegistry()

    @property
    def dsn(self) -> str:
        """The database that is used, password included; starts the embedded server if that is the one."""
        return self._connections.dsn

    def migrate(self, *, on_wait: Callable[[], None] | None = None) -> list[str]:
        """Bring the schema `reliable_imports` up to date; return the names of what was applied now, perhaps none.

        These are migrations, functions and views. A schema that a later release has migrated is left as it is.

        Raises:
            SchemaTooNew: a later release has migrated, and this one cannot work with what is there.
        """
        return schema.migrate(self.dsn, on_wait=on_wait)

    # Creating

    def open_source(self, batch_type: str, path: str | os.PathLike[str]) -> Source:
        """A file as items for `create_batch`, read as the processor's `source_options` say; a path or a URL.

        Raises:
            SourceError: there is no such file, or it cannot be read.
            SourceUnavailable: it is out of reach now.
        """
        from reliable_imports.sources import open_source

        return open_source(path, self.registry.get(batch_type).source_options)

    def create_batch(
        self,
        batch_type: str,
        items: Iterable[object],
        *,
        source: str | None = None,
        idempotency_key: str | None = None,
        requested_by: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        params: object = None,
        partition: str | None = None,
        same_content: SameContent | None = None,
    ) -> int:
        """Store a batch of items and return its id; nothing is processed yet.

        All items are stored, or none is. Streams: *items* may be a generator of any length, and memory stays flat.

        Args:
            items: JSON values, mostly objects, stored as given (see `reliable_imports.items.json_write` for how dates
                and the like are written), or a source from `open_source`. What JSON cannot hold is stored as an item
                that fails when it is processed.
            source: where the items come from, for people; the file's name if *items* is a source.
            idempotency_key: names this delivery; a second call with the same key returns the first batch's id and
                stores nothing. If a file has other content then, that is logged.
            metadata: JSON to keep with the batch.
            params: values for the processor's `Params`, by name or as an instance of it; `self.params` has them.
            partition: the part of the data that the batch is for, if the processor declares `partitions`; named as
                Dagster does it, `2024-01-31` or `2024-01-31-23:00`. `self.partition` has it.
            same_content: what becomes of a file whose bytes are those of an earlier batch, of the same params and
                partition: `warn` stores it, and the batch's `warnings` tell; `skip` stores nothing and returns the
                earlier batch's id; `refuse` raises. By default as the processor's `skip_unchanged` says: skip or warn.
                It is no repetition if a file of the same name has come with other content since.

        Raises:
            InvalidParams: a value does not fit the processor's `Params`, or one is missing, or the processor has no
                such partition.
            UnknownBatchType: no processor has this type; the message lists those that are registered.
            ConfigurationError: *metadata* or a text cannot be kept: it holds a NUL character or a NaN, say.
            SourceError: the source cannot be split into items, changed while it was read, or has a header without any
                field of the processor's model or column of its table; nothing was stored.
            AlreadyImported: an earlier batch has the same content, and *same_content* is `refuse`.
            InvalidTarget: the processor leaves its columns or its key to a table that is not there, or that does not
                tell which is the key.
        """
        return self.deliver(
            batch_type,
            items,
            source=source,
            idempotency_key=idempotency_key,
            requested_by=requested_by,
            metadata=metadata,
            params=params,
            partition=partition,
            same_content=same_content,
        ).batch_id

    def deliver(
        self,
        batch_type: str,
        items: Iterable[object],
        *,
        source: str | None = None,
        idempotency_key: str | None = None,
        requested_by: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        params: object = None,
        partition: str | None = None,
        same_content: SameContent | None = None,
    ) -> Delivery:
        """Do what `create_batch` does, and say also whether a batch was made, and what people should know."""
        from reliable_imports.batches.column_check import ColumnCheck
        from reliable_imports.batches.create import create_batch
        from reliable_imports.batches.duplicates import Keying

        offer = self._offer(
            batch_type,
            items,
            source=source,
            idempotency_key=idempotency_key,
            requested_by=requested_by,
            metadata=metadata,
            params=params,
            partition=partition,
            same_content=same_content,
        )
        processor = self.registry.get(batch_type)
        with self._connection() as connection:
            facts = self._read_facts(connection, processor, may_set_up=self._migrate)
            return create_batch(
                connection,
                offer,
                keying=Keying.of(facts),
                check=ColumnCheck.of(facts),
                max_items=processor.source_options.max_items,
            )

    def _read_facts(self, connection: Connection, processor: type[BaseProcessor], *, may_set_up: bool = False) -> Facts:
        """With what the processor's table says, where it leaves something to it; raises InvalidTarget, SetupFailed."""
        from reliable_imports.processor.facts import facts_of
        from reliable_imports.processor.table_reading import read_facts

        if facts_of(processor).table_to_read() is None:
            return facts_of(processor)
        with transaction(connection) as cursor:
            facts = read_facts(cursor, processor, may_set_up=may_set_up)
        if may_set_up:
            discard_session(connection)
        return facts

    def _known_facts(self, connection: Connection, batch_type: str) -> Facts:
        """With what the table says, if it says it."""
        from reliable_imports.processor.table_reading import known_facts

        with transaction(connection) as cursor:
            return known_facts(cursor, self.registry.get(batch_type))

    def _offer(
        self,
        batch_type: str,
        items: object,
        *,
        source: str | None = None,
        idempotency_key: str | None = None,
        requested_by: str | None = None,
        metadata: Mapping[str, Any] | None = None,
        params: object = None,
        partition: str | None = None,
        same_content: SameContent | None = None,
    ) -> Offer:
        """What is to be stored, once it was looked at; raises as `create_batch`."""
        from reliable_imports.batches.deliveries import Offer
        from reliable_imports.processor.params import with_params
        from reliable_imports.sources import Source

        processor = self.registry.get(batch_type)
        if isinstance(items, str | bytes | Mapping) or not isinstance(items, Iterable):
            raise ConfigurationError(
                f"items is a {type(items).__name__}, not an iterable of items; for a file pass "
                "manager.open_source(batch_type, path), for one item a list of it"
            )
        if type(items).__name__ == "DataFrame":
            raise ConfigurationError("items is a DataFrame, which gives the names of its columns; pass its records")
        require_idempotency_key(idempotency_key)
        require_texts(source=source, requested_by=requested_by, partition=partition)
        if source is None and isinstance(items, Source):
            source = items.name.encode("utf-8", "replace").decode()  # the name of a file need not be UTF-8
        kept = with_params(processor, metadata, params, partition)
        json_object("metadata", kept)
        return Offer(
            batch_type=batch_type,
            items=items,
            source=source or None,
            idempotency_key=idempotency_key,
            requested_by=requested_by,
            metadata=kept,
            same_content=same_content or ("skip" if processor.skip_unchanged else "warn"),
        )

    # Trying

    def try_items(
        self,
        batch_type: str,
        items_or_batch: Iterable[object] | int,
        *,
        sample: int | None = None,
        params: object = None,
        partition: str | None = None,
        with_effects: bool = False,
    ) -> TryReport:
        """Say what a run would make of items, and keep nothing: no batch, no row of the team's.

        Items are worked as in a run, in the same chunks and each isolated, and are rolled back within seconds: rows
        that they write are locked for so long. `prepare_item` is called, and `on_batch_start`; `on_item_error` and
        `on_batch_complete` are not. Sequences may leave gaps. An item that the processor's time limits cannot stop
        keeps the try waiting, and one that kills its process ends the caller's.

        Args:
            items_or_batch: items as for `create_batch`, a source from `open_source`, or the id of a batch, whose items
                are tried under today's code.
            sample: try only so many, spread evenly over all of them.
            params, partition: as for `create_batch`; a batch has its own.
            with_effects: also try a processor that says `has_effects`.

        Raises:
            UnknownBatch, UnknownBatchType, InvalidParams, SourceError: as of `create_batch` and `process_batch`.
            ConfigurationError: the processor has effects outside the database.
            InvalidTarget: as of `create_batch`.
            TryEnded: the database has trouble of its own.
        """
        from reliable_imports.batches.staging import stage_batch, stage_delivery

        processor = self._triable(batch_type, sample, with_effects)
        if isinstance(items_or_batch, int):
            batch = self.get_batch(items_or_batch)
            if batch.batch_type != batch_type:
                raise ConfigurationError(f"batch {batch.id} is of {batch.batch_type}, not of {batch_type}")
            with self._connection() as connection:
                staged = stage_batch(connection, items_or_batch, processor, sample, may_set_up=self._migrate)
        else:
            offer = self._offer(batch_type, items_or_batch, params=params, partition=partition, same_content="warn")
            with self._connection() as connection:
                staged = stage_delivery(connection, offer, processor, sample, may_set_up=self._migrate)
        return self._try(staged)

    def try_reprocess(
        self,
        batch_id: int,
        request: ReprocessRequest | None = None,
        *,
        sample: int | None = None,
        with_effects: bool = False,
    ) -> TryReport:
        """Say what `reprocess_batch` would come to, as `try_items` does, and keep nothing.

        Args:
            request: which items, if not all outstanding failures; `WhichItems.ALL` tells what would come out
                differently under today's code.
            sample: try only so many for each reason that they failed for, and so many that have not failed.

        Raises:
            UnknownBatch, UnknownBatchType, UnknownReason, ConfigurationError, TryEnded: as of `try_items` and
                `create_reprocess_batch`.
        """
        from reliable_imports.batches.staging import stage_reprocess
        from reliable_imports.tried import TryReport

        batch_type = self.get_batch(batch_id).batch_type
        processor = self._triable(batch_type, sample, with_effects)
        with self._connection() as connection:
            staged = stage_reprocess(
                connection, batch_id, request or ReprocessRequest(), processor, sample, may_set_up=self._migrate
            )
        return TryReport(batch_type, 0, ()) if staged is None else self._try(staged)

    def try_failures(
        self,
        batch_type: str,
        request: ReprocessRequest | None = None,
        *,
        sample: int | None = None,
        with_effects: bool = False,
    ) -> TryReport:
        """Do what `try_reprocess` does for every lineage of a type with something outstanding.

        Raises:
            UnknownReason: nothing of any lineage failed for one of the request's reasons.
        """
        from reliable_imports.tried import TryReport

        reports = []
        unknown: UnknownReason | None = None
        for first_batch_id in self.open_lineages(batch_type):
            try:
                reports.append(self.try_reprocess(first_batch_id, request, sample=sample, with_effects=with_effects))
            except UnknownReason as error:  # nothing of this lineage failed for it; another may have
                unknown = error
        if unknown is not None and not reports:
            raise unknown
        items = [item for report in reports for item in report.items]
        return TryReport(batch_type, sum(report.total_items for report in reports), items)

    def try_corrections(self, corrections: Corrections, *, with_effects: bool = False) -> TryReport:
        """Say what the corrections of a file would come to, as `try_items` does, and keep nothing.

        Raises:
            ConfigurationError: one of them cannot be made any more.
        """
        from reliable_imports.tried import TryReport

        reports = [
            self.try_reprocess(
                first_batch_id,
                ReprocessRequest(corrections=data, corrected_from=corrections.source),
                with_effects=with_effects,
            )
            for first_batch_id, data in corrections.found.to_make.items()
        ]
        items = [item for report in reports for item in report.items]
        return TryReport(corrections.batch_type, sum(report.total_items for report in reports), items)

    def _triable(self, batch_type: str, sample: int | None, with_effects: bool) -> type[BaseProcessor]:
        if sample is not None and sample < 1:
            raise ConfigurationError(f"sample is {sample}; try at least one item")
        processor = self.registry.get(batch_type)
        if not with_effects:
            from reliable_imports.processor.facts import require_no_effects

            require_no_effects(processor)
        return processor

    def _try(self, staged: Staged) -> TryReport:
        from reliable_imports.engine.trying import try_staged
        from reliable_imports.processor.params import processor_for

        processor = processor_for(self.registry.get(staged.batch.batch_type), staged.batch)
        processor._facts = staged.facts
        return try_staged(self.dsn, staged, processor, may_set_up=self._migrate)

    # Processing

    def process_batch(
        self, batch_id: int, *, on_progress: ProgressCallback | None = None, dagster_run_id: str | None = None
    ) -> BatchSummary:
        """Work the batch until nothing is left to claim, and return how it stands then.

        May be called again at any time and from several processes at once: they share the batch, each item is done
        once. On a finished batch it changes nothing. Of a batch with a canary, it works the first few items for each
        reason, and then the rest of what is repaired.

        Args:
            on_progress: called with a summary about twice a second, and at the end.
            dagster_run_id: the Dagster run on whose behalf this is done.

        Raises:
            UnknownBatch, UnknownBatchType: there is no such batch, or no processor for it.
            RunInterrupted: the database was lost for too long; finished items are kept, the rest stay pending.
            psycopg2.OperationalError: it could not be reached to begin with; nothing was touched.
        """
        with self._connections.of_a_run() as connection:
            batch = read.get_batch(connection, batch_id)
            processor = self.registry.get(batch.batch_type)
            if batch.status.is_final:
                return read.get_summary(connection, batch_id)
            summary = self._run(connection, batch, on_progress, dagster_run_id)
        if batch.is_canary and summary.status is BatchStatus.PROCESSING:
            from reliable_imports.batches.repeats.canary import take_rest

            with self._connection() as connection:
                goes_on = take_rest(connection, batch_id, self._read_facts(connection, processor))
            if goes_on:
                return self.process_batch(batch_id, on_progress=on_progress, dagster_run_id=dagster_run_id)
        return summary

    def _run(
        self, connection: Connection, batch: Batch, on_progress: ProgressCallback | None, dagster_run_id: str | None
    ) -> BatchSummary:
        """Work a batch once, until nothing is left to claim, on a connection that is closed then."""
        from reliable_imports.engine.begin import Identity
        from reliable_imports.engine.run import execute
        from reliable_imports.processor.params import processor_for

        return execute(
            connection,
            self.dsn,
            batch,
            processor_for(self.registry.get(batch.batch_type), batch),
            Identity(self._runner if dagster_run_id is None else Runner.DAGSTER, dagster_run_id),
            may_set_up=self._migrate,
            on_progress=on_progress,
            at_end=lambda connection: self._settle_what_it_can(connection, batch),
        )

    def _settle_what_it_can(self, connection: Connection, batch: Batch) -> bool:
        """Settle failures, the last thing that a run does; say whether the calls that follow have its connection."""
        try:
            self._settle(connection, batch.batch_type)
            return self._connections.give_back(connection)
        except (psycopg2.Error, InvalidTarget, SetupFailed) as error:
            # The batch is done; who comes next looks again.
            facts = {"batch_id": batch.id, "error_type": type(error).__name__}
            logger.warning("what the batch settles could not be looked for", extra=facts)
            return False

    def _settle(self, connection: Connection, batch_type: str) -> None:
        """See to the failures that batches of the type have settled."""
        from reliable_imports.batches.duplicates import Keying
        from reliable_imports.batches.repeats.settling import settle

        facts = self._read_facts(connection, self.registry.get(batch_type))
        settle(connection, batch_type, Keying.of(facts), self._runner)

    def pause_batch(self, batch_id: int, *, reason: str | None = None) -> BatchSummary:
        """Stop all work on the batch after the chunks that are under way; `process_batch` resumes it.

        Raises:
            UnknownBatch: there is no such batch.
            BatchFinished: it has ended already.
        """
        require_texts(reason=reason)
        with self._connection() as connection:
            control.pause_batch(connection, batch_id, reason)
            return read.get_summary(connection, batch_id)

    def cancel_batch(self, batch_id: int, *, reason: str | None = None) -> BatchSummary:
        """End the batch for good, after the chunks that are under way. Its pending items count as outstanding.

        Raises:
            UnknownBatch: there is no such batch.
            BatchFinished: it has ended already.
        """
        require_texts(reason=reason)
        with self._connection() as connection:
            control.cancel_batch(connection, batch_id, reason)
            return read.get_summary(connection, batch_id)

    # Reprocessing

    def create_reprocess_batch(self, batch_id: int, request: ReprocessRequest | None = None) -> int | None:
        """Take items of the batch's whole lineage into a new batch, and return its id; nothing is processed yet.

        Without a *request*, all outstanding failures are taken. Safe to repeat and to call from several places at once:
        an item is taken once. If all that was asked for is in an open reprocess batch already, that batch's id is
        returned; if nothing is outstanding, None.

        Rows of a file that could not be read are read again as the processor's `source_options` say now. What was
        delivered again since, and completed under the same natural key, is settled and not taken.

        Raises:
            UnknownBatch: there is no such batch.
            UnknownReason: nothing of its lineage failed for one of the request's reasons.
            AmbiguousReason: one of the request's reasons is the beginning of several.
            IdempotencyKeyTaken: the request's key names a batch of another lineage.
        """
        from reliable_imports.batches.repeats.reprocess import create_reprocess_batch

        with self._connection() as connection:
            batch_type = read.get_batch(connection, batch_id).batch_type
            processor = self.registry.get(batch_type) if batch_type in self.registry else None
            facts = None
            if processor is not None:
                self._settle(connection, batch_type)
                facts = self._read_facts(connection, processor)
            return create_reprocess_batch(connection, batch_id, request or ReprocessRequest(), facts, self._runner)

    def reprocess_batch(
        self,
        batch_id: int,
        request: ReprocessRequest | None = None,
        *,
        failed_items_only: bool = True,
        on_progress: ProgressCallback | None = None,
        dagster_run_id: str | None = None,
    ) -> BatchSummary:
        """Create a reprocess batch as `create_reprocess_batch` does, process it, and return its summary.

        If nothing is outstanding, nothing is created, and the summary is that of the lineage's last batch as it stands.

        Args:
            request: which items, if not all outstanding failures.
            failed_items_only: False stands for a request for `WhichItems.ALL`: all items, completed ones too.

        Raises:
            ConfigurationError: both a *request* and `failed_items_only=False` are given.
        """
        if not failed_items_only:
            if request is not None:
                raise ConfigurationError(
                    "failed_items_only=False and a request exclude each other; give the request which=WhichItems.ALL"
                )
            request = ReprocessRequest(which=WhichItems.ALL)
        new_batch_id = self.create_reprocess_batch(batch_id, request)
        if new_batch_id is None:
            from reliable_imports.batches.repeats.reprocess import last_of_lineage

            with self._connection() as connection:
                return read.get_summary(connection, last_of_lineage(connection, batch_id))
        return self.process_batch(new_batch_id, on_progress=on_progress, dagster_run_id=dagster_run_id)

    # Correcting

    def export_failures(
        self,
        path: str | os.PathLike[str],
        batch_id: int | None = None,
        *,
        batch_type: str | None = None,
        reasons: Sequence[str] = (),
        with_sensitive: bool = False,
        plain: bool = False,
    ) -> Exported:
        """Write outstanding failures into a file that people edit: what is wrong with each, and its own fields.

        Values come back as they were from every cell that nobody touches. No cell becomes a formula.

        Args:
            path: a `.csv`, `.jsonl` or `.xlsx` file; one that is there is replaced.
            batch_id: only those of its lineage.
            batch_type: only those of this type; needed if failures of several are outstanding.
            reasons: only those with one of these reasons, by the beginnings of their ids.
            with_sensitive: also what sensitive fields hold, instead of `***`.
            plain: the source's own columns alone and as they came, for whoever sent them. Such a file is no correction.

        Raises:
            UnknownBatch, UnknownReason, AmbiguousReason: as of `failure`.
            ConfigurationError: nothing is outstanding, or failures of several types are; the file's name says none of
                the formats; the package for workbooks is not installed, or a workbook is too small.
        """
        from reliable_imports.batches import failures
        from reliable_imports.batches.corrections.export import export

        with self._connection() as connection:
            return export(
                connection,
                Path(path),
                failures.Scope(batch_id, batch_type),
                reasons,
                with_sensitive=with_sensitive,
                plain=plain,
            )

    def read_corrections(
        self, path: str | os.PathLike[str], *, batch_id: int | None = None, batch_type: str | None = None
    ) -> Corrections:
        """Read an edited file of `export_failures`, and say what was changed; nothing is done yet.

        For each lineage in its `found.to_make`, a `ReprocessRequest` with these `corrections` makes the repeats.

        Args:
            batch_id: all items have to be of its lineage.
            batch_type: all items have to be of this type.

        Raises:
            SourceError: the file cannot be read, something in it was changed that may not be, or it has an item of
                another batch or type than is given; says where.
            ConfigurationError: the file's name says none of the formats, or it is a URL.
        """
        from reliable_imports.batches import failures
        from reliable_imports.batches.corrections.edits import read_corrections

        if "://" in os.fspath(path):
            raise ConfigurationError(f"{path}: corrections are read from a file, not from a URL")
        with self._connection() as connection:
            scope = failures.Scope(batch_id, batch_type)
            corrections = read_corrections(connection, Path(path), scope, self.registry)
            if corrections.found.to_make and corrections.batch_type in self.registry:
                # What was delivered again since is not corrected.
                self._settle(connection, corrections.batch_type)
                corrections = read_corrections(connection, Path(path), scope, self.registry)
            return corrections

    # Taking data out

    def erase(
        self,
        key: str | Mapping[str, Any],
        batch_types: str | Collection[str] | None = None,
        *,
        alike: bool = False,
        requested_by: str | None = None,
        note: str | None = None,
    ) -> Erasure:
        """Take everything of a person out of the tables of this package; the rows of their items stay, and all counts.

        It goes for every item that has the key, in all batches of the types, and for all that repeat it: source data,
        results, messages, tracebacks, log lines. Texts beside them, such as a batch's note, lose the key's values, and
        others that stand in no other item of these lineages, if they have at least six characters. All of it is one
        transaction; repeated, it does nothing. The targets' rows are the team's own, and stay.

        Args:
            key: values by field; or, of one type, the value of its key of one field. See `ErasureKey.of`.
            batch_types: one type, or some; None for all registered ones that have the key's fields, and those whose
                processors do not say which fields they have.
            alike: take items too whose key differs only in capitals or blanks, or that could not be read and hold it.
            requested_by, note: kept in the audit log; do not name the person there.

        Raises:
            UnknownBatchType: no processor has this type, and only it knows the key.
            ConfigurationError: the processor has no such field, or none has.
            ItemsInUse: some of the items are pending or being processed; nothing was erased.
        """
        from reliable_imports.batches.erasing.erase import erase

        require_texts(requested_by=requested_by, note=note)
        with self._connection() as connection:
            keys, left_out = self._keys_to_erase(connection, key, batch_types)
            erased = erase(connection, keys, alike=alike, requested_by=requested_by, note=note)
        return replace(erased, left_out=left_out)

    def find_to_erase(
        self, key: str | Mapping[str, Any], batch_types: str | Collection[str] | None = None, *, alike: bool = False
    ) -> Erasure:
        """What `erase` would take, and nothing is changed."""
        from reliable_imports.batches.erasing.erase import find

        with self._connection() as connection:
            keys, left_out = self._keys_to_erase(connection, key, batch_types)
            return replace(find(connection, keys, alike=alike), left_out=left_out)

    def _keys_to_erase(
        self, connection: Connection, key: str | Mapping[str, Any], batch_types: str | Collection[str] | None
    ) -> tuple[dict[str, ErasureKey], dict[str, str]]:
        """The key as each type reads it, and why others are left out."""
        from reliable_imports.batches.erasing.erase import stored_types
        from reliable_imports.batches.erasing.erasure import ErasureKey, keys_of_all

        if batch_types is None:
            all_facts = [self._known_facts(connection, each.batch_type) for each in self.registry]
            return keys_of_all(all_facts, stored_types(connection), key)
        named = [batch_types] if isinstance(batch_types, str) else list(batch_types)
        if not named:
            raise ConfigurationError("batch_types is empty; name a type, or give None for all that have the fields")
        if isinstance(key, str) and len(named) > 1:
            raise ConfigurationError("a value alone is the key of one type; name the field, as in email=VALUE")
        return {each: ErasureKey.of(self._known_facts(connection, each), key) for each in named}, {}

    def names_to_erase_by(self, batch_types: Collection[str] = ()) -> frozenset[str]:
        """What a key of `erase` can name, as far as the types say which fields they have.

        Args:
            batch_types: those that are asked; else all that are registered.
        """
        from reliable_imports.batches.erasing.erasure import ErasureKey

        with self._connection() as connection:
            asked = batch_types or [each.batch_type for each in self.registry]
            return frozenset().union(*(ErasureKey.names(self._known_facts(connection, each)) for each in asked))

    def count_erased(self, batch_id: int) -> int:
        """Failed items of the batch's lineage that no later item repeats, and none can: their data was erased."""
        from reliable_imports.batches.erasing.erase import count_erased

        with self._connection() as connection:
            read.get_batch(connection, batch_id)
            return count_erased(connection, batch_id)

    def purge(self, request: PurgeRequest, *, on_progress: PurgeProgress | None = None) -> Purge:
        """Take the data of the items of old batches out of the tables; counts, reasons and the log of batches stay.

        Items that are outstanding, and those that are being repeated, keep their data. Works in slices, each a short
        transaction of its own: it may be interrupted and repeated at any time, and several may go on at once.
        """
        from reliable_imports.batches.purge import purge

        require_texts(batch_type=request.batch_type, requested_by=request.requested_by)
        with self._connection() as connection:
            return purge(connection, request, on_progress)

    def find_to_purge(self, request: PurgeRequest) -> Purge:
        """What `purge` would look at: batches, and items at most; nothing is changed."""
        from reliable_imports.batches.purge import Purge, old_batches

        with self._connection() as connection:
            found = old_batches(connection, request)
        return Purge(len(found), sum(items for _, items in found))

    # For an orchestrator

    @property
    def orchestration(self) -> Orchestration:
        """What an orchestrator asks of this database: where runs are wanted, and which are gone."""
        from reliable_imports.orchestration import Orchestration

        return Orchestration(self._connection)

    # Asking

    def get_batch(self, batch_id: int) -> Batch:
        """One batch as it was accepted. Raises UnknownBatch."""
        with self._connection() as connection:
            return read.get_batch(connection, batch_id)

    def get_summary(self, batch_id: int) -> BatchSummary:
        """Status and counts of a batch, also while it is worked. Raises UnknownBatch."""
        with self._connection() as connection:
            return read.get_summary(connection, batch_id)

    def list_batches(
        self, *, batch_type: str | None = None, status: BatchStatus | str | None = None, limit: int = 100
    ) -> list[BatchSummary]:
        """The newest batches first."""
        with self._connection() as connection:
            return read.list_summaries(connection, batch_type=batch_type, status=status, limit=limit)

    def newest_batch(self, batch_type: str) -> int:
        """The id of the batch of a type that was made last, whether it repeats another one or not.

        Raises:
            ConfigurationError: there is none.
        """
        require_texts(batch_type=batch_type)
        found = self.list_batches(batch_type=batch_type, limit=1)
        if not found:
            raise ConfigurationError(
                f"there is no batch of type {batch_type!r}; `reliable-imports batches` lists those that exist"
            )
        return found[0].batch_id

    def sensitive_fields(self, batch_id: int) -> frozenset[str]:
        """The fields that the processors of the batch's lineage called sensitive when they worked it.

        What shows an item leaves their values out; see `reliable_imports.items.redaction`. Raises UnknownBatch.
        """
        with self._connection() as connection:
            read.get_batch(connection, batch_id)
            return read.sensitive_fields(connection, batch_id)

    def failure_reasons(self, batch_id: int) -> list[FailureReason]:
        """Why items of the batch failed, the most frequent reason first, with a sample each. Raises UnknownBatch."""
        with self._connection() as connection:
            return read.failure_reasons(connection, batch_id)

    # Failures, over all batches

    def failures(
        self, batch_id: int | None = None, *, batch_type: str | None = None, with_closed: bool = False
    ) -> list[ReasonSummary]:
        """The causes for which items failed and wait, those with the most outstanding failures first.

        Args:
            batch_id: only those of one batch; what is outstanding is then counted over its lineage.
            batch_type: only those of this type's batches.
            with_closed: also those of which nothing is outstanding.

        Raises:
            UnknownBatch: there is no such batch.
            ConfigurationError: both a batch and a type are given.
        """
        from reliable_imports.batches import failures

        with self._connection() as connection:
            return failures.list_reasons(connection, failures.Scope(batch_id, batch_type), with_closed=with_closed)

    def failure(
        self, reason: str, *, batch_id: int | None = None, batch_type: str | None = None, samples: int = 20
    ) -> ReasonDetails:
        """All that is known of one cause: samples, days, batches, what people did about it.

        Args:
            reason: its id, or the beginning of it.
            samples: at most so many items.

        Raises:
            UnknownReason, AmbiguousReason: no reason begins so, or several do.
        """
        from reliable_imports.batches import failures

        with self._connection() as connection:
            return failures.get_details(connection, reason, failures.Scope(batch_id, batch_type), samples=samples)

    def note_failure(self, reason: str, text: str, *, by: str | None = None) -> str:
        """Keep what a person has to say of a cause; returns its whole id.

        Raises:
            UnknownReason, AmbiguousReason: no reason begins so, or several do.
            ConfigurationError: *text* is empty, or cannot be kept.
        """
        from reliable_imports.batches import failures

        with self._connection() as connection:
            return failures.note(connection, reason, text, by)

    def ignore_failure(self, reason: str, why: str, *, until: datetime | None = None, by: str | None = None) -> str:
        """Leave a cause: no check is yellow for it, and sensors leave what failed for nothing else.

        It is told again when it surges: when more than twice as many items fail for it on one day (UTC) as on any day
        before, ten at least. Returns its whole id.

        Args:
            until: when this ends by itself; a time without a zone is local.

        Raises:
            UnknownReason, AmbiguousReason: no reason begins so, or several do.
            ConfigurationError: *why* is empty, or *until* is over.
        """
        from reliable_imports.batches import failures

        with self._connection() as connection:
            return failures.ignore(connection, reason, why, until, by)

    def end_ignoring_failure(self, reason: str, *, by: str | None = None) -> str:
        """Take `ignore_failure` back; returns the cause's whole id. Raises UnknownReason, AmbiguousReason."""
        from reliable_imports.batches import failures

        with self._connection() as connection:
            return failures.end_ignore(connection, reason, by)

    def list_items(
        self,
        batch_id: int,
        *,
        status: ItemStatus | str | None = None,
        reason: str | None = None,
        after: int = 0,
        limit: int = 100,
    ) -> list[ItemRecord]:
        """Items in order, those with a number above *after*; pass the last number on to page. Raises UnknownBatch."""
        require_texts(reason=reason)
        with self._connection() as connection:
            return read.list_items(connection, batch_id, status=status, reason=reason, after=after, limit=limit)

    def count_outstanding(self, batch_id: int) -> int:
        """Failed items of the batch's whole lineage that no later item repeats. Raises UnknownBatch."""
        with self._connection() as connection:
            return read.count_outstanding(connection, batch_id)

    def count_ignored(self, batch_id: int) -> int:
        """Those of `count_outstanding` whose causes people have all said to ignore. Raises UnknownBatch."""
        with self._connection() as connection:
            return read.count_ignored(connection, batch_id)

    def outstanding_reasons(self, batch_id: int) -> list[OutstandingReason]:
        """What `count_outstanding` counts, by the batch that it failed in and the reason, the most frequent first.

        Raises UnknownBatch.
        """
        with self._connection() as connection:
            return read.outstanding_reasons(connection, batch_id)

    def repeated_items(self, batch_id: int) -> dict[int, int]:
        """Of which earlier batches a reprocess batch repeats how many items; empty for others. Raises UnknownBatch."""
        with self._connection() as connection:
            return read.repeated_items(connection, batch_id)

    def open_lineages(self, batch_type: str) -> list[int]:
        """The first batches of the type's lineages with something outstanding, or with a repeat that has not ended."""
        require_texts(batch_type=batch_type)
        with self._connection() as connection:
            return read.open_lineages(connection, batch_type)

    def held_batches(self, batch_id: int) -> list[int]:
        """Reprocess batches of the batch's lineage that wait for a person, by their ids. Raises UnknownBatch."""
        with self._connection() as connection:
            return read.held_batches(connection, batch_id)

    def list_logs(
        self, batch_id: int, *, item_number: int | None = None, levels: Sequence[str] | None = None, limit: int = 1000
    ) -> list[LogEntry]:
        """The last lines of the batch's audit log, oldest first. Raises UnknownBatch."""
        with self._connection() as connection:
            return read.list_logs(connection, batch_id, item_number=item_number, levels=levels, limit=limit)

    def list_runs(
        self,
        *,
        batch_id: int | None = None,
        dagster_run_id: str | None = None,
        batch_type: str | None = None,
        lineage: int | None = None,
    ) -> list[RunRecord]:
        """Who worked on a batch or on its whole lineage, or on which batches a Dagster run worked; oldest first.

        Args:
            lineage: by its first batch.
        """
        with self._connection() as connection:
            return read.list_runs(
                connection, batch_id=batch_id, dagster_run_id=dagster_run_id, batch_type=batch_type, lineage=lineage
            )

    def verify(self, batch_id: int | None = None) -> list[Verification]:
        """Count a batch, or all batches, again: every item in one place, every count what the items say.

        Raises UnknownBatch.
        """
        with self._connection() as connection:
            return verify.verify(connection, batch_id)

    @contextmanager
    def connected(self, *, ahead: bool = False) -> Iterator[None]:
        """Let the calls that this thread makes within the block share one connection, made for the first of them.

        A run takes it over, and gives it back as a new session if it comes to the end of its batch. A call that is made
        while another one uses it, by a source or by *on_progress*, has one of its own.

        Args:
            ahead: begin to make it at once, in a thread. The first call raises what goes wrong.
        """
        with self._connections.shared(ahead=ahead):
            yield

    def _connection(self) -> AbstractContextManager[Connection]:
        return self._connections.of_a_call()
