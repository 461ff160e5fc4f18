"""Sensors that reprocess failures which another try would not cure, once what was wrong has changed."""

import json
from collections.abc import Container, Sequence
from datetime import datetime, timedelta, timezone
from typing import Any

import dagster as dg

from reliable_imports import BaseProcessor, BatchManager, PermanentFailures
from reliable_imports_dagster import tags
from reliable_imports_dagster.discovery import Packages, discover
from reliable_imports_dagster.names import REPROCESS
from reliable_imports_dagster.resource import ReliableImportsResource
from reliable_imports_dagster.sensors import MAX_IDLE_RUNS, past_of
from reliable_imports_dagster.translator import DagsterReliableImportsTranslator, asset_specs, code_version

_MAX_LINES = 100


def build_missing_references_sensor(
    packages: Packages,
    *,
    translator: DagsterReliableImportsTranslator | None = None,
    default_status: dg.DefaultSensorStatus = dg.DefaultSensorStatus.STOPPED,
    minimum_interval_seconds: int = 30,
) -> dg.SensorDefinition:
    """The sensor `reprocess_missing_references_sensor`: an asset was materialized, so items of those that depend on it
    (`depends_on`), and that failed for a foreign key to it, are run again.

    Where the asset's processor names a `table`, only failures of references to that table. Each materialization starts
    at most one run for each line and reason; what fails again waits for the next one.
    """
    registry = discover(packages)
    specs = asset_specs(registry, translator or DagsterReliableImportsTranslator())
    children: dict[str, list[str]] = {}
    for processor in registry:
        for parent in processor.depends_on:
            if parent in registry:
                children.setdefault(parent, []).append(processor.batch_type)

    @dg.sensor(
        name="reprocess_missing_references_sensor",
        job_name=REPROCESS,
        minimum_interval_seconds=minimum_interval_seconds,
        default_status=default_status,
        description="Runs items again that failed for want of what has been imported since.",
    )
    def reprocess_missing_references_sensor(
        context: dg.SensorEvaluationContext, reliable_imports: ReliableImportsResource
    ) -> dg.SensorResult | dg.SkipReason:
        manager = reliable_imports.manager(registry)
        seen: dict[str, int] = json.loads(context.cursor) if context.cursor else {}
        requests: list[dg.RunRequest] = []
        looked_at: list[str] = []
        for parent in sorted(children):
            latest = context.instance.fetch_materializations(specs[parent].key, limit=1).records
            if not latest or latest[0].storage_id <= seen.get(parent, -1):
                continue
            seen[parent] = latest[0].storage_id
            looked_at.append(parent)
            at = datetime.fromtimestamp(latest[0].timestamp, timezone.utc)
            for child in children[parent]:
                requests += _repairs(manager, registry.get(parent), child, at, latest[0].storage_id)
        if not requests:
            return dg.SensorResult(
                skip_reason=f"nothing failed for want of {', '.join(looked_at)}"
                if looked_at
                else f"none of {', '.join(sorted(children)) or 'the assets'} has been materialized since the last tick",
                cursor=json.dumps(seen),
            )
        return dg.SensorResult(run_requests=requests, cursor=json.dumps(seen))

    return reprocess_missing_references_sensor


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

    Which that was stands in the tags of the Dagster run; batches worked elsewhere are left alone.
    """
    registry = discover(packages)
    versions = {processor.batch_type: code_version(processor) for processor in registry}

    @dg.sensor(
        name="reprocess_changed_code_sensor",
        job_name=REPROCESS,
        minimum_interval_seconds=minimum_interval_seconds,
        default_status=default_status,
        description="Runs failures again with a processor that was changed.",
    )
    def reprocess_changed_code_sensor(
        context: dg.SensorEvaluationContext, reliable_imports: ReliableImportsResource
    ) -> dg.SensorResult | dg.SkipReason:
        wanted = [name for name, version in versions.items() if version and name not in exclude_batch_types]
        manager = reliable_imports.manager(registry)
        lines = manager.permanent_failures(wanted, exclude_reasons=exclude_reasons, limit=_MAX_LINES)
        requests: list[dg.RunRequest] = []
        for line in lines:
            run = context.instance.get_run_by_id(line.dagster_run_id) if line.dagster_run_id else None
            failed_with = run.tags.get(tags.CODE_VERSION) if run else None
            if not failed_with or failed_with == versions[line.batch_type]:
                continue
            key = f"code:{line.first_batch_id}:{line.batch_id}:{versions[line.batch_type]}"
            requests += _request_if_free(context, manager, line, key, exclude_reasons)
        if not requests:
            # The next lines at the next tick, and the first ones again after the last.
            onward = str(lines[-1].first_batch_id) if len(lines) == _MAX_LINES else "0"
            return dg.SensorResult(
                skip_reason=f"{len(lines)} lines have failures, and none failed with other code than there is now",
                cursor=onward,
            )
        return dg.SensorResult(run_requests=requests[:max_runs_per_tick], cursor=context.cursor)

    return reprocess_changed_code_sensor


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

    @dg.sensor(
        name="reprocess_all_failures_sensor",
        job_name=REPROCESS,
        minimum_interval_seconds=minimum_interval_seconds,
        default_status=default_status,
        description="Runs every outstanding failure again, a few times.",
    )
    def reprocess_all_failures_sensor(
        context: dg.SensorEvaluationContext, reliable_imports: ReliableImportsResource
    ) -> dg.SensorResult | dg.SkipReason:
        manager = reliable_imports.manager(registry)
        lines = manager.permanent_failures(
            [processor.batch_type for processor in registry if processor.batch_type not in exclude_batch_types],
            exclude_reasons=exclude_reasons,
            max_attempts=max_attempts,
            backoff=backoff,
            limit=_MAX_LINES,
        )
        if not lines:
            return dg.SkipReason(f"no failure has rested for {backoff} and had fewer than {max_attempts} attempts")
        requests: list[dg.RunRequest] = []
        for line in lines:
            # The newest batch with a failure is another after every try.
            key = f"all:{line.first_batch_id}:{line.batch_id}"
            requests += _request_if_free(context, manager, line, key, exclude_reasons)
        if not requests:
            return dg.SkipReason(f"{len(lines)} lines are being worked, or their last runs came to no item")
        return dg.SensorResult(run_requests=requests[:max_runs_per_tick])

    return reprocess_all_failures_sensor


def reprocess_request(run_key: str, first_batch_id: int, batch_type: str, **config: Any) -> dg.RunRequest:
    """A run of `reprocess_failed_items` for one line."""
    return dg.RunRequest(
        run_key=run_key,
        run_config={"ops": {REPROCESS: {"config": {"batch_id": first_batch_id, **config}}}},
        tags={tags.LINE: str(first_batch_id), tags.BATCH_TYPE: batch_type},
    )


def _request_if_free(
    context: dg.SensorEvaluationContext,
    manager: BatchManager,
    line: PermanentFailures,
    key: str,
    exclude_reasons: Sequence[str],
) -> list[dg.RunRequest]:
    """One run of a line at a time, and none after several that ended before they came to an item."""
    past = past_of(context, manager, line.first_batch_id)
    if past.busy_run_id is not None or past.idle_in_a_row >= MAX_IDLE_RUNS:
        context.log.info(f"batch {line.first_batch_id}: its line is being worked, or its last runs came to no item")
        return []
    return [
        reprocess_request(
            f"{key}:{past.idle_runs}",
            line.first_batch_id,
            line.batch_type,
            exclude_reasons=list(exclude_reasons),
        )
    ]


def _repairs(
    manager: BatchManager, parent: type[BaseProcessor], child: str, at: datetime, storage_id: int
) -> list[dg.RunRequest]:
    table = getattr(parent, "table", None)
    return [
        reprocess_request(
            f"reference:{storage_id}:{line.first_batch_id}:{reason}", line.first_batch_id, child, reason=reason
        )
        for line in manager.missing_references(child, table=table, before=at, limit=_MAX_LINES)
        for reason in line.reasons
    ]
