"""Bars on stderr while long work is done, if a person looks at it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

from reliable_imports.cli.problems import Interrupted

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from reliable_imports.manager import BatchManager
    from reliable_imports.models import BatchSummary
    from reliable_imports.sources import Source


def process_with_progress(manager: BatchManager, batch_id: int) -> BatchSummary:
    """Work a batch; Ctrl-C tells how to go on.

    Raises:
        Interrupted: by Ctrl-C; the batch can be resumed.
    """
    try:
        with processing(manager, batch_id) as on_progress:
            return manager.process_batch(batch_id, on_progress=on_progress)
    except KeyboardInterrupt:
        raise Interrupted(batch_id) from None


def reading(source: Source, what: str = "storing items") -> AbstractContextManager[None]:
    """Shows how much of *source* has been read, as long as the block lasts."""
    return _reading(source, what) if sys.stderr.isatty() else nullcontext()


def sampling(source: Source | None) -> AbstractContextManager[object]:
    """Shows how much of a sample has been read, or, without one, that it is looked at."""
    return waiting("looking at the file") if source is None else reading(source, "reading the sample")


def processing(manager: BatchManager, batch_id: int) -> AbstractContextManager[Callable[[BatchSummary], None] | None]:
    """Gives the `on_progress` that shows items, rate and time left; None where nobody looks."""
    return _processing(manager.get_summary(batch_id)) if sys.stderr.isatty() else nullcontext()


def waiting(what: str) -> AbstractContextManager[object]:
    """Shows that something goes on whose length nobody knows."""
    return _console().status(what) if sys.stderr.isatty() else nullcontext()


def purging(items: int) -> AbstractContextManager[Callable[[int], None] | None]:
    """Gives the `on_progress` that shows how many of up to *items* were looked at; None where nobody looks."""
    return _purging(items) if sys.stderr.isatty() else nullcontext()


@contextmanager
def _reading(source: Source, what: str) -> Iterator[None]:
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    class SourceProgress(Progress):
        """Asks the source at every refresh; nobody calls us while the source is read."""

        def get_renderables(self) -> Iterable[Any]:
            for task in self.tasks:
                self.update(task.id, completed=source.bytes_read)
            return super().get_renderables()

    columns = [
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    ]
    with SourceProgress(*columns, console=_console(), transient=True) as progress:
        progress.add_task(what, total=source.total_bytes)
        yield


@contextmanager
def _processing(before: BatchSummary) -> Iterator[Callable[[BatchSummary], None]]:
    from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
    from rich.text import Text

    class RateColumn(ProgressColumn):
        def render(self, task: Task) -> Text:
            rate = task.finished_speed or task.speed
            return Text("" if rate is None else f"{rate:,.0f} items/s", style="progress.data.speed")

    columns = [
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed:,.0f}/{task.total:,.0f} items"),
        TextColumn("{task.fields[failed]}", style="red"),
        RateColumn(),
        TimeRemainingColumn(),
    ]
    with Progress(*columns, console=_console(), transient=True) as progress:
        bar = progress.add_task(
            f"batch {before.batch_id}", total=before.total_items, completed=_done(before), failed=""
        )

        def show(summary: BatchSummary) -> None:
            failed = f"{summary.failed_items:,} failed" if summary.failed_items else ""
            progress.update(bar, completed=_done(summary), failed=failed)

        yield show


@contextmanager
def _purging(items: int) -> Iterator[Callable[[int], None]]:
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = [
        TextColumn("purging"),
        BarColumn(),
        TextColumn("{task.completed:,.0f}/{task.total:,.0f} items"),
        TimeRemainingColumn(),
    ]
    with Progress(*columns, console=_console(), transient=True) as progress:
        bar = progress.add_task("", total=items)
        yield lambda looked_at: progress.advance(bar, looked_at)


def _done(summary: BatchSummary) -> int:
    return summary.total_items - summary.open_items


def _console() -> Any:
    from rich.console import Console

    return Console(stderr=True)
