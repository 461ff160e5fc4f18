"""Running failed items again: one job for all batch types, and one for each."""

from collections.abc import Iterator
from typing import Any

import dagster as dg
import psycopg2
from typing_extensions import Unpack

from reliable_imports import (
    BatchManager,
    BatchSummary,
    ConfigurationError,
    Corrections,
    DatabaseError,
    ProcessorRegistry,
    WhichItems,
)
from reliable_imports_dagster.discovery import Packages, discover
from reliable_imports_dagster.names import definition_name, reprocess_name
from reliable_imports_dagster.options import JobOptions, OpOptions, job_arguments, op_arguments
from reliable_imports_dagster.resource import ReliableImportsResource
from reliable_imports_dagster.run.accept import PARTITION, Accepted, delivery_key, key_of_run, repeated_runs
from reliable_imports_dagster.run.config import ReprocessConfig
from reliable_imports_dagster.run.correcting import corrected_lineages, read_corrections, request_of, under_way_of
from reliable_imports_dagster.run.importing import raise_failure_of, work_and_report
from reliable_imports_dagster.run.refusal import refusals_explained
from reliable_imports_dagster.run.report.run_failure import FailRunOn
from reliable_imports_dagster.run.step import own_id
from reliable_imports_dagster.run.trying import tell_of_try
from reliable_imports_dagster.translator import DagsterReliableImportsTranslator

_OUT = dg.Out(list[int], description="The ids of the reprocess batches that were worked, perhaps none.")
_OPTIONAL_INT: Any = dg.Optional[int]


def build_reprocess_job(
    packages: Packages,
    *,
    batch_type: str | None = None,
    translator: DagsterReliableImportsTranslator | None = None,
    fail_run_on: FailRunOn = "failed",
    pool: str | None = None,
    executor: dg.ExecutorDefinition | None = dg.in_process_executor,
    **options: Unpack[JobOptions],
) -> dg.JobDefinition:
    """The job `reprocess_failed_items`, or `reprocess_<type>` if a batch type is given, of one op of the same name.

    See `ReprocessConfig` for what to tell it: `ops: {reprocess_failed_items: {config: {batch_id: 42}}}`. Each
    batch that it works is a materialization of the batch type's asset, with its check. Re-execution resumes what was
    left open. Safe to launch twice: an item is taken once. The options are those of `JobOptions`.
    """
    work = _Reprocess(packages, batch_type, translator, fail_run_on)

    @dg.op(
        # Not the name that `build_reprocess_op` gives: a team may have one of those beside this job.
        name=definition_name(f"{reprocess_name(batch_type)}_job"),
        out=_OUT,
        **op_arguments(options),
        pool=pool,
    )
    def reprocess(
        context: dg.OpExecutionContext, config: ReprocessConfig, reliable_imports: ReliableImportsResource
    ) -> Iterator[Any]:
        yield from work(context, config, reliable_imports)

    name = reprocess_name(batch_type)
    of_type, which = ("", "retryable ones") if batch_type is None else (f" of {batch_type}", "ones of its type")

    @dg.job(
        name=name,
        description=f"Runs failed items{of_type} again: those of one batch, or all outstanding {which}.",
        executor_def=executor,
        **job_arguments(options),
    )
    def reprocess_job() -> None:
        reprocess.alias(name)()

    return reprocess_job


def build_reprocess_op(
    packages: Packages,
    *,
    name: str | None = None,
    batch_type: str | None = None,
    translator: DagsterReliableImportsTranslator | None = None,
    fail_run_on: FailRunOn = "failed",
    pool: str | None = None,
    **options: Unpack[OpOptions],
) -> dg.OpDefinition:
    """The op of `build_reprocess_job`, for jobs of a team's own making.

    Its input `batch_id` takes what an op of `build_import_op` puts out, and is the batch whose lineage is reprocessed;
    without it, the config says what is. Its input `after` is for the order of ops.

    Args:
        options: see `OpOptions`.
        name: of its definition, `reprocess_failed_items_op` or `reprocess_<type>_op` by default; two need two names.
    """
    work = _Reprocess(packages, batch_type, translator, fail_run_on)

    @dg.op(
        name=name or definition_name(reprocess_name(batch_type)),
        ins={
            "after": dg.In(dg.Nothing),
            "batch_id": dg.In(_OPTIONAL_INT, default_value=None, description="A batch; its whole lineage counts."),
        },
        out=_OUT,
        **op_arguments(options),
        pool=pool,
    )
    def reprocess(
        context: dg.OpExecutionContext,
        config: ReprocessConfig,
        reliable_imports: ReliableImportsResource,
        batch_id: int | None,
    ) -> Iterator[Any]:
        if batch_id is not None:
            if config.batch_id not in (None, batch_id):
                raise dg.Failure(
                    f"the config names batch {config.batch_id}, and the input batch {batch_id}; give one of them",
                    allow_retries=False,
                )
            config = config.model_copy(update={"batch_id": batch_id})
        yield from work(context, config, reliable_imports)

    return reprocess


class _Reprocess:
    """What both kinds of ops do."""

    def __init__(
        self,
        packages: Packages,
        batch_type: str | None,
        translator: DagsterReliableImportsTranslator | None,
        fail_run_on: FailRunOn,
    ) -> None:
        self._registry = discover(packages)
        self._batch_type = batch_type
        self._fail_run_on = fail_run_on
        translator = translator or DagsterReliableImportsTranslator()
        # Of its own type alone, if it has one: with hundreds of processors, all keys for each would be slow to load.
        reported = self._registry if batch_type is None else [self._registry.get(batch_type)]
        self._keys = {processor.batch_type: translator.get_asset_spec(processor).key for processor in reported}

    def __call__(
        self, context: dg.OpExecutionContext, config: ReprocessConfig, resource: ReliableImportsResource
    ) -> Iterator[Any]:
        manager = resource.manager(self._registry)
        with refusals_explained():
            corrections = read_corrections(context, manager, config, self._batch_type)
            if corrections is not None:
                lineages = corrected_lineages(manager, corrections)
            else:
                lineages = _lineages(context, manager, self._registry, self._batch_type, config)
        if config.only_try and corrections is not None:
            with refusals_explained():
                tried = manager.try_corrections(corrections, with_effects=config.with_effects)
            yield from tell_of_try(context, tried, self._keys[corrections.batch_type], None)
            yield dg.Output([])
            return
        if config.only_try:
            for lineage in lineages:
                yield from self._try(context, manager, lineage, config)
            yield dg.Output([])
            return
        summaries: list[BatchSummary] = []
        broken: list[int] = []
        held: list[int] = []
        for lineage in lineages:
            try:
                with refusals_explained():
                    of_lineage = config if config.batch_id is not None else _with_its_reasons(manager, lineage, config)
                    if of_lineage is None:
                        continue
                    batch_id = _take(context, manager, lineage, self._batch_type, of_lineage, corrections)
                    batches = [] if batch_id is None else [batch_id]
                    if corrections is not None and not config.hold:
                        batches = list(dict.fromkeys([*batches, *under_way_of(manager, corrections, lineage)]))
                for batch_id in batches:
                    if config.hold:
                        context.log.info(f"batch {batch_id} waits: `reliable-imports process {batch_id}` begins it")
                        held.append(batch_id)
                        continue
                    key = self._keys[manager.get_batch(batch_id).batch_type]
                    told = work_and_report(context, manager, Accepted(batch_id), key)
                    yield from told.events()
                    summaries.append(told.summary)
            except (DatabaseError, psycopg2.OperationalError):
                raise
            except Exception:  # such as a processor's set-up: one lineage must not keep the others waiting
                if len(lineages) == 1:
                    raise
                context.log.exception(f"the lineage of batch {lineage} could not be worked")
                broken.append(lineage)
        if not summaries and not broken and not held:
            context.log.info(_nothing_said(self._batch_type, config))
        if config.batch_id is None and self._batch_type is None and corrections is None:
            _tell_of_others(context, manager, self._registry)
        if broken:
            raise dg.Failure(
                f"could not work the lineages of these batches: {', '.join(map(str, broken))}; the log above says why"
            )
        raise_failure_of(summaries, self._fail_run_on, config.fail_run_on)
        yield dg.Output([summary.batch_id for summary in summaries])

    def _try(
        self, context: dg.OpExecutionContext, manager: BatchManager, lineage: int, config: ReprocessConfig
    ) -> Iterator[Any]:
        batch = manager.get_batch(lineage)
        with refusals_explained():
            request = config.request(self._batch_type)
            tried = manager.try_reprocess(lineage, request, sample=config.sample, with_effects=config.with_effects)
        partition = batch.metadata.get(PARTITION)
        yield from tell_of_try(context, tried, self._keys[batch.batch_type], partition)


def _nothing_said(batch_type: str | None, config: ReprocessConfig) -> str:
    if config.corrections is not None:
        return f"no correction of {config.corrections} is left to be made: nothing to do"
    if config.batch_id is not None:
        return f"nothing that was asked for is outstanding in the lineage of batch {config.batch_id}: nothing to do"
    if batch_type is not None:
        return f"no failure of {batch_type} that was asked for is outstanding: nothing to do"
    return "no retryable failure is outstanding"


def _tell_of_others(context: dg.OpExecutionContext, manager: BatchManager, registry: ProcessorRegistry) -> None:
    """Of those that it has left alone, so that nobody takes the run's green for all."""
    waiting = manager.orchestration.count_waiting([processor.batch_type for processor in registry])
    for batch_type, count in waiting.items():
        context.log.warning(
            f"{count:,} failures of {batch_type} wait for a person: launch {reprocess_name(batch_type)}, or name a "
            "batch_id, to run them again"
        )


def _lineages(
    context: dg.OpExecutionContext,
    manager: BatchManager,
    registry: ProcessorRegistry,
    batch_type: str | None,
    config: ReprocessConfig,
) -> list[int]:
    """Batches that stand for their lineages, each lineage once."""
    if config.batch_id is not None:
        found = manager.get_batch(config.batch_id).batch_type
        registry.get(found)
        if batch_type not in (None, found):
            raise ConfigurationError(
                f"batch {config.batch_id} is of type {found!r}, and {reprocess_name(batch_type)} reprocesses "
                f"{batch_type!r}; launch {reprocess_name(found)} or {reprocess_name(None)} for it"
            )
        return [config.batch_id]
    if unknown := manager.orchestration.unknown_reasons(config.chosen_reasons):
        raise ConfigurationError(
            f"no item has ever failed for reason {unknown[0]!r}; `reliable-imports failures BATCH` lists the reasons "
            "of a batch"
        )
    which = config.request(batch_type).which
    if which is WhichItems.ALL:
        raise ConfigurationError("which: all runs completed items again too, and needs a batch_id that says of which")
    if config.from_item is not None or config.to_item is not None:
        raise ConfigurationError("from_item and to_item are numbers of one batch, and need its batch_id")
    orchestration = manager.orchestration
    is_retryable = which in (WhichItems.RETRYABLE, WhichItems.DUE)
    lineages = set(orchestration.failing_lineages(batch_type, retryable_only=is_retryable))
    # What a run that this one repeats has begun is taken already, and so is what a dead run has left behind.
    lineages |= {due.first_batch_id for due in orchestration.lineages_due() if due.stalled_batch_id is not None}
    for run_id in repeated_runs(context)[1:]:
        lineages |= {manager.get_batch(run.batch_id).first_batch_id for run in manager.list_runs(dagster_run_id=run_id)}
    return [
        lineage
        for lineage in sorted(lineages)
        if _is_ours(context, manager.get_batch(lineage).batch_type, registry, batch_type)
    ]


def _is_ours(context: dg.OpExecutionContext, found: str, registry: ProcessorRegistry, batch_type: str | None) -> bool:
    if batch_type is None and found not in registry:
        context.log.warning(f"failures of type {found!r} are left alone: this code location has no processor for it")
        return False
    return batch_type in (None, found)


def _with_its_reasons(manager: BatchManager, lineage: int, config: ReprocessConfig) -> ReprocessConfig | None:
    """The config with those of its reasons that the lineage has; None if it has none of them."""
    if not config.chosen_reasons:
        return config
    first_batch_id = manager.get_batch(lineage).first_batch_id
    own = manager.orchestration.reasons_of_lineage(first_batch_id, config.chosen_reasons)
    return config.model_copy(update={"reasons": own, "reason": None}) if own else None


def _take(
    context: dg.OpExecutionContext,
    manager: BatchManager,
    lineage: int,
    batch_type: str | None,
    config: ReprocessConfig,
    corrections: Corrections | None,
) -> int | None:
    """The reprocess batch to work for one lineage; None if nothing of it is outstanding."""

    def create(key: str) -> int | None:
        key = f"{key}:{lineage}"
        if corrections is not None:
            return manager.create_reprocess_batch(lineage, request_of(corrections, lineage, config, key))
        return manager.create_reprocess_batch(lineage, config.request(batch_type, idempotency_key=key))

    batch_id = create(delivery_key(context))
    if corrections is not None:
        return batch_id
    is_of_failures = config.which_items(batch_type) is not WhichItems.ALL
    if batch_id is None or not is_of_failures or not manager.get_batch(batch_id).status.is_final:
        return batch_id
    # The run that this one repeats has finished its batch; what failed in it is outstanding again.
    return create(key_of_run(context, own_id(context)))
