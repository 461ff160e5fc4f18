"""Which batch an import run works: one that exists, one that an earlier try of this run made, or a new one."""

import os
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import dagster as dg

from reliable_imports import (
    BaseProcessor,
    BatchManager,
    ConfigurationError,
    Delivery,
    SourceError,
    SourceUnavailable,
)
from reliable_imports.sources import locate, shown
from reliable_imports_dagster.names import import_name
from reliable_imports_dagster.run import tags
from reliable_imports_dagster.run.config import MAX_INLINE_ITEMS, ImportConfig
from reliable_imports_dagster.run.step import own_id, path_of, run_id_of, run_of

_RETRY_TAG = "dagster/retry_number"


def accept(
    context: dg.OpExecutionContext, manager: BatchManager, processor: type[BaseProcessor], config: ImportConfig
) -> int:
    """The id of the batch to work. A batch that a run makes is named after it, so a run that repeats it finds it.

    Raises:
        ConfigurationError: the config names no source, more than one, too many items, or a batch of another type.
        SourceError: the source cannot be read, and no earlier try has read it.
    """
    _check(path_of(context)[-1], processor, config)
    if config.batch_id is not None:
        return _existing(manager, processor, config.batch_id)
    partition = _partition(context)
    if partition is not None and not config.new_batch and config.idempotency_key is None:
        unfinished = manager.orchestration.find_unfinished_batch(processor.batch_type, partition=partition)
        if unfinished is not None:
            return unfinished
    delivery: dict[str, Any] = {
        "idempotency_key": _key_of(context, config),
        "requested_by": "dagster",
        "metadata": {"dagster_run_id": run_id_of(context)},
        "params": config.params,
        "partition": partition,
        "same_content": "warn" if config.new_batch else None,
    }
    if config.items is not None:
        return _told(context, manager.deliver(processor.batch_type, config.items, source="run config", **delivery))
    path = config.path or processor.source_for(partition)
    assert path is not None  # _check has seen to it
    source: Iterable[object]
    try:
        source = manager.open_source(processor.batch_type, path)
    except SourceError as error:
        # Gone or changed since an earlier try has stored it: then its items are not asked for.
        source = _refuse(error)
    try:
        batch_id = _told(context, manager.deliver(processor.batch_type, source, **delivery))
    except SourceUnavailable:
        raise  # it may be read another time
    except SourceError:
        tags.tag_run(context, {tags.OUTCOME: tags.REFUSED})
        raise
    if config.idempotency_key is not None:
        _warn_of_another_source(context, manager, batch_id, path)
    return batch_id


def _told(context: dg.OpExecutionContext, delivery: Delivery) -> int:
    """The batch's id; what people should know of the delivery is in the run's log then."""
    if not delivery.is_new:  # those of a new batch are kept with it, and said when it is worked
        for warning in delivery.warnings:
            context.log.warning(warning)
    if not delivery.is_new:
        context.log.info(f"nothing was stored: this delivery is batch {delivery.batch_id} already")
    return delivery.batch_id


def _key_of(context: dg.OpExecutionContext, config: ImportConfig) -> str:
    if config.idempotency_key is not None:
        return config.idempotency_key
    return key_of_run(context, _retried_runs(context)[-1]) if config.new_batch else delivery_key(context)


def delivery_key(context: dg.OpExecutionContext) -> str:
    """The same for a run and all its re-executions and automatic retries, as long as their config is the same."""
    return key_of_run(context, repeated_runs(context)[-1])


def key_of_run(context: dg.OpExecutionContext, run_id: str) -> str:
    """What this op makes on behalf of a run, under one name that outlives a crash."""
    mapped = context.get_mapping_key()
    return f"dagster:{run_id}:{'/'.join(path_of(context))}{f'[{mapped}]' if mapped else ''}"


def repeated_runs(context: dg.OpExecutionContext) -> list[str]:
    """The ids of this run and of those that it repeats with the same config for this op, back to the first."""
    run = run_of(context)
    if run is None:
        return [own_id(context)]
    ids = [run.run_id]
    config = _node_config(run.run_config, path_of(context))
    while run.parent_run_id is not None:
        parent = context.instance.get_run_by_id(run.parent_run_id)
        if parent is None:  # deleted; its id still names what it made
            return [*ids, run.parent_run_id]
        if _node_config(parent.run_config, path_of(context)) != config:
            break
        run = parent
        ids.append(run.run_id)
    return ids


def _retried_runs(context: dg.OpExecutionContext) -> list[str]:
    """The ids of this run and of those that Dagster itself has retried by it, back to the one that a person wanted."""
    run = run_of(context)
    if run is None:
        return [own_id(context)]
    ids = [run.run_id]
    while run.parent_run_id is not None and _RETRY_TAG in run.tags:
        ids.append(run.parent_run_id)
        parent = context.instance.get_run_by_id(run.parent_run_id)
        if parent is None:
            break
        run = parent
    return ids


def _partition(context: dg.OpExecutionContext) -> str | None:
    """The run's partition, each of which has a batch of its own: that can be resumed, and reprocessed, by itself."""
    if context.has_partition_key:
        return context.partition_key
    if not context.has_partition_key_range:
        return None
    # How a backfill names partitions where the asset has a policy for it, also if a run is to have only one.
    wanted = context.partition_key_range
    if wanted.start != wanted.end:
        raise ConfigurationError(
            f"a run was given the partitions from {wanted.start} to {wanted.end}, and imports one; launch a run for "
            "each, as a backfill does unless a BackfillPolicy says otherwise"
        )
    return str(wanted.start)


def _check(op: str, processor: type[BaseProcessor], config: ImportConfig) -> None:
    given = [name for name in ("path", "batch_id", "items") if getattr(config, name) is not None]
    if len(given) > 1:
        raise ConfigurationError(
            f"{op} was given {' and '.join(given)}; a run works one batch: give path, batch_id or items"
        )
    if config.new_batch and config.batch_id is not None:
        raise ConfigurationError(f"{op} was given batch_id and new_batch: true; a batch is one or the other")
    if config.idempotency_key is not None and (config.new_batch or config.batch_id is not None):
        other = "new_batch: true" if config.new_batch else "batch_id"
        raise ConfigurationError(f"{op} was given idempotency_key and {other}; each says which batch to work")
    if not given and processor.source is None:
        raise ConfigurationError(
            f"{op} does not know what to import: {processor.__qualname__} declares no `source`; "
            f"give path, batch_id or items, as in ops: {{{op}: {{config: {{path: FILE}}}}}}"
        )
    if config.items is not None and len(config.items) > MAX_INLINE_ITEMS:
        raise ConfigurationError(
            f"{op} was given {len(config.items):,} items in its run config, and {MAX_INLINE_ITEMS} is the most: "
            "Dagster keeps and loads the config with every run; put the items in a file and give its path, "
            "or create the batch first and give its batch_id"
        )


def _existing(manager: BatchManager, processor: type[BaseProcessor], batch_id: int) -> int:
    found = manager.get_batch(batch_id).batch_type
    if found != processor.batch_type:
        raise ConfigurationError(
            f"batch {batch_id} is of type {found!r}, and {import_name(processor.batch_type)} imports "
            f"{processor.batch_type!r}; launch {import_name(found)} for it"
        )
    return batch_id


def _warn_of_another_source(
    context: dg.OpExecutionContext, manager: BatchManager, batch_id: int, path: str | os.PathLike[str]
) -> None:
    """A key that was copied along with a run's config would make a new file look as if it had been imported."""
    held = manager.get_batch(batch_id).source
    if held not in (None, shown(locate(path))):
        context.log.warning(
            f"{path} was not read: the idempotency_key is that of batch {batch_id}, which holds {held}; to import "
            "the file, launch a run without the key"
        )


def _refuse(error: SourceError) -> Iterator[object]:
    raise error
    yield


def _node_config(run_config: Any, path: Sequence[str]) -> dict[str, Any]:
    """What the run's config says to one op, wherever in nested graphs it is; what is null is as if not said."""
    node: Any = {"ops": run_config.get("ops", {})}
    for name in path:
        node = (node.get("ops") or {}).get(name) or {}
    return {name: value for name, value in (node.get("config") or {}).items() if value is not None}
