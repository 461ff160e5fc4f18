"""What an orchestrator needs to know: where a run is wanted, and which one is gone."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from psycopg2.extras import Json

from reliable_imports.postgres.connect import Connection, rows, transaction
from reliable_imports.postgres.queries import load

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
class FailingLineage:
    """A line of batches with outstanding failures that another try may cure now.

    Attributes:
        items: how many there are, where that was counted; else 1.
        generation: grows with every reprocess batch and every ended or lost run of the line.
    """

    first_batch_id: int
    batch_type: str
    items: int
    generation: int


@dataclass(frozen=True, slots=True)
class FailuresPage:
    """The lines of a bounded look at those in which something failed.

    Attributes:
        lines: those of them with failures as they were asked for.
        last: the last line that was looked at, by its first batch; None if there was none to look at.
        looked_at: how many lines were.
    """

    lines: Sequence[FailingLineage]
    last: int | None
    looked_at: int


@dataclass(frozen=True, slots=True)
class LineageActivity:
    """
    Attributes:
        live_lineages: lines, by their first batches, that somebody works now.
        live_runs: Dagster runs that work a batch now.
        past_runs: Dagster runs that have worked one.
    """

    live_lineages: frozenset[int]
    live_runs: frozenset[str]
    past_runs: frozenset[str]


def unfinished_batch(connection: Connection, batch_type: str, partition: str) -> int | None:
    """The newest batch of the partition that has not ended."""
    [row] = _ask(connection, "unfinished_batch", batch_type=batch_type, partition=partition)
    return None if row["max"] is None else int(row["max"])


def find_deliveries(connection: Connection, batch_type: str, idempotency_keys: Collection[str]) -> dict[str, int]:
    found = _ask(connection, "find_deliveries", batch_type=batch_type, idempotency_keys=list(idempotency_keys))
    return {row["idempotency_key"]: row["batch_id"] for row in found}


def waiting_batches(connection: Connection, age: timedelta, limit: int) -> list[WaitingBatch]:
    return [WaitingBatch(**row) for row in _ask(connection, "waiting_batches", age=age, limit=limit)]


def abandoned_batches(connection: Connection, age: timedelta, limit: int) -> list[WaitingBatch]:
    return [WaitingBatch(**row) for row in _ask(connection, "abandoned_batches", age=age, limit=limit)]


def interrupted_batches(connection: Connection, age: timedelta, limit: int) -> list[WaitingBatch]:
    return [WaitingBatch(**row) for row in _ask(connection, "interrupted_batches", age=age, limit=limit)]


def release_run(connection: Connection, dagster_run_id: str, error: str) -> list[int]:
    """End what a Dagster run has left open; the ids of its batches."""
    return [row["batch_id"] for row in _ask(connection, "release_run", dagster_run_id=dagster_run_id, error=error)]


def finished_elsewhere(
    connection: Connection, after: tuple[datetime, int] | None, age: timedelta, limit: int
) -> list[tuple[int, datetime]]:
    at, batch_id = after or (None, None)
    found = _ask(connection, "finished_elsewhere", after=at, after_id=batch_id, age=age, limit=limit)
    return [(row["batch_id"], row["finished_at"]) for row in found]


def resolved_references(connection: Connection, **wanted: Any) -> FailuresPage:
    return _page(_ask(connection, "resolved_references", **wanted))


def permanent_failures(
    connection: Connection, *, code_versions: Mapping[str, str] | None = None, **wanted: Any
) -> FailuresPage:
    versions = None if code_versions is None else Json(dict(code_versions))
    return _page(_ask(connection, "permanent_failures", code_versions=versions, **wanted))


def lineage_activity(
    connection: Connection, lines: Collection[int], dagster_run_ids: Collection[str]
) -> LineageActivity:
    found = _ask(connection, "lineage_activity", lines=list(lines), dagster_run_ids=list(dagster_run_ids))
    live = [row for row in found if row["is_live"]]
    return LineageActivity(
        live_lineages=frozenset(row["first_batch_id"] for row in live),
        live_runs=frozenset(row["dagster_run_id"] for row in live if row["dagster_run_id"] is not None),
        past_runs=frozenset(row["dagster_run_id"] for row in found if row["dagster_run_id"] is not None),
    )


def claim_report(connection: Connection, batch_id: int, dagster_run_id: str) -> bool:
    """Whether the caller is the one to tell that the batch has ended."""
    return bool(_ask(connection, "claim_report", batch_id=batch_id, dagster_run_id=dagster_run_id))


def _ask(connection: Connection, query: str, **parameters: Any) -> list[dict[str, Any]]:
    with transaction(connection) as cursor:
        cursor.execute(_ORCHESTRATION[query], parameters)
        return rows(cursor)


def _page(found: Sequence[dict[str, Any]]) -> FailuresPage:
    return FailuresPage(
        lines=[FailingLineage(**row) for row in found if row["items"]],
        last=found[-1]["first_batch_id"] if found else None,
        looked_at=len(found),
    )
