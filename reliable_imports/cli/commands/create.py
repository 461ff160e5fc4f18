"""`create`: stores a file as a batch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import click

from reliable_imports.cli.accept import create_from_file, delivery_options, tell_created
from reliable_imports.cli.invocation import Invocation, pass_invocation, processor_options, shared_options
from reliable_imports.cli.output import as_json_value


@click.command(short_help="Store a file as a batch, without processing it.")
@click.argument("batch_type", metavar="TYPE")
@click.argument("file", metavar="FILE")
@delivery_options
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
