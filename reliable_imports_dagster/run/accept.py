"""Which batch an import run works: one that exists, one that an earlier try of this run made, or a new one."""

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
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
from reliable_imports.sources import locate, locate_partition, shown
from reliable_imports_dagster.names import import_name
from reliable_imports_dagster.run import tags
from reliable_imports_dagster.run.config import MAX_INLINE_ITEMS, ImportConfig
from reliable_imports_dagster.run.step import own_id, path_of, run_id_of, run_of

PARTITION = "partition"
"""The key of a batch's metadata under which its partition is kept."""

_RETRY_TAG = "dagster/retry_number"


@dataclass(frozen=True, slots=True)
class Accepted:
    """The batch that a run is to work.

    Attributes:
        is_unchanged: it is an earlier one, for the source holds still what that one has stored.
    """

    batch_id: int
    is_unchanged: bool = False


def accept(
    context: dg.OpExecutionContext,
    manager: BatchManager,
    processor: type[BaseProcessor],
    config: ImportConfig,
    partition: str | None = None,
) -> Accepted:
    """The batch to work. A batch that a run makes is named after it, so a run that repeats it finds it.

    Args:
        partition: the batch's; its key as Dagster has it, of which a batch keeps the text.

    Raises:
        ConfigurationError: the config names no source, more than one, too many items, or a batch of another type.
        SourceError: the source cannot be read, and no earlier try has read it.
    """
    _check(path_of(context)[-1], processor, config)
    if config.batch_id is not None:
        return Accepted(_existing(manager, processor, config.batch_id))
    if partition is not None and not config.new_batch and config.idempotency_key is None:
        unfinished = manager.orchestration.find_unfinished_batch(processor.batch_type, partition=str(partition))
        if unfinished is not None:
            return Accepted(unfinished)
    key = _key_of(context, config, partition)
    named = {} if partition is None else {PARTITION: str(partition)}
    delivery: dict[str, Any] = {
        "idempotency_key": key,
        "requested_by": "dagster",
        # Not as an argument: which partitions there are is for Dagster to say, not only for the processor.
        "metadata": {"dagster_run_id": run_id_of(context), **named},
        "params": config.params,
        "same_content": "warn" if config.new_batch else None,
    }
    if config.items is not None:
        return _told(
            context, manager, manager.deliver(processor.batch_type, config.items, source="run config", **delivery), key
        )
    path = source_of(processor, partition) if config.path is None else config.path
    assert path is not None  # _check has seen to it
    source: Iterable[object]
    try:
        source = manager.open_source(processor.batch_type, path)
    except SourceError as error:
        # Gone or changed since an earlier try has stored it: then its items are not asked for.
        source = _refuse(error)
    try:
        accepted = _told(context, manager, manager.deliver(processor.batch_type, source, **delivery), key)
    except SourceUnavailable:
        raise  # it may be read another time
    except SourceError:
        tags.tag_run(context, {tags.OUTCOME: tags.REFUSED})
        raise
    if config.idempotency_key is not None:
        _warn_of_another_source(context, manager, accepted.batch_id, path)
    return accepted


def _told(context: dg.OpExecutionContext, manager: BatchManager, delivery: Delivery, key: str) -> Accepted:
    """The batch; what people should know of the delivery is in the run's log then."""
    if delivery.is_new:  # its warnings are kept with it, and said when it is worked
        return Accepted(delivery.batch_id)
    for warning in delivery.warnings:
        context.log.warning(warning)
    is_unchanged = manager.get_batch(delivery.batch_id).idempotency_key != key
    told = "the source is unchanged since" if is_unchanged else "this delivery is already"
    context.log.info(f"nothing was stored: {told} batch {delivery.batch_id}")
    return Accepted(delivery.batch_id, is_unchanged=is_unchanged)


def _key_of(context: dg.OpExecutionContext, config: ImportConfig, partition: str | None) -> str:
    if config.idempotency_key is not None:
        return config.idempotency_key
    key = key_of_run(context, _retried_runs(context)[-1]) if config.new_batch else delivery_key(context)
    return key if partition is None else f"{key}:{partition}"


def delivery_key(context: dg.OpExecutionContext) -> str:
    """The same for a run and all its re-executions and automatic retries, as long as their config is the same."""
    return key_of_run(context, repeated_runs(context)[-1])


def key_of_run(context: dg.OpExecutionContext, run_id: str) -> str:
    """What this op makes on behalf of a run, under one name that outlives a crash."""
    mapped = context.get_mapping_key()
    return f"dagster:{run_id}:{'/'.join(path_of(context))}{f'[{mapped}]' if mapped else ''}"


def source_of(processor: type[BaseProcessor], partition: str | None) -> Path | str | None:
    """The processor's source, with the partition's name in it, and those of its dimensions."""
    if not isinstance(partition, dg.MultiPartitionKey) or processor.source is None:
        return processor.source_for(partition)
    return locate_partition(processor.source, {PARTITION: str(partition), **partition.keys_by_dimension})


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
