"""Repairs what failed for want of a row in another table, once that row is there."""

import dagster as dg

from reliable_imports import BatchManager, WhichItems
from reliable_imports_dagster.discovery import Packages, discover
from reliable_imports_dagster.names import REPROCESS
from reliable_imports_dagster.sensors.frame import Decision, build_sensor, lineage_candidate, look_through


def build_missing_references_sensor(
    packages: Packages,
    *,
    default_status: dg.DefaultSensorStatus = dg.DefaultSensorStatus.STOPPED,
    minimum_interval_seconds: int = 30,
    max_runs_per_tick: int = 10,
) -> dg.SensorDefinition:
    """The sensor `reprocess_missing_references_sensor`: items that failed for a foreign key are run again when the row
    that they referred to is there, whoever has written it.

    PostgreSQL is asked for the rows, at every tick, for at most 1,000 lineages with 100,000 failures together. A run
    takes those items alone whose rows are there. One that fails for a foreign key again rests for a minute, doubled
    with every try.
    """
    registry = discover(packages)
    batch_types = [processor.batch_type for processor in registry]

    def decide(context: dg.SensorEvaluationContext, manager: BatchManager) -> Decision:
        return look_through(
            context,
            manager,
            registry,
            lambda after: manager.orchestration.resolved_references(batch_types, after=after),
            lambda lineage: lineage_candidate(
                f"reference:{lineage.first_batch_id}",
                lineage.first_batch_id,
                lineage.batch_type,
                lineage.generation,
                WhichItems.RESOLVED_REFERENCES,
            ),
            max_runs=max_runs_per_tick,
            nothing="of {looked_at} lineages that failed for foreign keys, none lacks a row that is there now",
        )

    return build_sensor(
        "reprocess_missing_references_sensor",
        registry,
        decide,
        job_name=REPROCESS,
        minimum_interval_seconds=minimum_interval_seconds,
        default_status=default_status,
        description="Runs items again that failed for want of a row that is there now.",
    )
