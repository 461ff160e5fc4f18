"""What an orchestrator asks: where a run is wanted, which runs are gone, and what has ended behind its back.

`BatchManager.orchestration` answers on the manager's database. People who create and process batches need none of it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from psycopg2.extras import Json

from reliable_imports.batches import deliveries, read
from reliable_imports.items.given import as_numbers
from reliable_imports.items.redaction import MASKED
from reliable_imports.postgres.connect import Connection, rows, transaction
from reliable_imports.postgres.queries import load
from reliable_imports.processor.code_version import code_version, source_of
from reliable_imports.processor.facts import facts_of
from reliable_imports.processor.table import TableFacts

__all__ = [
    "MASKED",
    "DueLineage",
    "FailingLineage",
    "FailuresPage",
    "LineageActivity",
    "Orchestration",
    "TableFacts",
    "WaitingBatch",
    "code_version",
    "facts_of",
    "source_of",
]

_ORCHESTRATION = load("orchestration.sql")


@dataclass(frozen=True, slots=True)
class WaitingBatch:
    """A batch that nobody works, and that is waiting for a run.

    Attributes:
        dagster_run_id: the Dagster run that worked it last, or None.
        generation: grows with every run of the batch.
    """

    batch_id: int
    batch_type: str
    first_batch_id: int
    metadata: Mapping[str, Any]
    dagster_run_id: str | None
    generation: int


@dataclass(frozen=True, slots=True)
class DueLineage:
    """A lineage whose failures, or whose abandoned reprocess batch, are due for another run.

    Attributes:
        due_items: retryable failures whose back-off is over.
        stalled_batch_id: an open reprocess batch of the lineage that nobody works on, or None.
        generation: grows with every reprocess batch and every ended or lost run of the lineage.
    """

    first_batch_id: int
    batch_type: str
    due_items: int
    stalled_batch_id: int | None
    generation: int


@dataclass(frozen=True, slots=True)
class FailingLineage:
    """A lineage with outstanding failures that another try may cure now.

    Attributes:
        items: how many there are, where that was counted; else 1.
        generation: grows with every reprocess batch and every ended or lost run of the lineage.
    """

    first_batch_id: int
    batch_type: str
    items: int
    generation: int


@dataclass(frozen=True, slots=True)
class FailuresPage:
    """The lineages of a bounded look at those in which something failed.

    Attributes:
        lineages: those of them with failures as they were asked for.
        last: the last lineage that was looked at, by its first batch; None if there was none to look at.
        looked_at: how many lineages were.
    """

    lineages: Sequence[FailingLineage]
    last: int | None
    looked_at: int


@dataclass(frozen=True, slots=True)
class LineageActivity:
    """
    Attributes:
        live_lineages: lineages, by their first batches, that somebody works now.
        live_runs: Dagster runs that work a batch now.
        past_runs: Dagster runs that have worked one.
    """

    live_lineages: frozenset[int]
    live_runs: frozenset[str]
    past_runs: frozenset[str]


class Orchestration:
    """The questions of an orchestrator, on one database. Made by `BatchManager.orchestration`."""

    def __init__(self, connect: Callable[[], AbstractContextManager[Connection]]) -> None:
        self._connect = connect

    # Batches that want a run

    def waiting_batches(self, *, age: timedelta = timedelta(0), limit: int = 100) -> list[WaitingBatch]:
        """Batches older than *age* that were created and that nobody has begun to work, oldest first."""
        return [WaitingBatch(**row) for row in self._ask("waiting_batches", age=age, limit=limit)]

    def abandoned_batches(self, *, age: timedelta = timedelta(minutes=2), limit: int = 100) -> list[WaitingBatch]:
        """Begun batches whose last run was lost, with no sign of life for *age*, oldest first."""
        return [WaitingBatch(**row) for row in self._ask("abandoned_batches", age=age, limit=limit)]

    def interrupted_batches(self, *, age: timedelta = timedelta(minutes=1), limit: int = 100) -> list[WaitingBatch]:
        """Begun batches whose last run was Dagster's and had to stop, whatever the cause, more than *age* ago.

        The newest come first.
        """
        return [WaitingBatch(**row) for row in self._ask("interrupted_batches", age=age, limit=limit)]

    def find_unfinished_batch(self, batch_type: str, *, partition: str) -> int | None:
        """The newest batch of a partition that has not ended; None if there is none."""
        [row] = self._ask("unfinished_batch", batch_type=batch_type, partition=partition)
        return None if row["max"] is None else int(row["max"])

    # Failures that want another try

    def lineages_due(self, *, limit: int = 100, exclude_reasons: Sequence[str] = ()) -> list[DueLineage]:
        """Lineages with retryable failures whose back-off is over, or with a reprocess batch that nobody works on."""
        found = self._ask("lineages_due", limit=limit, exclude_reasons=list(exclude_reasons))
        return [DueLineage(**row) for row in found]

    def failing_lineages(self, batch_type: str | None = None, *, retryable_only: bool = False) -> list[int]:
        """The first batches of all lineages with outstanding failures, of one type or of any.

        Args:
            retryable_only: only lineages with retryable ones, due or not.
        """
        found = self._ask("failing_lineages", batch_type=batch_type, retryable_only=retryable_only)
        return [row["first_batch_id"] for row in found]

    def reasons_of_lineage(self, first_batch_id: int, reasons: Iterable[str]) -> list[str]:
        """Those of *reasons* that items of the lineage have failed for, in no order."""
        found = self._ask("reasons_of_lineage", first_batch_id=first_batch_id, reasons=list(reasons))
        return [row["reason"] for row in found]

    def unknown_reasons(self, reasons: Iterable[str]) -> list[str]:
        """Those of *reasons* that no item of any batch has ever failed for, in no order."""
        return [row["reason"] for row in self._ask("unknown_reasons", reasons=list(reasons))]

    def resolved_references(
        self, batch_types: Iterable[str], *, after: int = 0, max_lineages: int = 1_000, max_failures: int = 100_000
    ) -> FailuresPage:
        """Lineages with outstanding failures of foreign keys whose missing rows are there now, in the order of ids.

        The tables that the foreign keys refer to are asked. A call looks at so many lineages, and at lineages with so
        many failures together.

        Args:
            after: only lineages whose first batch has a higher id; pass on the last one that was looked at.
        """
        return self._page(
            "resolved_references",
            batch_types=list(batch_types),
            after=after,
            max_lineages=max_lineages,
            max_failures=max_failures,
        )

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
        """Lineages with outstanding failures that wait for a person or for other code, in the order of their ids.

        However many there are, a call looks at so many lineages, and at lineages with so many failures together, and
        takes about a tenth of a second.

        Args:
            max_attempts: only failures with fewer attempts.
            backoff: only failures that have rested so long, doubled with every attempt.
            code_versions: only of batches that were worked with another code than this, by batch type.
            after: only lineages whose first batch has a higher id; pass on the last one that was looked at.
        """
        return self._page(
            "permanent_failures",
            batch_types=list(batch_types),
            exclude_reasons=list(exclude_reasons),
            max_attempts=max_attempts,
            backoff=backoff,
            code_versions=None if code_versions is None else Json(dict(code_versions)),
            after=after,
            max_lineages=max_lineages,
            max_failures=max_failures,
        )

    def count_waiting(self, batch_types: Iterable[str]) -> dict[str, int]:
        """How many outstanding failures of these types wait for a person; types without any are left out."""
        found = self._ask("count_waiting", batch_types=list(batch_types))
        return {row["batch_type"]: row["count"] for row in found}

    # Runs, and who works what

    def lineage_activity(self, lineages: Iterable[int], dagster_run_ids: Iterable[str]) -> LineageActivity:
        """Which of these lineages somebody works now, and which of these Dagster runs work a batch or have worked one.

        Args:
            lineages: by their first batches.
        """
        found = self._ask("lineage_activity", lineages=list(lineages), dagster_run_ids=list(dagster_run_ids))
        live = [row for row in found if row["is_live"]]
        return LineageActivity(
            live_lineages=frozenset(row["first_batch_id"] for row in live),
            live_runs=frozenset(row["dagster_run_id"] for row in live if row["dagster_run_id"] is not None),
            past_runs=frozenset(row["dagster_run_id"] for row in found if row["dagster_run_id"] is not None),
        )

    def release_run(self, dagster_run_id: str, *, error: str) -> list[int]:
        """Say that the process of a Dagster run is gone; returns the batches that it worked. Open items are free."""
        return [row["batch_id"] for row in self._ask("release_run", dagster_run_id=dagster_run_id, error=error)]

    def claim_report(self, batch_id: int, dagster_run_id: str) -> bool:
        """True for one of the workers of a Dagster run that share a batch which has ended: it tells of the end."""
        return bool(self._ask("claim_report", batch_id=batch_id, dagster_run_id=dagster_run_id))

    def finished_elsewhere(
        self, *, after: tuple[datetime, int] | None = None, age: timedelta = timedelta(seconds=10), limit: int = 100
    ) -> list[tuple[int, datetime]]:
        """Batches that ended, more than *age* ago, without a Dagster run: id and end, in the order of their ends.

        Args:
            after: the end and the id of the last one that is known already.
        """
        at, batch_id = after or (None, None)
        found = self._ask("finished_elsewhere", after=at, after_id=batch_id, age=age, limit=limit)
        return [(row["batch_id"], row["finished_at"]) for row in found]

    # Deliveries

    def find_deliveries(self, batch_type: str, idempotency_keys: Collection[str]) -> dict[str, int]:
        """The batches that were made under some of the keys, by their keys."""
        found = self._ask("find_deliveries", batch_type=batch_type, idempotency_keys=list(idempotency_keys))
        return {row["idempotency_key"]: row["batch_id"] for row in found}

    def add_warning(self, batch_id: int, warning: str) -> None:
        """Keep a sentence that people should know of the batch's delivery, with the batch and in its audit log; once.

        Raises UnknownBatch: there is no such batch.
        """
        with self._connect() as connection:
            read.get_batch(connection, batch_id)
            deliveries.add_warning(connection, batch_id, warning)

    def _ask(self, query: str, **parameters: Any) -> list[dict[str, Any]]:
        with self._connect() as connection, transaction(connection) as cursor:
            cursor.execute(_ORCHESTRATION[query], as_numbers(parameters))
            return rows(cursor)

    def _page(self, query: str, **parameters: Any) -> FailuresPage:
        found = self._ask(query, **parameters)
        return FailuresPage(
            lineages=[FailingLineage(**row) for row in found if row["items"]],
            last=found[-1]["first_batch_id"] if found else None,
            looked_at=len(found),
        )
