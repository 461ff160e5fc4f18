"""`status`: where a batch stands."""

from __future__ import annotations

import click

from reliable_imports.cli.invocation import Invocation, batch_number, pass_invocation, shared_options
from reliable_imports.cli.outcome import items_per_second, what_next
from reliable_imports.cli.output import Column, as_json_value
from reliable_imports.cli.text import count, duration, moment, number, optional


@click.command(short_help="Show where a batch stands.")
@click.argument("which", metavar="[BATCH|TYPE]", required=False)
@click.option("--as", "batch_type", metavar="TYPE", help="Instead of BATCH: the newest batch of this type.")
@shared_options
@pass_invocation
def status(invocation: Invocation, which: str | None, batch_type: str | None) -> None:
    """Show the status and counts of BATCH, who worked on it, and what is outstanding across its lineage.

    BATCH|TYPE is a batch, or a batch type, which stands for its newest batch.

    A batch's lineage is the first batch and all batches that repeat items of it.

    The exit status is 0 even if items failed: the question was answered.
    """
    output = invocation.output
    if (which is None) == (batch_type is None):
        raise click.UsageError("give a BATCH, or a TYPE")
    manager = invocation.manager()
    with manager.connected():
        if which is not None and which.isdecimal():
            batch_id = batch_number(which)
        else:
            batch_id = manager.newest_batch(batch_type or which or "")
        summary = manager.get_summary(batch_id)
        batch = manager.get_batch(batch_id)
        runs = manager.list_runs(batch_id=batch_id)
        outstanding = manager.count_outstanding(batch_id)
    is_worked = any(run.state == "running" for run in runs)
    output.document(
        {
            **as_json_value(summary),
            "is_worked": is_worked,
            "items_per_second": items_per_second(summary),
            "outstanding_failures": outstanding,
            "requested_by": batch.requested_by,
            "note": batch.note,
            "is_held": batch.is_held,
            "corrected_from": batch.corrected_from,
            "idempotency_key": batch.idempotency_key,
            "source_sha256": batch.source_sha256,
            "metadata": batch.metadata,
            "runs": runs,
        }
    )
    repeats = [("repeats", f"batch {summary.reprocess_of}")] if summary.reprocess_of is not None else []
    notes = [("note", batch.note)] if batch.note else []
    output.facts(
        [
            ("batch", str(batch_id)),
            ("type", summary.batch_type),
            ("status", summary.status.value),
            *repeats,
            *([("held", f"it waits until `reliable-imports process {batch_id}`")] if batch.is_held else []),
            *([("corrected", f"from {batch.corrected_from}")] if batch.corrected_from else []),
            *([("paused for", summary.pause_reason)] if summary.pause_reason else []),
            ("source", optional(summary.source)),
            ("requested by", optional(batch.requested_by)),
            *notes,
            ("items", number(summary.total_items)),
            ("completed", number(summary.completed_items)),
            ("failed", number(summary.failed_items)),
            ("skipped", number(summary.skipped_items)),
            ("open", number(summary.open_items)),
            *([("data erased", f"of {count(summary.erased_items, 'item')}")] if summary.erased_items else []),
            ("outstanding", f"{count(outstanding, 'failure')} across its lineage"),
            ("created", moment(summary.created_at)),
            ("started", moment(summary.started_at)),
            ("finished", moment(summary.finished_at)),
            ("took", duration(summary.seconds)),
        ]
    )
    if runs:
        output.say()
        output.table(
            [
                Column("run", is_number=True),
                Column("by", dispensable=1),
                Column("mode", is_name=True, dispensable=3),
                Column("state", is_whole=True),
                Column("completed", is_number=True),
                Column("failed", is_number=True),
                Column("skipped", is_number=True),
                Column("started", is_whole=True, dispensable=2),
                Column("took", is_number=True, dispensable=4),
                Column("error"),
            ],
            [
                [
                    str(run.run_id),
                    run.runner if run.dagster_run_id is None else f"dagster {run.dagster_run_id}",
                    run.mode,
                    run.state,
                    number(run.completed),
                    number(run.failed),
                    number(run.skipped),
                    moment(run.started_at),
                    duration(run.seconds),
                    optional(run.error),
                ]
                for run in runs
            ],
        )
    is_waiting = summary.open_items > 0 and not summary.status.is_final and not is_worked
    if is_waiting:
        output.say()
        verb = "is" if summary.open_items == 1 else "are"
        output.headline(f"nobody works on this batch, and {count(summary.open_items, 'item')} of it {verb} open")
    output.commands(
        [
            *([(f"reliable-imports process {batch_id}", "process what is open")] if is_waiting else []),
            *(what_next(batch_id, outstanding) if summary.failed_items or outstanding else []),
        ]
    )
