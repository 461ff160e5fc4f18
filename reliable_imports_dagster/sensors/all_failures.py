"""Tries every failure again, a few times, for sources and targets that are repaired behind one's back."""

from collections.abc import Container, Sequence
from datetime import timedelta

import dagster as dg

from reliable_imports import BatchManager, WhichItems
from reliable_imports_dagster.discovery import Packages, discover
from reliable_imports_dagster.names import REPROCESS
from reliable_imports_dagster.sensors.frame import Decision, build_sensor, lineage_candidate, look_through


def build_all_failures_sensor(
    packages: Packages,
    *,
    max_attempts: int = 3,
    backoff: timedelta = timedelta(hours=1),
    exclude_batch_types: Container[str] = (),
    exclude_reasons: Sequence[str] = (),
    default_status: dg.DefaultSensorStatus = dg.DefaultSensorStatus.STOPPED,
    minimum_interval_seconds: int = 60,
    max_runs_per_tick: int = 10,
) -> dg.SensorDefinition:
    """The sensor `reprocess_all_failures_sensor`: also failures that nothing says another try would cure are run again.

    For sources or targets that are repaired behind one's back. Bounded: no item beyond *max_attempts*, and each rests
    for *backoff*, doubled with every attempt.
    """
    registry = discover(packages)
    wanted = [processor.batch_type for processor in registry if processor.batch_type not in exclude_batch_types]

    def decide(context: dg.SensorEvaluationContext, manager: BatchManager) -> Decision:
        return look_through(
            context,
            manager,
            registry,
            lambda after: manager.orchestration.permanent_failures(
                wanted, exclude_reasons=exclude_reasons, max_attempts=max_attempts, backoff=backoff, after=after
            ),
            lambda lineage: lineage_candidate(
                f"all:{lineage.first_batch_id}",
                lineage.first_batch_id,
                lineage.batch_type,
                lineage.generation,
                WhichItems.PERMANENT,
                max_attempts=max_attempts,
                exclude_reasons=list(exclude_reasons),
            ),
            max_runs=max_runs_per_tick,
            nothing=f"no failure has rested for {backoff} and had fewer than {max_attempts} attempts",
        )

    return build_sensor(
        "reprocess_all_failures_sensor",
        registry,
        decide,
        job_name=REPROCESS,
        minimum_interval_seconds=minimum_interval_seconds,
        default_status=default_status,
        description="Runs every outstanding failure again, a few times.",
    )
