"""`create`, `process` and `import`: from a file to a worked batch."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import click

from reliable_imports.cli.invocation import (
    Invocation,
    batch_number,
    pass_invocation,
    processor_options,
    requester,
    shared_options,
)
from reliable_imports.cli.output import Output, as_json_value
from reliable_imports.cli.problems import Interrupted
from reliable_imports.cli.progress import processing, reading
from reliable_imports.cli.report import tell_outcome
from reliable_imports.cli.text import count
from reliable_imports.errors import ConfigurationError
from reliable_imports.manager import BatchManager
from reliable_imports.models import BatchSummary, Delivery
from reliable_imports.sources import Source, open_source

_STANDARD_INPUT = "-"

_key_option = click.option(
    "--key",
    metavar="NAME",
    help="Name this delivery: a second one of the same type and name makes no second batch.",
)

_again_option = click.option(
    "--again", is_flag=True, help="Store the file also if an earlier batch of the type has the same content."
)

_param_option = click.option(
    "--param",
    "params",
    metavar="NAME=VALUE",
    multiple=True,
    callback=lambda context, option, values: params_of(values),
    help="A value for the processor's Params; may be repeated. A.B=VALUE is a field within a field; a list is JSON.",
)
_partition_option = click.option(
    "--partition", metavar="NAME", help="The part of the data that the batch is for, if the type has partitions."
)


@click.command(short_help="Store a file as a batch, without processing it.")
@click.argument("batch_type", metavar="TYPE")
@click.argument("file", metavar="FILE")
@_key_option
@_again_option
@_param_option
@_partition_option
@processor_options
@shared_options
@pass_invocation
def create(
    invocation: Invocation,
    batch_type: str,
    file: str,
    key: str | None,
    again: bool,
    params: Mapping[str, Any],
    partition: str | None,
) -> None:
    """Store every item of FILE as a batch of TYPE; nothing is processed yet.

    All items are stored or none is. FILE is .csv, .tsv, .jsonl or .json, also with .gz, .bz2, .xz, .zst or .zip, or
    .xlsx or .parquet; - reads JSON lines from standard input. A file that was stored before is refused.
    """
    manager = invocation.manager_with_processors()
    summary, delivery = create_from_file(
        manager, batch_type, file, key, again=again, params=params, partition=partition
    )
    invocation.output.document(
        {**as_json_value(summary), "created": delivery.is_new, "delivery_warnings": list(delivery.warnings)}
    )
    tell_created(invocation.output, summary, delivery)
    for warning in delivery.warnings if delivery.is_new else ():
        invocation.output.say(f"warning: {warning}")
    if summary.open_items:
        invocation.output.commands([(f"reliable-imports process {summary.batch_id}", "process it")])


@click.command(short_help="Process what is pending in a batch.")
@click.argument("batch_id", metavar="BATCH", type=batch_number)
@processor_options
@shared_options
@pass_invocation
def process(invocation: Invocation, batch_id: int) -> None:
    """Process the pending items of BATCH, and end with status 1 if any of its items failed.

    May be repeated, after an interruption too, and run several times at once: each item is done once.
    """
    manager = invocation.manager_with_processors()
    tell_outcome(invocation.output, manager, process_with_progress(manager, batch_id))


@click.command(name="import", short_help="Store a file as a batch and process it.")
@click.argument("file", metavar="[FILE]", required=False)
@click.option("--as", "batch_type", metavar="TYPE", required=True, help="What the file holds: the batch type.")
@_key_option
@_again_option
@_param_option
@_partition_option
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
) -> None:
    """Store every item of FILE as a batch of the type and process it; status 1 if any item failed.

    Without FILE, the processor's own source is imported. FILE is .csv, .tsv, .jsonl or .json, also with .gz, .bz2,
    .xz, .zst or .zip, or .xlsx or .parquet; - reads JSON lines from standard input. A file that was stored before is
    refused.
    """
    manager = invocation.manager_with_processors()
    chosen = file if file is not None else _own_source(manager, batch_type, partition)
    summary, delivery = create_from_file(
        manager, batch_type, chosen, key, again=again, params=params, partition=partition
    )
    tell_created(invocation.output, summary, delivery)
    tell_outcome(invocation.output, manager, process_with_progress(manager, summary.batch_id))


def create_from_file(
    manager: BatchManager,
    batch_type: str,
    file: str,
    key: str | None = None,
    *,
    again: bool = False,
    params: Mapping[str, Any] | None = None,
    partition: str | None = None,
) -> tuple[BatchSummary, Delivery]:
    """Make a batch of a file's items, unless there is one already.

    Raises:
        AlreadyImported: an earlier batch has the same content, and nobody wants it *again*.
    """
    skips = manager.registry.get(batch_type).skip_unchanged
    with _opened(manager, batch_type, file) as source, reading(source):
        # A file's name may hold bytes that are no text; the database keeps it readable.
        name = (
            "standard input"
            if file == _STANDARD_INPUT
            else os.fsencode(source.name).decode("utf-8", "backslashreplace")
        )
        delivery = manager.deliver(
            batch_type,
            source,
            source=name,
            idempotency_key=key,
            requested_by=requester(),
            params=params,
            partition=partition,
            same_content="warn" if again else "skip" if skips else "refuse",
        )
    return manager.get_summary(delivery.batch_id), delivery


def tell_created(output: Output, summary: BatchSummary, delivery: Delivery) -> None:
    if delivery.is_new:
        items = count(summary.total_items, "item")
        output.say(f"batch {summary.batch_id} created: {items} of {summary.batch_type} from {summary.source}")
    else:
        output.say(f"nothing stored: this delivery is batch {summary.batch_id} already, from {summary.source}")
        for warning in delivery.warnings:
            output.say(f"warning: {warning}")


def process_with_progress(manager: BatchManager, batch_id: int) -> BatchSummary:
    """Work a batch; Ctrl-C tells how to go on.

    Raises:
        Interrupted: by Ctrl-C; the batch can be resumed.
    """
    before = manager.get_summary(batch_id)
    try:
        with processing(before) as on_progress:
            return manager.process_batch(batch_id, on_progress=on_progress)
    except KeyboardInterrupt:
        raise Interrupted(batch_id) from None


def params_of(values: Iterable[str]) -> dict[str, Any]:
    """`since=2024-01-31` and `limits.low=2` as mappings; the model reads the text of a value as its type says."""
    params: dict[str, Any] = {}
    for value in values:
        name, equals, text = value.partition("=")
        *outer, last = name.split(".")
        place = params
        for part in outer:
            place = place.setdefault(part, {})
            if not isinstance(place, dict):
                raise click.BadParameter(f"{part!r} in {name!r} has a value of its own already")
        if not equals or not last or last in place:
            raise click.BadParameter(f"{name!r} is not NAME=VALUE, or is given twice")
        place[last] = _json_or_text(text)
    return params


def _json_or_text(text: str) -> Any:
    if text[:1] in ("[", "{"):
        with suppress(ValueError):
            return json.loads(text)
    return text


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


@contextmanager
def _opened(manager: BatchManager, batch_type: str, file: str) -> Iterator[Source]:
    if file != _STANDARD_INPUT:
        yield manager.open_source(batch_type, file)
        return
    options = manager.registry.get(batch_type).source_options
    # Kept in a file first: an import that waits for its input would hold a transaction open meanwhile.
    with tempfile.TemporaryDirectory(prefix="reliable-imports-") as folder:
        spooled = Path(folder, "standard-input.jsonl")
        with spooled.open("wb") as target:
            shutil.copyfileobj(sys.stdin.buffer, target)
        yield open_source(spooled, dataclasses.replace(options, format="jsonl"))
