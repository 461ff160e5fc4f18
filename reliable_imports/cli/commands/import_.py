"""`import`: stores a file as a batch and processes it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from reliable_imports.cli.accept import create_from_file, delivery_options, tell_created, try_file
from reliable_imports.cli.invocation import Invocation, pass_invocation, processor_options, shared_options
from reliable_imports.cli.outcome import tell_outcome
from reliable_imports.cli.progress import process_with_progress
from reliable_imports.cli.trying import tell_try, try_options
from reliable_imports.errors import ConfigurationError

if TYPE_CHECKING:
    from reliable_imports.manager import BatchManager


@click.command(name="import", short_help="Store a file as a batch and process it.")
@click.argument("file", metavar="[FILE]", required=False)
@click.option("--as", "batch_type", metavar="TYPE", required=True, help="What the file holds: the batch type.")
@delivery_options
@try_options
@processor_options
@shared_options
@pass_invocation
def import_(
    invocation: Invocation,
    file: str | None,
    batch_type: str,
    key: str | None,
    again: bool,
    params: Mapping[str, Any],
    partition: str | None,
    only_try: bool,
    sample: int | None,
    with_effects: bool,
) -> None:
    """Store every item of FILE as a batch of the type and process it; status 1 if any item failed.

    Without FILE, the processor's own source is imported. FILE is .csv, .tsv, .jsonl or .json, also with .gz, .bz2,
    .xz, .zst or .zip, or .xlsx or .parquet; - reads JSON lines from standard input. A file that was stored before is
    refused.

    With --try the file is worked in the same way and rolled back: no batch is made, and no row is left.
    """
    manager = invocation.manager_for_work()
    chosen = file if file is not None else _own_source(manager, batch_type, partition)
    if only_try:
        report = try_file(
            manager,
            batch_type,
            chosen,
            sample=sample,
            with_effects=with_effects,
            params=params,
            partition=partition,
        )
        tell_try(invocation.output, manager, report, f"from {chosen}")
        return
    summary, delivery = create_from_file(
        manager, batch_type, chosen, key, again=again, params=params, partition=partition
    )
    tell_created(invocation.output, summary, delivery)
    tell_outcome(invocation.output, manager, process_with_progress(manager, summary.batch_id))


def _own_source(manager: BatchManager, batch_type: str, partition: str | None) -> str:
    processor = manager.registry.get(batch_type)
    source = processor.source_for(partition)
    if source is None:
        raise ConfigurationError(
            f"name a file: {processor.__qualname__} has no source of its own "
            f"(`reliable-imports import FILE --as {batch_type}`)"
        )
    if partition is None and "{partition}" in str(source):
        raise ConfigurationError(f"name a --partition: the source of {processor.__qualname__} has one for each")
    return str(source)
