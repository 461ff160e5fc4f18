"""What a release of the package wants to find in a database: tables by migrations, and functions and views."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

from reliable_imports.release import __version__

_NEEDS = re.compile(r"^-- needs release (\S+)$", re.MULTILINE)
_NAMED = re.compile(r"\breliable_imports\.(\w+)")


@dataclass(frozen=True)
class Migration:
    """A change of tables, applied once."""

    number: int
    name: str
    sql: str

    @property
    def needs_release(self) -> str | None:
        """The oldest release that can work with the tables from here on; None if all before it can."""
        found = _NEEDS.search(self.sql)
        return found[1] if found else None


@dataclass(frozen=True)
class Definition:
    """A function or a view, applied whenever its text is another one."""

    name: str
    sql: str
    is_view: bool

    @property
    def checksum(self) -> str:
        return hashlib.sha256(self.sql.encode()).hexdigest()


@dataclass(frozen=True)
class Program:
    release: str
    migrations: tuple[Migration, ...]
    """In order of their numbers."""
    definitions: tuple[Definition, ...]
    """Each after those that it names."""


@cache
def this_program() -> Program:
    return read_program(Path(__file__).parent, __version__)


def read_program(folder: Path, release: str) -> Program:
    """The program whose SQL is in *folder*, in `migrations`, `functions` and `views`."""
    migrations = [Migration(int(name[:4]), name, sql) for name, sql in _scripts(folder / "migrations")]
    definitions = [
        *(Definition(name, sql, is_view=False) for name, sql in _scripts(folder / "functions")),
        *(Definition(name, sql, is_view=True) for name, sql in _scripts(folder / "views")),
    ]
    return Program(release, tuple(migrations), tuple(_in_order(definitions)))


def release_order(release: str) -> tuple[int, ...]:
    """What releases are compared by: the numbers that their names begin with."""
    numbers = re.match(r"\d+(?:\.\d+)*", release)
    return tuple(int(number) for number in re.sub(r"(\.0+)+$", "", numbers[0]).split(".")) if numbers else ()


def _scripts(folder: Path) -> list[tuple[str, str]]:
    return [(file.stem, file.read_text(encoding="utf-8")) for file in sorted(folder.glob("*.sql"))]


def _in_order(definitions: list[Definition]) -> list[Definition]:
    by_name = {definition.name: definition for definition in definitions}
    if len(by_name) != len(definitions):
        raise ValueError("a function and a view have one name")
    named = {
        name: [other for other in _NAMED.findall(definition.sql) if other in by_name and other != name]
        for name, definition in by_name.items()
    }
    return [by_name[name] for name in TopologicalSorter(named).static_order()]
