"""The tables and figures that Dagster shows of a batch."""

from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg

from reliable_imports import BatchManager, BatchSummary, FailureReason, RunRecord
from reliable_imports_dagster.run.report.failed_values import commonest_values, masked_fields
from reliable_imports_dagster.run.report.failures import Failures
from reliable_imports_dagster.run.report.links import ways_to_reprocess
from reliable_imports_dagster.run.report.page import report_page
from reliable_imports_dagster.run.step import resource_of

_MAX_REASONS = 20


def metadata_of(
    context: dg.OpExecutionContext | dg.SensorEvaluationContext,
    manager: BatchManager,
    summary: BatchSummary,
    failures: Failures,
    *,
    module: str | None,
) -> dict[str, Any]:
    """In the order in which the UI shows them: how the batch stands, why, and what to do.

    Args:
        module: the code location's, for commands to paste.
    """
    metadata: dict[str, Any] = {
        "batch_id": str(summary.batch_id),
        "status": summary.status.value,
        "total_items": summary.total_items,
        "completed_items": summary.completed_items,
        "failed_items": summary.failed_items,
        "skipped_items": summary.skipped_items,
        "outstanding_failures": failures.outstanding,
    }
    if summary.pause_reason is not None:
        metadata["pause_reason"] = summary.pause_reason
    if summary.warnings:
        metadata["warnings"] = dg.MetadataValue.md("\n".join(f"- {warning}" for warning in summary.warnings))
    if failures.reasons:
        metadata["reasons"] = _reasons_table(failures.reasons)
        values = _values_of(context, manager, summary, failures.reasons)
        if values:
            metadata["commonest_values"] = _values_table(values)
    if failures.outstanding:
        metadata["reprocess"] = ways_to_reprocess(module, summary)
    if folder := getattr(resource_of(context), "report_folder", None):
        metadata["report"] = report_page(manager, summary, folder)
    return metadata


def speed_of(own: Sequence[RunRecord]) -> dict[str, Any]:
    """Of this run's own work: a batch that was resumed a day later was not that slow."""
    if not own:
        return {}
    items = own[-1].completed + own[-1].failed + own[-1].skipped
    seconds = own[-1].seconds
    speed: dict[str, Any] = {"seconds": round(seconds, 3)}
    if seconds > 0:
        speed["items_per_second"] = round(items / seconds, 1)
    return speed


def _values_of(
    context: dg.OpExecutionContext | dg.SensorEvaluationContext,
    manager: BatchManager,
    summary: BatchSummary,
    reasons: Sequence[FailureReason],
) -> Mapping[str, str]:
    """The commonest values of each reason, in words; nothing unless the resource allows it."""
    if not getattr(resource_of(context), "show_failed_values", False):
        return {}
    masked = masked_fields(manager.registry.get(summary.batch_type))
    listed = [reason.reason for reason in reasons[:_MAX_REASONS]]
    return commonest_values(manager, summary.batch_id, summary.batch_type, listed, masked)


def _reasons_table(reasons: Sequence[FailureReason]) -> dg.TableMetadataValue:
    """No wider than the UI shows, whose column for it is narrow."""
    return dg.MetadataValue.table(
        records=[
            dg.TableRecord(
                {
                    "items": reason.items,
                    "reason": reason.reason,
                    "title": reason.title,
                    "sample": reason.sample_item_number,
                }
            )
            for reason in reasons[:_MAX_REASONS]
        ],
        schema=dg.TableSchema(
            columns=[
                dg.TableColumn("items", "int", description="how many items failed for it"),
                dg.TableColumn("reason", "string", description="its id, which reprocess takes"),
                dg.TableColumn("title", "string", description="what went wrong"),
                dg.TableColumn("sample", "int", description="the number of the first of these items"),
            ]
        ),
    )


def _values_table(values: Mapping[str, str]) -> dg.TableMetadataValue:
    return dg.MetadataValue.table(
        records=[dg.TableRecord({"reason": reason, "values": told}) for reason, told in values.items()],
        schema=dg.TableSchema(
            columns=[
                dg.TableColumn("reason", "string", description="its id"),
                dg.TableColumn("values", "string", description="what most of its items have in the field at fault"),
            ]
        ),
    )
