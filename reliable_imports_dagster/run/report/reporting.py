"""What a run tells of the batch that it was given, and a sensor of one that was worked elsewhere."""

from collections.abc import Sequence
from dataclasses import replace

import dagster as dg

from reliable_imports import BatchManager, BatchSummary, RunRecord
from reliable_imports_dagster.run.accept import PARTITION
from reliable_imports_dagster.run.report.batch_report import STORED, BatchReport
from reliable_imports_dagster.run.report.checks import checks_of
from reliable_imports_dagster.run.report.failures import Failures
from reliable_imports_dagster.run.report.links import runs_links
from reliable_imports_dagster.run.report.metadata import metadata_of, speed_of
from reliable_imports_dagster.run.report.target_table import table_metadata, tables_of
from reliable_imports_dagster.run.report.told_before import ToldBefore, data_version_now, was_left_untold
from reliable_imports_dagster.run.step import (
    asset_graph_of,
    has_no_partitions,
    key_of_partition,
    partitions_of_asset,
    run_id_of,
    run_of,
)


def report(
    context: dg.OpExecutionContext,
    manager: BatchManager,
    summary: BatchSummary,
    asset_key: dg.AssetKey,
    *,
    is_unchanged: bool = False,
    told_before: ToldBefore | None = None,
) -> BatchReport:
    """Ask the database what is to be told of the batch, at the end of a run that was given it.

    Args:
        is_unchanged: the run has found that the source holds what the batch has stored. So the asset is as new as can
            be, which a materialization says, with the version of the data that it has.
    """
    run = run_of(context)
    code = None if run is None else run.job_code_origin
    module = None if code is None else getattr(code.repository_origin.code_pointer, "module", None)
    lineage = manager.list_runs(lineage=summary.first_batch_id)
    run_id = run_id_of(context)
    runs = [run for run in lineage if run.batch_id == summary.batch_id]
    own = [run for run in runs if run.dagster_run_id == run_id]
    # A run that was given a finished batch has done nothing, unless it stands in for one that died before it told.
    did_it = (
        bool(own)
        or is_unchanged
        or was_left_untold(runs, summary.batch_id, told_before or ToldBefore(context, asset_key))
    )
    told = _report(context, manager, summary, asset_key, lineage, own=own, did_it=did_it, module=module)
    if is_unchanged and not own:
        told.metadata["unchanged"] = True
        now = data_version_now(context, asset_key, told.partition)
        told = replace(told, data_version=now or told.data_version)
    return told if run is not None else replace(told, is_of_a_run=False)


def report_elsewhere(
    context: dg.SensorEvaluationContext, manager: BatchManager, summary: BatchSummary, asset_key: dg.AssetKey
) -> BatchReport:
    """The same of a batch that was worked outside Dagster."""
    lineage = manager.list_runs(lineage=summary.first_batch_id)
    return _report(context, manager, summary, asset_key, lineage, own=[], did_it=True, module=None)


def _report(
    context: dg.OpExecutionContext | dg.SensorEvaluationContext,
    manager: BatchManager,
    summary: BatchSummary,
    asset_key: dg.AssetKey,
    lineage: Sequence[RunRecord],
    *,
    own: Sequence[RunRecord],
    did_it: bool,
    module: str | None,
) -> BatchReport:
    """
    Args:
        lineage: the runs of all batches of its lineage, oldest first.
        own: those of this batch by the Dagster run that reports.
        did_it: the batch was worked, and nobody has reported it yet.
        module: the code location's, for commands to paste.
    """
    batch = manager.get_batch(summary.batch_id)
    failures = Failures.of(manager, summary)
    named = batch.metadata.get(PARTITION)
    partition = None
    if isinstance(named, str) and not has_no_partitions(context, asset_key):
        partition = key_of_partition(partitions_of_asset(context, asset_key), named)
    metadata = metadata_of(context, manager, summary, failures, module=module)
    metadata["runs"] = runs_links(batch, lineage)
    if summary.reprocess_of is not None:
        metadata["reprocess_of"] = str(summary.reprocess_of)
    if summary.source is not None:
        metadata["source"] = summary.source
    metadata.update(speed_of(own))
    tables = tables_of(asset_graph_of(context))
    metadata.update(
        table_metadata(manager, summary.batch_type, asset_key=asset_key, partition=partition, tables=tables)
    )
    return BatchReport(
        summary,
        asset_key,
        metadata,
        checks=checks_of(manager, summary, failures, partition),
        partition=partition,
        materializes=did_it and summary.status in STORED,
        data_version=str(summary.batch_id),
    )
