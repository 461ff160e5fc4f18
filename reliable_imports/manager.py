"""The way in: create batches, process them, run failures again, and ask how things stand."""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

from psycopg2.extensions import connection as Connection  # noqa: N812 - the class has a lower-case name

from reliable_imports.batches import control, create, deliveries, erase, orchestrate, read, reprocess, verify
from reliable_imports.batches.column_check import ColumnCheck
from reliable_imports.batches.deliveries import Offer, SameContent
from reliable_imports.batches.duplicates import Keying
from reliable_imports.batches.erase import Erasure, ErasureKey
from reliable_imports.batches.orchestrate import FailuresPage, LineageActivity, WaitingBatch
from reliable_imports.batches.reprocess import ReprocessRequest
from reliable_imports.batches.verify import Verification
from reliable_imports.engine.run import Identity, ProgressCallback, Run
from reliable_imports.errors import ConfigurationError
from reliable_imports.items.given import json_object, require_texts
from reliable_imports.models import (
    Batch,
    BatchSummary,
    Delivery,
    DueLineage,
    FailureReason,
    ItemRecord,
    LogEntry,
    OutstandingReason,
    RunRecord,
)
from reliable_imports.postgres import schema
from reliable_imports.postgres.connect import connect
from reliable_imports.processor.params import processor_for, with_params
from reliable_imports.processor.registry import ProcessorRegistry
from reliable_imports.settings import resolve_dsn
from reliable_imports.sources import Source, open_source
from reliable_imports.statuses import BatchStatus, ItemStatus, Runner

logger = logging.getLogger("reliable_imports")

_MAX_KEY = 500


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
                With False a missing migration raises SchemaNotReady.
            runner: who makes the calls; noted in `import_runs`.
        """
        self.registry = registry if registry is not None else ProcessorRegistry()
        self._given_dsn = dsn
        self._migrate = migrate
        self._runner = Runner(runner)
        self._dsn: str | None = None
        self._preparing = threading.Lock()
        self._prepared = False

    @property
    def dsn(self) -> str:
        """The database that is used, password included; starts the embedded server if that is the one."""
        if self._dsn is None:
            self._dsn = resolve_dsn(self._given_dsn)
        return self._dsn

    def migrate(self) -> list[str]:
        """Bring the schema `reliable_imports` up to date; return the migrations that were applied now, perhaps none."""
        return schema.migrate(self.dsn)

    # Creating

    def open_source(self, batch_type: str, path: str | os.PathLike[str]) -> Source:
        """A file as items for `create_batch`, read as the processor's `source_options` say; a path or a URL.

        Raises:
            SourceError: there is no such file, or it cannot be read.
            SourceUnavailable: it is out of reach now.
        """
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
            items: JSON values, mostly objects, stored as given (see `reliable_imports.items.json_text` for how dates
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
                field of the processor's model; nothing was stored.
            AlreadyImported: an earlier batch has the same content, and *same_content* is `refuse`.
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
        processor = self.registry.get(batch_type)
        if isinstance(items, str | bytes | Mapping) or not isinstance(items, Iterable):
            raise ConfigurationError(
                f"items is a {type(items).__name__}, not an iterable of items; for a file pass "
                "manager.open_source(batch_type, path), for one item a list of it"
            )
        if type(items).__name__ == "DataFrame":
            raise ConfigurationError("items is a DataFrame, which gives the names of its columns; pass its records")
        _check_key(idempotency_key)
        require_texts(source=source, requested_by=requested_by, partition=partition)
        if source is None and isinstance(items, Source):
            source = items.name.encode("utf-8", "replace").decode()  # the name of a file need not be UTF-8
        kept = with_params(processor, metadata, params, partition)
        json_object("metadata", kept)
        offer = Offer(
            batch_type=batch_type,
            items=items,
            source=source or None,
            idempotency_key=idempotency_key,
            requested_by=requested_by,
            metadata=kept,
            same_content=same_content or ("skip" if processor.skip_unchanged else "warn"),
        )
        with self._connection() as connection:
            return create.create_batch(
                connection,
                offer,
                keying=Keying.of(processor),
                check=ColumnCheck.of(processor),
                max_items=processor.source_options.max_items,
            )

    # Processing

    def process_batch(
        self, batch_id: int, *, on_progress: ProgressCallback | None = None, dagster_run_id: str | None = None
    ) -> BatchSummary:
        """Work the batch until nothing is left to claim, and return how it stands then.

        May be called again at any time and from several processes at once: they share the batch, each item is done
        once. On a finished batch it changes nothing.

        Args:
            on_progress: called with a summary about twice a second, and at the end.
            dagster_run_id: the Dagster run on whose behalf this is done.

        Raises:
            UnknownBatch, UnknownBatchType: there is no such batch, or no processor for it.
            RunInterrupted: the database was lost for too long; finished items are kept, the rest stay pending.
            psycopg2.OperationalError: it could not be reached to begin with; nothing was touched.
        """
        runner = self._runner if dagster_run_id is None else Runner.DAGSTER
        batch = self.get_batch(batch_id)
        processor = self.registry.get(batch.batch_type)
        if batch.status.is_final:
            return self.get_summary(batch_id)
        run = Run(
            self.dsn,
            batch,
            processor_for(processor, batch),
            Identity(runner, dagster_run_id),
            may_set_up=self._migrate,
            on_progress=on_progress,
        )
        return run.execute()

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

    def create_reprocess_batch(
        self,
        batch_id: int,
        *,
        failed_items_only: bool = True,
        reason: str | Sequence[str] | None = None,
        due_only: bool = False,
        retryable_only: bool = False,
        permanent_only: bool = False,
        max_attempts: int | None = None,
        resolved_references_only: bool = False,
        exclude_cancelled: bool = False,
        overwrite_newer: bool = False,
        exclude_reasons: Sequence[str] = (),
        from_item: int | None = None,
        to_item: int | None = None,
        idempotency_key: str | None = None,
        requested_by: str | None = None,
        note: str | None = None,
    ) -> int | None:
        """Take the outstanding failures of the batch's whole line into a new batch, and return its id.

        Safe to repeat and to call from several places at once: an item is taken once. If all that was asked for is in
        an open reprocess batch already, that batch's id is returned; if nothing is outstanding, None.

        Rows of a file that could not be read are read again as the processor's `source_options` say now.

        Args:
            failed_items_only: if False, the latest repeat of every item that has an end, completed ones too; asked for
                twice it repeats twice, unless an *idempotency_key* names the wish.
            reason: only the failures of one reason, or of several; ids as `failure_reasons` gives them.
            due_only: only retryable failures whose back-off is over.
            retryable_only: only retryable failures, due or not.
            permanent_only: only failures that no back-off will cure.
            max_attempts: only failures with fewer attempts.
            resolved_references_only: only failures of a foreign key whose missing row is there now; an item that was
                tried more than once rests for a minute, doubled with every try.
            exclude_cancelled: not what a cancelled batch has left undone, which is no failure.
            overwrite_newer: let an old item overwrite what a newer one has written under the same key; without it such
                an item is skipped.
            exclude_reasons: no failures of these reasons.
            from_item, to_item: only these items, numbered as in the line's first batch, both included.

        Raises:
            UnknownBatch: there is no such batch.
            UnknownReason: nothing of its line failed for one of the reasons.
            ConfigurationError: *failed_items_only* is False, and failures are chosen all the same, as by *reason*.
        """
        _check_key(idempotency_key)
        require_texts(requested_by=requested_by, note=note)
        reasons = None if reason is None else [reason] if isinstance(reason, str) else list(reason)
        for each in reasons or []:
            require_texts(reason=each)
        for each in exclude_reasons:
            require_texts(exclude_reasons=each)
        request = ReprocessRequest(
            failed_items_only=failed_items_only,
            reasons=reasons,
            due_only=due_only,
            retryable_only=retryable_only,
            permanent_only=permanent_only,
            max_attempts=max_attempts,
            resolved_references_only=resolved_references_only,
            exclude_cancelled=exclude_cancelled,
            overwrite_newer=overwrite_newer,
            exclude_reasons=exclude_reasons,
            from_item=from_item,
            to_item=to_item,
            idempotency_key=idempotency_key,
            requested_by=requested_by,
            note=note,
        )
        with self._connection() as connection:
            batch_type = read.get_batch(connection, batch_id).batch_type
            processor = self.registry.get(batch_type) if batch_type in self.registry else None
            keying, options = (Keying.of(processor), processor.source_options) if processor else (None, None)
            return reprocess.create_reprocess_batch(connection, batch_id, request, keying, options)

    def reprocess_batch(
        self,
        batch_id: int,
        *,
        failed_items_only: bool = True,
        reason: str | Sequence[str] | None = None,
        due_only: bool = False,
        retryable_only: bool = False,
        overwrite_newer: bool = False,
        exclude_reasons: Sequence[str] = (),
        from_item: int | None = None,
        to_item: int | None = None,
        idempotency_key: str | None = None,
        requested_by: str | None = None,
        note: str | None = None,
        on_progress: ProgressCallback | None = None,
        dagster_run_id: str | None = None,
    ) -> BatchSummary:
        """Create a reprocess batch as `create_reprocess_batch` does, process it, and return its summary.

        If nothing is outstanding, nothing is created, and the summary is that of the line's last batch as it stands.
        """
        new_batch_id = self.create_reprocess_batch(
            batch_id,
            failed_items_only=failed_items_only,
            reason=reason,
            due_only=due_only,
            retryable_only=retryable_only,
            overwrite_newer=overwrite_newer,
            exclude_reasons=exclude_reasons,
            from_item=from_item,
            to_item=to_item,
            idempotency_key=idempotency_key,
            requested_by=requested_by,
            note=note,
        )
        if new_batch_id is None:
            with self._connection() as connection:
                return read.get_summary(connection, reprocess.last_of_lineage(connection, batch_id))
        return self.process_batch(new_batch_id, on_progress=on_progress, dagster_run_id=dagster_run_id)

    def lineages_due(self, limit: int = 100, *, exclude_reasons: Sequence[str] = ()) -> list[DueLineage]:
        """Lines with retryable failures whose back-off is over, or with a reprocess batch that nobody works on."""
        with self._connection() as connection:
            return reprocess.lineages_due(connection, limit, exclude_reasons)

    def failing_lineages(self, batch_type: str | None = None, *, retryable_only: bool = False) -> list[int]:
        """The first batches of all lines with outstanding failures, of one type or of any.

        Args:
            retryable_only: only lines with retryable ones, due or not.
        """
        with self._connection() as connection:
            return reprocess.failing_lineages(connection, batch_type, retryable_only)

    def count_waiting(self, batch_types: Iterable[str]) -> dict[str, int]:
        """How many outstanding failures of these types wait for a person; types without any are left out."""
        with self._connection() as connection:
            return reprocess.count_waiting(connection, list(batch_types))

    # Taking data out

    def erase(
        self,
        batch_type: str,
        key: str | Mapping[str, Any],
        *,
        alike: bool = False,
        requested_by: str | None = None,
        note: str | None = None,
    ) -> Erasure:
        """Take everything of a person out of the tables of this package; the rows of their items stay, and all counts.

        It goes for every item of the type that has the key, in all batches, and for all that repeat it: source data,
        results, messages, tracebacks, log lines. Texts beside them, such as a batch's note, lose the key's values, and
        others that stand in no other item of these lineages, if they have at least six characters. All of it is one
        transaction; repeated, it does nothing. The targets' rows are the team's own, and stay.

        Args:
            key: the value of a key of one field, or values by field; see `ErasureKey.of`.
            alike: take items too whose key differs only in capitals or blanks, or that could not be read and hold it.
            requested_by, note: kept in the audit trail; do not name the person there.

        Raises:
            UnknownBatchType: no processor has this type, and only it knows the key.
            ConfigurationError: the processor has no such field.
            ItemsInUse: some of the items are pending or being processed; nothing was erased.
        """
        require_texts(requested_by=requested_by, note=note)
        wanted = ErasureKey.of(self.registry.get(batch_type), key)
        with self._connection() as connection:
            return erase.erase(connection, batch_type, wanted, alike=alike, requested_by=requested_by, note=note)

    def find_to_erase(self, batch_type: str, key: str | Mapping[str, Any], *, alike: bool = False) -> Erasure:
        """What `erase` would take, and nothing is changed."""
        wanted = ErasureKey.of(self.registry.get(batch_type), key)
        with self._connection() as connection:
            return erase.find(connection, batch_type, wanted, alike=alike)

    def count_erased(self, batch_id: int) -> int:
        """Failed items of the batch's lineage that no later item repeats, and none can: their data was erased."""
        with self._connection() as connection:
            read.get_batch(connection, batch_id)
            return erase.count_erased(connection, batch_id)

    # For an orchestrator

    def add_warning(self, batch_id: int, warning: str) -> None:
        """Keep a sentence that people should know of the batch's delivery, with the batch and in its audit trail; once.

        Raises UnknownBatch: there is no such batch.
        """
        with self._connection() as connection:
            read.get_batch(connection, batch_id)
            deliveries.add_warning(connection, batch_id, warning)

    def find_deliveries(self, batch_type: str, idempotency_keys: Collection[str]) -> dict[str, int]:
        """The batches that were made under some of the keys, by their keys."""
        with self._connection() as connection:
            return orchestrate.find_deliveries(connection, batch_type, idempotency_keys)

    def find_unfinished_batch(self, batch_type: str, *, partition: str) -> int | None:
        """The newest batch of a partition that has not ended; None if there is none."""
        with self._connection() as connection:
            return orchestrate.unfinished_batch(connection, batch_type, partition)

    def waiting_batches(self, *, age: timedelta = timedelta(0), limit: int = 100) -> list[WaitingBatch]:
        """Batches older than *age* that were created and that nobody has begun to work, oldest first."""
        with self._connection() as connection:
            return orchestrate.waiting_batches(connection, age, limit)

    def abandoned_batches(self, *, age: timedelta = timedelta(minutes=2), limit: int = 100) -> list[WaitingBatch]:
        """Begun batches whose last run was lost, with no sign of life for *age*, oldest first."""
        with self._connection() as connection:
            return orchestrate.abandoned_batches(connection, age, limit)

    def interrupted_batches(self, *, age: timedelta = timedelta(minutes=1), limit: int = 100) -> list[WaitingBatch]:
        """Begun batches whose last run was Dagster's and had to stop, whatever the cause, more than *age* ago, newest
        first."""
        with self._connection() as connection:
            return orchestrate.interrupted_batches(connection, age, limit)

    def release_run(self, dagster_run_id: str, *, error: str) -> list[int]:
        """Say that the process of a Dagster run is gone; returns the batches that it worked. Open items are free."""
        with self._connection() as connection:
            return orchestrate.release_run(connection, dagster_run_id, error)

    def finished_elsewhere(
        self, *, after: tuple[datetime, int] | None = None, age: timedelta = timedelta(seconds=10), limit: int = 100
    ) -> list[tuple[int, datetime]]:
        """Batches that ended, more than *age* ago, without a Dagster run: id and end, in the order of their ends.

        Args:
            after: the end and the id of the last one that is known already.
        """
        with self._connection() as connection:
            return orchestrate.finished_elsewhere(connection, after, age, limit)

    def claim_report(self, batch_id: int, dagster_run_id: str) -> bool:
        """True for one of the workers of a Dagster run that share a batch which has ended: it tells of the end."""
        with self._connection() as connection:
            return orchestrate.claim_report(connection, batch_id, dagster_run_id)

    def resolved_references(
        self, batch_types: Iterable[str], *, after: int = 0, max_lineages: int = 1_000, max_failures: int = 100_000
    ) -> FailuresPage:
        """Lines with outstanding failures of foreign keys whose missing rows are there now, in the order of their ids.

        The tables that the foreign keys refer to are asked. A call looks at so many lines, and at lines with so many
        failures together.

        Args:
            after: only lines whose first batch has a higher id; pass on the last one that was looked at.
        """
        with self._connection() as connection:
            return orchestrate.resolved_references(
                connection,
                batch_types=list(batch_types),
                after=after,
                max_lineages=max_lineages,
                max_failures=max_failures,
            )

    def lineage_activity(self, lines: Iterable[int], dagster_run_ids: Iterable[str]) -> LineageActivity:
        """Which of these lines somebody works now, and which of these Dagster runs have worked a batch, or still do."""
        with self._connection() as connection:
            return orchestrate.lineage_activity(connection, list(lines), list(dagster_run_ids))

    def permanent_failures(
        self,
        batch_types: Iterable[str],
        *,
        exclude_reasons: Sequence[str] = (),
        max_attempts: int = 1_000_000,
        backoff: timedelta = timedelta(0),
        code_versions: Mapping[str, str] | None = None,
        after: int = 0,
        max_lineages: int = 1_000,
        max_failures: int = 100_000,
    ) -> FailuresPage:
        """Lines with outstanding failures that wait for a person or for other code, in the order of their ids.

        However many there are, a call looks at so many lines, and at lines with so many failures together, and takes
        about a tenth of a second.

        Args:
            max_attempts: only failures with fewer attempts.
            backoff: only failures that have rested so long, doubled with every attempt.
            code_versions: only of batches that were worked with another code than this, by batch type.
            after: only lines whose first batch has a higher id; pass on the last one that was looked at.
        """
        with self._connection() as connection:
            return orchestrate.permanent_failures(
                connection,
                batch_types=list(batch_types),
                exclude_reasons=list(exclude_reasons),
                max_attempts=max_attempts,
                backoff=backoff,
                code_versions=code_versions,
                after=after,
                max_lineages=max_lineages,
                max_failures=max_failures,
            )

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

    def failure_reasons(self, batch_id: int) -> list[FailureReason]:
        """Why items of the batch failed, the most frequent reason first, with a sample each. Raises UnknownBatch."""
        with self._connection() as connection:
            return read.failure_reasons(connection, batch_id)

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
        """Failed items of the batch's whole line that no later item repeats. Raises UnknownBatch."""
        with self._connection() as connection:
            return read.count_outstanding(connection, batch_id)

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

    def list_logs(
        self, batch_id: int, *, item_number: int | None = None, levels: Sequence[str] | None = None, limit: int = 1000
    ) -> list[LogEntry]:
        """The last lines of the batch's audit trail, oldest first. Raises UnknownBatch."""
        with self._connection() as connection:
            return read.list_logs(connection, batch_id, item_number=item_number, levels=levels, limit=limit)

    def list_runs(
        self,
        *,
        batch_id: int | None = None,
        dagster_run_id: str | None = None,
        batch_type: str | None = None,
        line: int | None = None,
    ) -> list[RunRecord]:
        """Who worked on a batch or on its whole line, or on which batches a Dagster run worked; oldest first.

        Args:
            line: the first batch of the line.
        """
        with self._connection() as connection:
            return read.list_runs(
                connection, batch_id=batch_id, dagster_run_id=dagster_run_id, batch_type=batch_type, line=line
            )

    def verify(self, batch_id: int | None = None) -> list[Verification]:
        """Count a batch, or all batches, again: every item in one place, every count what the items say.

        Raises UnknownBatch.
        """
        with self._connection() as connection:
            return verify.verify(connection, batch_id)

    @contextmanager
    def _connection(self) -> Iterator[Connection]:
        with self._preparing:
            if not self._prepared:
                if self._migrate:
                    self.migrate()
                else:
                    schema.require_migrated(self.dsn)
                self._prepared = True
        with connect(self.dsn) as connection:
            yield connection


def _check_key(idempotency_key: str | None) -> None:
    """An empty key, as from an unset variable of a shell, would make every delivery the same."""
    if idempotency_key is None:
        return
    if not idempotency_key.strip() or not idempotency_key.isprintable() or len(idempotency_key) > _MAX_KEY:
        raise ConfigurationError(
            f"{idempotency_key[:40]!r} is no idempotency key; give 1 to {_MAX_KEY} printable characters"
        )
