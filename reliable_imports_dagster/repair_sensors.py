"""Sensors that reprocess failures which another try would not cure, once what was wrong has changed."""

import json
from collections.abc import Callable, Container, Sequence
from datetime import datetime, timedelta, timezone
from typing import Any

import dagster as dg

from reliable_imports import BatchManager, FailuresPage, MissingReferences, PermanentFailures
from reliable_imports_dagster import tags
from reliable_imports_dagster.discovery import Packages, discover
from reliable_imports_dagster.names import REPROCESS
from reliable_imports_dagster.sensor_frame import Decision, build_sensor
from reliable_imports_dagster.sensors import MAX_IDLE_RUNS, past_of
from reliable_imports_dagster.translator import DagsterReliableImportsTranslator, asset_specs, code_version

_MAX_LINES = 100
_MAX_ASKED = 50
"""Lines whose runs Dagster is asked for in a tick."""


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

    def decide(context: dg.SensorEvaluationContext, manager: BatchManager) -> Decision:
        seen: dict[str, int] = json.loads(context.cursor) if context.cursor else {}
        requests: list[dg.RunRequest] = []
        looked_at: list[str] = []
        for parent in sorted(children):
            latest = context.instance.fetch_materializations(specs[parent].key, limit=1).records
            if not latest or latest[0].storage_id <= seen.get(parent, -1):
                continue
            looked_at.append(parent)
            at = datetime.fromtimestamp(latest[0].timestamp, timezone.utc)
            is_done = True
            for child in children[parent]:
                table = getattr(registry.get(parent), "table", None)
                lines = manager.missing_references(child, table=table, before=at, limit=_MAX_LINES)
                requests += _repairs(lines, child, latest[0].storage_id)
                is_done = is_done and len(lines) < _MAX_LINES
            if is_done:  # else the next tick finds the lines after these, which have been run again by then
                seen[parent] = latest[0].storage_id
        if not requests:
            return dg.SensorResult(
                skip_reason=f"nothing failed for want of {', '.join(looked_at)}"
                if looked_at
                else f"none of {', '.join(sorted(children)) or 'the assets'} has been materialized since the last tick",
                cursor=json.dumps(seen),
            )
        return dg.SensorResult(run_requests=requests, cursor=json.dumps(seen))

    return build_sensor(
        "reprocess_missing_references_sensor",
        registry,
        decide,
        job_name=REPROCESS,
        minimum_interval_seconds=minimum_interval_seconds,
        default_status=default_status,
        description="Runs items again that failed for want of what has been imported since.",
    )


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

    wanted = [name for name, version in versions.items() if version and name not in exclude_batch_types]

    def decide(context: dg.SensorEvaluationContext, manager: BatchManager) -> Decision:
        page = _next_page(context, manager, wanted, exclude_reasons=exclude_reasons)
        failed_with = _code_versions(context.instance, page.lines)

        def key(line: PermanentFailures) -> str | None:
            now = versions[line.batch_type]
            if failed_with.get(line.dagster_run_id, now) == now:
                return None
            return f"code:{line.first_batch_id}:{line.batch_id}:{now}"

        return _look_through(
            context,
            manager,
            page,
            key,
            exclude_reasons,
            max_runs_per_tick,
            nothing=f"of {len(page.lines)} lines with failures, none failed with other code than there is now",
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
        return _look_through(
            context,
            manager,
            _next_page(
                context, manager, wanted, exclude_reasons=exclude_reasons, max_attempts=max_attempts, backoff=backoff
            ),
            # The newest batch with a failure is another after every try.
            lambda line: f"all:{line.first_batch_id}:{line.batch_id}",
            exclude_reasons,
            max_runs_per_tick,
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


def reprocess_request(run_key: str, first_batch_id: int, batch_type: str, **config: Any) -> dg.RunRequest:
    """A run of `reprocess_failed_items` for one line."""
    return dg.RunRequest(
        run_key=run_key,
        run_config={"ops": {REPROCESS: {"config": {"batch_id": first_batch_id, **config}}}},
        tags={tags.LINE: str(first_batch_id), tags.BATCH_TYPE: batch_type},
    )


def _next_page(
    context: dg.SensorEvaluationContext, manager: BatchManager, batch_types: Sequence[str], **wanted: Any
) -> FailuresPage:
    """The lines after the one that the cursor names: the last that the tick before has looked at. After the last of
    all, the first ones again; so every tick does a bounded piece of work, and every line has its turn."""
    after = int(context.cursor or 0)
    page = manager.permanent_failures(batch_types, after=after, **wanted)
    return page if page.last is not None or not after else manager.permanent_failures(batch_types, **wanted)


def _look_through(
    context: dg.SensorEvaluationContext,
    manager: BatchManager,
    page: FailuresPage,
    key: Callable[[PermanentFailures], str | None],
    exclude_reasons: Sequence[str],
    max_runs: int,
    *,
    nothing: str,
) -> dg.SensorResult:
    """Runs for those lines of the page that have a *key*, until there are enough of them for a tick."""
    requests: list[dg.RunRequest] = []
    found, last = 0, page.last
    for line in page.lines:
        run_key = key(line)
        if run_key is None:
            continue
        if len(requests) == max_runs or found == _MAX_ASKED:
            last = line.first_batch_id - 1  # this one is the next tick's first
            break
        found += 1
        requests += _request_if_free(context, manager, line, run_key, exclude_reasons)
    busy = f"{found} lines are being worked, or their last runs came to no item"
    return dg.SensorResult(
        run_requests=requests,
        skip_reason=None if requests else busy if found else nothing,
        cursor=str(last or 0),
    )


def _code_versions(instance: dg.DagsterInstance, lines: Sequence[PermanentFailures]) -> dict[str | None, str]:
    """The code versions in the tags of the Dagster runs that worked these lines last."""
    run_ids = [line.dagster_run_id for line in lines if line.dagster_run_id is not None]
    runs = instance.get_runs(dg.RunsFilter(run_ids=run_ids)) if run_ids else []
    return {run.run_id: run.tags[tags.CODE_VERSION] for run in runs if run.tags.get(tags.CODE_VERSION)}


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


def _repairs(lines: Sequence[MissingReferences], batch_type: str, storage_id: int) -> list[dg.RunRequest]:
    """A run for each line and reason; the key makes it one for a materialization."""
    return [
        reprocess_request(
            f"reference:{storage_id}:{line.first_batch_id}:{reason}", line.first_batch_id, batch_type, reason=reason
        )
        for line in lines
        for reason in line.reasons
    ]
