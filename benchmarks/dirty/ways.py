"""The programs that are compared, and what one gives up with each."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from benchmarks.dirty.files import FAULTS
from benchmarks.dirty.shapes import FLIGHTS, NARROW, Shape

_BY_HAND = "SELECT line, reason FROM public.rejects"
_BY_DLT = "SELECT line, reason FROM {schema}.rejects"
_OURS = """
SELECT source_line, concat_ws(' ', field, constraint_name, error_message) FROM reliable_imports.failed_items
"""


@dataclass(frozen=True, slots=True)
class DirtyWay:
    """A program that imports a file.

    Attributes:
        command: the arguments of Python, for a database, a file and its shape.
        rejects: a query for the lines of the rejects and what is said of each; None if none is kept.
        takes: faults that it can isolate; it is given files with these alone.
        silent_about: faults of which it does not name the column.
        shapes: files that it is measured with.
        fraction: which part of the rows it is given; less than 1 for those that would take minutes.
        status: its exit status when some rows were bad.
    """

    name: str
    command: Callable[[str, Path, Shape], Sequence[str]]
    rejects: str | None
    takes: Sequence[str] = FAULTS
    silent_about: Collection[str] = ()
    shapes: Collection[str] = ("narrow", "wide", "flights")
    fraction: float = 1.0
    status: int = 0
    packages: Sequence[str] = ()

    def rejects_of(self, shape: Shape) -> str | None:
        return self.rejects and self.rejects.format(schema=shape.table.partition(".")[0])

    def versions(self) -> dict[str, str] | None:
        """The versions of its packages, or None if one is not installed."""
        try:
            return {package: version(package) for package in self.packages}
        except PackageNotFoundError:
            return None


def _program(name: str) -> Callable[[str, Path, Shape], Sequence[str]]:
    return lambda dsn, path, shape: ["-m", f"benchmarks.dirty.programs.{name}", dsn, str(path), shape.name]


def _api(dsn: str, path: Path, shape: Shape) -> Sequence[str]:
    return ["-m", "benchmarks.dirty.programs.ours", dsn, str(path), *_type_and_package(shape)]


def _command_line(dsn: str, path: Path, shape: Shape) -> Sequence[str]:
    batch_type, package = _type_and_package(shape)
    return ["-m", "reliable_imports", "import", str(path), "--as", batch_type, "--processors", package, "--dsn", dsn]


def _own_statement(dsn: str, path: Path, shape: Shape) -> Sequence[str]:
    command = list(_command_line(dsn, path, shape))
    command[command.index("--as") + 1] = "own_statement_orders"
    return command


def _type_and_package(shape: Shape) -> tuple[str, str]:
    if shape is FLIGHTS:
        return "flights", "example_repo.processors"
    return "orders" if shape is NARROW else "wide_orders", "benchmarks.dirty.processors"


_DLT = ("dlt", "psycopg2-binary")
_DJANGO = ("django", "django-import-export", "psycopg")

STAGING = DirtyWay("staging table and one INSERT ... SELECT", _program("staging"), _BY_HAND)
COPY_ON_ERROR = DirtyWay(
    "COPY with ON_ERROR ignore", _program("copy_on_error"), None, takes=("model",), shapes=("narrow", "wide")
)
SAVEPOINTS = DirtyWay("a savepoint a row, psycopg2", _program("savepoints"), _BY_HAND, silent_about=("model",))
DLT = DirtyWay(
    "dlt, its own reader", _program("dlt_plain"), None, takes=(), shapes=("narrow",), packages=("pandas", *_DLT)
)
DLT_REJECTS = DirtyWay("dlt, checked in Python, with rejects", _program("dlt_rejects"), _BY_DLT, packages=_DLT)
DJANGO = DirtyWay(
    "django-import-export, row by row",
    _program("django_rows"),
    _BY_HAND,
    silent_about=("model",),
    shapes=("narrow", "wide"),
    fraction=0.1,
    packages=_DJANGO,
)
API = DirtyWay("ours: declared, from Python", _api, _OURS, shapes=("narrow", "flights"))
COMMAND_LINE = DirtyWay("ours: declared, `import FILE`", _command_line, _OURS, status=1)
OWN_STATEMENT = DirtyWay(
    "ours: own statement with RETURNING, `import FILE`",
    _own_statement,
    _OURS,
    silent_about=("model",),
    shapes=("narrow",),
    status=1,
)
WAYS = (STAGING, COPY_ON_ERROR, SAVEPOINTS, DLT_REJECTS, DJANGO, API, COMMAND_LINE, OWN_STATEMENT)

GIVEN_UP_COLUMNS = (
    "way",
    "a bad row leaves the others alone",
    "what is kept of a bad row",
    "what is said of it",
    "failures again, without the file",
    "killed in the middle",
    "file delivered twice",
    "what must be written for a table",
)
GIVEN_UP = (
    (
        STAGING.name,
        "if its fault was thought of; a fault that was not ends the whole",
        "row and line",
        "the first fault, in one's own words",
        "no",
        "nothing is in; begin again",
        "rewrites all rows, rejects twice",
        "every check again, in SQL",
    ),
    (
        COPY_ON_ERROR.name,
        "only where a value is none of its type; a constraint ends the whole",
        "nothing",
        "a message with line, column and value, to whoever sent COPY",
        "no",
        "nothing is in; begin again",
        "ends at the first key that is there",
        "nothing",
    ),
    (
        SAVEPOINTS.name,
        "yes",
        "row and line",
        "the server's first error; of a value no column",
        "no",
        "nothing is in; begin again",
        "rewrites all rows, rejects twice",
        "columns and upsert; past 64 savepoints in a transaction all other sessions pay",
    ),
    (
        DLT.name,
        "no: one bad row fails the load, and nothing is in",
        "nothing",
        "the server's error for the first of them, in a traceback",
        "no",
        "the load package is taken up again, if its folder is still there",
        "rewrites all rows",
        "types of the columns, the key",
    ),
    (
        DLT_REJECTS.name,
        "if its fault was thought of; a fault that was not fails the load",
        "row and line",
        "all faults of values; else the first, in one's own words",
        "no",
        "the load package is taken up again, if its folder is still there",
        "rewrites all rows, rejects twice",
        "a model, and every constraint again, in Python, with all keys in memory",
    ),
    (
        DJANGO.name,
        "yes, if not in one transaction",
        "row and line, in memory until one keeps them",
        "the first error; of many values no column",
        "no",
        "rows so far are in, rejects so far are lost; begin again",
        "rewrites all rows, rejects twice",
        "a model, a resource, a table of rejects",
    ),
    (
        "ours",
        "yes",
        "the item as it came, its line and offset",
        "stage, constraint or field, message, and one reason for all failures of a cause; all faults of a model",
        "`reprocess`, all or by reason",
        "`process` goes on where it was",
        "refused, or stored as told",
        "a model and the key",
    ),
)
