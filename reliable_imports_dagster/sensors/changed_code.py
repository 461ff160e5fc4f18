"""Tries failures again with a processor that was changed."""

from collections.abc import Container, Sequence

import dagster as dg

from reliable_imports import BatchManager, WhichItems
from reliable_imports.orchestration import code_version
from reliable_imports_dagster.discovery import Packages, discover
from reliable_imports_dagster.names import REPROCESS
from reliable_imports_dagster.sensors.frame import Decision, build_sensor, lineage_candidate, look_through


def build_changed_code_sensor(
    packages: Packages,
    *,
    exclude_batch_types: Container[str] = (),
    exclude_reasons: Sequence[str] = (),
    default_status: dg.DefaultSensorStatus = dg.DefaultSensorStatus.STOPPED,
    minimum_interval_seconds: int = 60,
    max_runs_per_tick: int = 10,
) -> dg.SensorDefinition:
    """The sensor `reprocess_changed_code_sensor`: outstanding failures that wait for a person are run again, once, when
    their processor's class is another than the one that they failed with.

    Which that was stands in `import_runs`, whoever has worked the batch. Classes without a source file are left alone.
    """
    registry = discover(packages)
    found = {processor.batch_type: code_version(processor) for processor in registry}
    versions = {
        name: version for name, version in found.items() if version is not None and name not in exclude_batch_types
    }

    def decide(context: dg.SensorEvaluationContext, manager: BatchManager) -> Decision:
        return look_through(
            context,
            manager,
            registry,
            lambda after: manager.orchestration.permanent_failures(
                versions, code_versions=versions, exclude_reasons=exclude_reasons, after=after
            ),
            lambda lineage: lineage_candidate(
                f"code:{versions[lineage.batch_type]}:{lineage.first_batch_id}",
                lineage.first_batch_id,
                lineage.batch_type,
                lineage.generation,
                WhichItems.PERMANENT,
                exclude_reasons=list(exclude_reasons),
            ),
            max_runs=max_runs_per_tick,
            nothing="of {looked_at} lineages with failures, none failed with other code than there is now",
        )

    return build_sensor(
        "reprocess_changed_code_sensor",
        registry,
        decide,
        job_name=REPROCESS,
        minimum_interval_seconds=minimum_interval_seconds,
        default_status=default_status,
        description="Runs failures again with a processor that was changed.",
    )
