"""`report`: a page for people without a shell."""

from __future__ import annotations

from pathlib import Path

import click

from reliable_imports.cli.invocation import Invocation, pass_invocation, processor_options, shared_options
from reliable_imports.errors import ConfigurationError
from reliable_imports.settings import Settings


@click.command(short_help="Write a page about a batch, or about all of a type.")
@click.argument("subject", metavar="BATCH|TYPE")
@click.option(
    "-o",
    "--output",
    "file",
    metavar="FILE",
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="The file to write, such as page.html.",
)
@click.option("--no-values", is_flag=True, help="Counts and words alone, and no data of items.")
@processor_options
@shared_options
@pass_invocation
def report(invocation: Invocation, subject: str, file: Path, no_values: bool) -> None:
    """Write one HTML page about BATCH|TYPE: what went in, what did not and why, with values and samples, and what is
    done about it.

    The page needs no network and no scripts. Fields that the processor calls sensitive are masked; without the
    processor the page shows no data of items at all.
    """
    from reliable_imports.report import Showing, report_on_batch, report_on_type, write_report

    settings = Settings.from_environment()
    has_processors = bool(invocation.packages or settings.processors)
    manager = invocation.manager_with_processors() if has_processors else invocation.manager()
    is_batch = subject.isascii() and subject.isdecimal() and 0 < int(subject) < 2**63
    batch_type = manager.get_summary(int(subject)).batch_type if is_batch else subject
    processor = manager.registry.get(batch_type) if batch_type in manager.registry else None
    showing = Showing(values=False) if no_values else Showing.of(processor)
    page = report_on_batch(manager, int(subject), showing) if is_batch else report_on_type(manager, batch_type, showing)
    try:
        write_report(file, page, webserver=settings.webserver)
    except OSError as error:
        raise ConfigurationError(f"{file} cannot be written: {error.strerror or error}") from error
    output = invocation.output
    output.document({"file": str(file), "batch_type": batch_type, "shows_values": page.shows_values})
    output.say(f"{file} is written")
    if processor is None and not no_values:
        output.say(f"without data of items, for no processor of {batch_type} is known here to say what is sensitive")
