"""What an orchestrator needs to know: where a run is wanted, and which one is gone."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from psycopg2.extensions import connection as Connection  # noqa: N812 - the class has a lower-case name

from reliable_imports.database import rows, transaction
from reliable_imports.queries import load

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
class MissingReferences:
    """Outstanding failures of one line that named what was not there.

    Attributes:
        reasons: the fingerprints of their reasons.
    """

    first_batch_id: int
    reasons: Sequence[str]


@dataclass(frozen=True, slots=True)
class PermanentFailures:
    """A line with outstanding failures that another try of the same code would not cure.

    Attributes:
        batch_id: the newest batch with one of them.
        dagster_run_id: the Dagster run that worked that batch last, or None.
    """

    first_batch_id: int
    batch_type: str
    batch_id: int
    dagster_run_id: str | None


@dataclass(frozen=True, slots=True)
class FailuresPage:
    """The lines of a bounded look at those in which something failed.

    Attributes:
        lines: those of them with failures as they were asked for.
        last: the last line that was looked at, by its first batch; None if there was none to look at.
    """

    lines: Sequence[PermanentFailures]
    last: int | None


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


def missing_references(
    connection: Connection, batch_type: str, table: str | None, before: datetime, limit: int
) -> list[MissingReferences]:
    found = _ask(connection, "missing_references", batch_type=batch_type, table=table, before=before, limit=limit)
    return [MissingReferences(**row) for row in found]


def permanent_failures(connection: Connection, **wanted: Any) -> FailuresPage:
    found = _ask(connection, "permanent_failures", **wanted)
    return FailuresPage(
        lines=[PermanentFailures(**row) for row in found if row["batch_id"] is not None],
        last=found[-1]["first_batch_id"] if found else None,
    )


def claim_report(connection: Connection, batch_id: int, dagster_run_id: str) -> bool:
    """Whether the caller is the one to tell that the batch has ended."""
    return bool(_ask(connection, "claim_report", batch_id=batch_id, dagster_run_id=dagster_run_id))


def _ask(connection: Connection, query: str, **parameters: Any) -> list[dict[str, Any]]:
    with transaction(connection) as cursor:
        cursor.execute(_ORCHESTRATION[query], parameters)
        return rows(cursor)
