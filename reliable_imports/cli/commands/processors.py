"""`processors`: what can be imported."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

import click

from reliable_imports.cli.invocation import Invocation, pass_invocation, processor_options, shared_options
from reliable_imports.cli.output import Column
from reliable_imports.cli.text import optional

if TYPE_CHECKING:
    from reliable_imports.processor.base import BaseProcessor


@click.command(short_help="List the batch types that can be imported.")
@processor_options
@shared_options
@pass_invocation
def processors(invocation: Invocation) -> None:
    """List the processors that were found, by batch type. Needs no database."""
    output = invocation.output
    found = [_document(processor) for processor in invocation.discover()]
    output.document({"processors": found})
    output.table(
        [
            Column("type", is_name=True),
            Column("processor"),
            Column("table", dispensable=2),
            Column("after", dispensable=1),
            Column("source", dispensable=3),
            Column("what"),
        ],
        [
            [
                facts["batch_type"],
                facts["processor"],
                optional(facts["table"]),
                ", ".join(facts["depends_on"]) or "-",
                optional(facts["source"]),
                (facts["description"] or "-").partition("\n")[0],
            ]
            for facts in found
        ],
    )


def _document(processor: type[BaseProcessor]) -> dict[str, Any]:
    # A class without a docstring would show that of its base.
    own = processor.__doc__
    return {
        "batch_type": processor.batch_type,
        "processor": f"{processor.__module__}.{processor.__qualname__}",
        "table": getattr(processor, "table", None),
        "depends_on": list(processor.depends_on),
        "source": processor.source,
        "schedule": processor.schedule,
        "description": None if own is None else inspect.cleandoc(own),
    }
