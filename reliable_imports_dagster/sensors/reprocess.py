"""Starts the reprocessing of failures that are worth another try, without end only where there is progress."""

from collections.abc import Container, Sequence

import dagster as dg

from reliable_imports import BatchManager, WhichItems
from reliable_imports_dagster.discovery import Packages, discover
from reliable_imports_dagster.names import REPROCESS
from reliable_imports_dagster.sensors.frame import Decision, build_sensor, choose, lineage_candidate

_MAX_LINEAGES = 1_000


def build_reprocess_sensor(
    packages: Packages,
    *,
    default_status: dg.DefaultSensorStatus = dg.DefaultSensorStatus.STOPPED,
    minimum_interval_seconds: int = 30,
    max_runs_per_tick: int = 10,
    exclude_batch_types: Container[str] = (),
    exclude_reasons: Sequence[str] = (),
) -> dg.SensorDefinition:
    """The sensor `reprocess_failed_items_sensor`, which launches `reprocess_failed_items` for each lineage that is due.

    A lineage is due when retryable failures of it have rested long enough, or a reprocess batch of it was left behind.
    Back-off and the limit of attempts are the processor's and kept in PostgreSQL. One run of a lineage at a time; after
    five that ended without touching an item, none until somebody has reprocessed the lineage by hand.

    Args:
        exclude_batch_types: types whose failures wait for a person.
        exclude_reasons: reasons, by their ids, whose failures do.
    """
    registry = discover(packages)

    def decide(context: dg.SensorEvaluationContext, manager: BatchManager) -> Decision:
        due = manager.orchestration.lineages_due(limit=_MAX_LINEAGES, exclude_reasons=exclude_reasons)
        if not due:
            return "no retryable failure is due, and no reprocess batch was left behind"
        candidates = [
            lineage_candidate(
                str(lineage.first_batch_id),
                lineage.first_batch_id,
                lineage.batch_type,
                lineage.generation,
                WhichItems.DUE,
                exclude_reasons=list(exclude_reasons),
            )
            for lineage in due
        ]
        return choose(
            context,
            manager,
            registry,
            candidates,
            max_runs=max_runs_per_tick,
            exclude_batch_types=exclude_batch_types,
        ).decision()

    return build_sensor(
        f"{REPROCESS}_sensor",
        registry,
        decide,
        job_name=REPROCESS,
        minimum_interval_seconds=minimum_interval_seconds,
        default_status=default_status,
        description="Reprocesses retryable failures when their back-off is over.",
    )
