"""What every way says of itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version

from benchmarks.measuring import Clock
from benchmarks.rows import Item

_MODULES = (
    "yardstick",
    "hand_written",
    "one_transaction",
    "raw_copy",
    "django_bulk",
    "django_import_export_bulk",
    "dlt_merge",
    "procrastinate_tasks",
    "pgqueuer_jobs",
    "ours",
)


@dataclass(frozen=True, slots=True)
class Way:
    """One way to get items into the target.

    Attributes:
        run: does it in the database of the DSN, and times `process` and, where items are stored first, `create`.
            Raises WrongResult if what the way itself reports as done and failed is wrong.
        isolates: whether a bad item leaves the others alone; if not, only good ones are given.
        tracks: what is known of each item afterwards, in a word or two.
        fraction: which part of the rows it is given; less than 1 for those that would take minutes.
        writes: whether the items reach the target.
        packages: distributions that it needs beside the project's own.
    """

    name: str
    run: Callable[[str, list[Item], Clock], None]
    isolates: bool
    tracks: str
    fraction: float = 1.0
    writes: bool = True
    packages: Sequence[str] = ()
    note: str = ""

    def versions(self) -> dict[str, str] | None:
        """The versions of its packages, or None if one is not installed."""
        try:
            return {package: version(package) for package in self.packages}
        except PackageNotFoundError:
            return None


def all_ways() -> list[Way]:
    """All of them, the yardstick first. Modules import their product only when they run."""
    return [way for name in _MODULES for way in import_module(f"benchmarks.ways.{name}").WAYS]
