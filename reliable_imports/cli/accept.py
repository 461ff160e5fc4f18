"""From a file to a stored batch, and the options that say how: for `create` and `import`."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from reliable_imports.cli.invocation import requester
from reliable_imports.cli.output import Output
from reliable_imports.cli.progress import reading
from reliable_imports.cli.text import count

if TYPE_CHECKING:
    from reliable_imports.manager import BatchManager
    from reliable_imports.models import BatchSummary, Delivery
    from reliable_imports.sources import Source
    from reliable_imports.tried import TryReport

F = TypeVar("F", bound=Callable[..., Any])

_STANDARD_INPUT = "-"


def delivery_options(command: F) -> F:
    """`--key`, `--again`, `--param` and `--partition`."""
    for option in (
        click.option(
            "--partition",
            metavar="NAME",
            help="The part of the data that the batch is for, if the type has partitions.",
        ),
        click.option(
            "--param",
            "params",
            metavar="NAME=VALUE",
            multiple=True,
            callback=lambda context, option, values: params_of(values),
            help="A value for the processor's Params; may be repeated. A.B=VALUE is a field within a field; a list is "
            "JSON.",
        ),
        click.option(
            "--again", is_flag=True, help="Store the file also if an earlier batch of the type has the same content."
        ),
        click.option(
            "--key",
            metavar="NAME",
            help="Name this delivery: a second one of the same type and name makes no second batch.",
        ),
    ):
        command = option(command)
    return command


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
        with manager.connected():
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


def try_file(
    manager: BatchManager,
    batch_type: str,
    file: str,
    *,
    sample: int | None,
    with_effects: bool,
    params: Mapping[str, Any] | None = None,
    partition: str | None = None,
) -> TryReport:
    """Say what an import of a file would come to; no batch is made."""
    with _opened(manager, batch_type, file) as source, reading(source):
        return manager.try_items(
            batch_type, source, sample=sample, params=params, partition=partition, with_effects=with_effects
        )


def tell_created(output: Output, summary: BatchSummary, delivery: Delivery) -> None:
    if delivery.is_new:
        items = count(summary.total_items, "item")
        output.say(f"batch {summary.batch_id} created: {items} of {summary.batch_type} from {summary.source}")
    else:
        output.say(f"nothing stored: this delivery is batch {summary.batch_id} already, from {summary.source}")
        for warning in delivery.warnings:
            output.say(f"warning: {warning}")


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


@contextmanager
def _opened(manager: BatchManager, batch_type: str, file: str) -> Iterator[Source]:
    if file != _STANDARD_INPUT:
        yield manager.open_source(batch_type, file)
        return
    from reliable_imports.sources import open_source

    options = manager.registry.get(batch_type).source_options
    # Kept in a file first: an import that waits for its input would hold a transaction open meanwhile.
    with tempfile.TemporaryDirectory(prefix="reliable-imports-") as folder:
        spooled = Path(folder, "standard-input.jsonl")
        with spooled.open("wb") as target:
            shutil.copyfileobj(sys.stdin.buffer, target)
        yield open_source(spooled, dataclasses.replace(options, format="jsonl"))
