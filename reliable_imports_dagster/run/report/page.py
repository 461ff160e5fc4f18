"""The page about a batch for people without a shell, linked from its asset where the team has a folder for it."""

from pathlib import Path

import dagster as dg

from reliable_imports import BatchManager, BatchSummary
from reliable_imports.report import Showing, report_on_batch, write_report
from reliable_imports.settings import Settings


def report_page(
    manager: BatchManager, summary: BatchSummary, folder: str
) -> dg.PathMetadataValue | dg.TextMetadataValue:
    """Write `<type>-<batch>.html` into the folder and return a link to it; in words why not, if it cannot be written.

    A page is an extra, and no reason to fail a batch.
    """
    processor = manager.registry.get(summary.batch_type)
    file = Path(folder).expanduser() / f"{summary.batch_type}-{summary.batch_id}.html"
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        page = report_on_batch(manager, summary.batch_id, Showing.of(processor))
        write_report(file, page, webserver=Settings.from_environment().webserver)
    except OSError as error:
        return dg.MetadataValue.text(f"{file} could not be written: {error.strerror or error}")
    return dg.MetadataValue.path(str(file.resolve()))
