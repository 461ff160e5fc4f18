"""Ties a Dagster run to the batch that it works, before the first item is touched: by `import_runs`, and by tags."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg

from reliable_imports import Batch, BatchManager, BatchSummary, RunMode
from reliable_imports.orchestration import code_version
from reliable_imports_dagster.names import REPROCESS, import_name
from reliable_imports_dagster.run import tags
from reliable_imports_dagster.run.accept import Accepted
from reliable_imports_dagster.run.step import run_id_of, run_of

_LOG_SECONDS = 10.0


def work_batch(context: dg.OpExecutionContext, manager: BatchManager, accepted: Accepted) -> BatchSummary:
    """Process what is left of the batch, and return how it stands then; the run's tags follow.

    A run that is stopped, or that loses the database, leaves the batch free for the next one.
    """
    batch_id = accepted.batch_id
    batch = manager.get_batch(batch_id)
    if batch.status.is_final:
        return _leave_alone(context, manager, batch, is_unchanged=accepted.is_unchanged)
    mode = tie_run(context, manager, batch)
    if mode is RunMode.RESUME:
        left = manager.get_summary(batch_id).open_items
        context.log.info(f"resuming batch {batch_id}: {left:,} of {batch.total_items:,} {batch.batch_type} are left")
    else:
        context.log.info(f"processing batch {batch_id}: {batch.total_items:,} items of type {batch.batch_type}")
    with interrupted_tagged(context, batch_id):
        summary = manager.process_batch(batch_id, on_progress=_Progress(context), dagster_run_id=run_id_of(context))
    tags.tag_run(context, {tags.OUTCOME: summary.status.value})
    return summary


def _leave_alone(
    context: dg.OpExecutionContext, manager: BatchManager, batch: Batch, *, is_unchanged: bool
) -> BatchSummary:
    """A finished batch. The run does not work it, so neither its tags nor `import_runs` say that it does."""
    if not is_unchanged:
        context.log.warning(
            f"batch {batch.id} is finished already ({batch.status}), so nothing is left to do; {REPROCESS} runs its "
            f"failed items again, and {import_name(batch.batch_type)}, if launched and not re-executed, makes a new one"
        )
    named = tags.forget_copies(context, manager)
    if run_of(context) is not None and not manager.list_runs(dagster_run_id=context.run_id):
        named[tags.OUTCOME] = tags.NOTHING_TO_DO
    if named:
        tags.tag_run(context, named)
    return manager.get_summary(batch.id)


def tie_run(context: dg.OpExecutionContext, manager: BatchManager, batch: Batch) -> RunMode:
    """Tie the run to its batch, and say how it is going to work it."""
    mode = RunMode.REPROCESS if batch.reprocess_of is not None else RunMode.IMPORT
    if manager.list_runs(batch_id=batch.id):
        mode = RunMode.RESUME
    named = {
        **tags.forget_copies(context, manager),
        tags.batch_id_tag(batch.batch_type): str(batch.id),
        tags.BATCH_ID: str(batch.id),
        tags.BATCH_TYPE: batch.batch_type,
        tags.LINEAGE: str(batch.first_batch_id),
        tags.MODE: mode.value,
        tags.CODE_VERSION: code_version(manager.registry.get(batch.batch_type)) or "",
    }
    if tags.OUTCOME in tags.tags_at_start(context):
        named[tags.OUTCOME] = ""  # that of the run which this one repeats; a run that is killed has none
    tags.tag_run(context, named)
    if mode is RunMode.IMPORT:
        for warning in batch.warnings:
            context.log.warning(f"batch {batch.id}: {warning}")
    return mode


@contextmanager
def interrupted_tagged(context: dg.OpExecutionContext, batch_id: int) -> Iterator[None]:
    """Says so, in the run's tags and in its log, if the work does not come to its end."""
    try:
        yield
    except BaseException:  # Dagster stops a run by an exception that is no Exception
        tags.tag_run(context, {tags.OUTCOME: tags.INTERRUPTED})
        context.log.warning(
            f"batch {batch_id} is not finished: re-execute this run, or `reliable-imports process {batch_id}`, to go on"
        )
        raise


class _Progress:
    """Logs how far a batch is, seldom: a line in Dagster's log costs as much as a hundred items."""

    def __init__(self, context: dg.OpExecutionContext) -> None:
        self._log = context.log
        self._done: int | None = None
        self._time = time.monotonic()

    def __call__(self, summary: BatchSummary) -> None:
        done = summary.total_items - summary.open_items
        now = time.monotonic()
        if self._done is None:
            self._done = done
            return
        if now - self._time < _LOG_SECONDS or not summary.open_items:
            return
        rate = (done - self._done) / (now - self._time)
        left = f", about {summary.open_items / rate:,.0f} s left" if rate > 0 else ""
        self._log.info(
            f"batch {summary.batch_id}: {done:,} of {summary.total_items:,} items, {rate:,.0f}/s, "
            f"{summary.failed_items:,} failed{left}"
        )
        self._done, self._time = done, now
