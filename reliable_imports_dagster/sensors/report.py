"""Batches that were worked outside Dagster, shown in Dagster all the same."""

from datetime import datetime
from typing import Any

import dagster as dg

from reliable_imports import BatchManager
from reliable_imports_dagster.discovery import Packages, discover
from reliable_imports_dagster.run.report.reporting import report_elsewhere
from reliable_imports_dagster.sensors.frame import Decision, build_sensor
from reliable_imports_dagster.translator import DagsterReliableImportsTranslator, asset_specs


def build_report_sensor(
    packages: Packages,
    *,
    translator: DagsterReliableImportsTranslator | None = None,
    default_status: dg.DefaultSensorStatus = dg.DefaultSensorStatus.STOPPED,
    minimum_interval_seconds: int = 30,
    max_batches_per_tick: int = 10,
) -> dg.SensorDefinition:
    """The sensor `report_batches_sensor`: a batch that ended without a Dagster run (on the command line, in an
    application) becomes a materialization of its asset, with its checks, once; in the order in which they ended. One of
    which nothing was stored becomes an observation.

    Each costs Dagster's storage four events of some milliseconds, so a tick reports a few.
    """
    registry = discover(packages)
    specs = asset_specs(registry, translator or DagsterReliableImportsTranslator())

    def decide(context: dg.SensorEvaluationContext, manager: BatchManager) -> Decision:
        ended = manager.orchestration.finished_elsewhere(after=_read(context.cursor), limit=max_batches_per_tick)
        if not ended:
            return "no batch has ended outside Dagster since the last tick"
        events: list[Any] = []
        for batch_id, _ in ended:
            summary = manager.get_summary(batch_id)
            if summary.batch_type in registry:
                events += report_elsewhere(context, manager, summary, specs[summary.batch_type].key).events()
        batch_id, at = ended[-1]
        return dg.SensorResult(
            asset_events=events, cursor=f"{at.isoformat()}|{batch_id}", skip_reason=_told(len(ended), len(events))
        )

    return build_sensor(
        "report_batches_sensor",
        registry,
        decide,
        minimum_interval_seconds=minimum_interval_seconds,
        default_status=default_status,
        description="Shows batches that were worked outside Dagster.",
    )


def _told(batches: int, events: int) -> str:
    return f"{batches} batches ended outside Dagster; {events} events reported"


def _read(cursor: str | None) -> tuple[datetime, int] | None:
    if cursor is None:
        return None
    at, _, batch_id = cursor.partition("|")
    return datetime.fromisoformat(at), int(batch_id)
