"""Which files are a team's own."""

from __future__ import annotations

import site
import sys
import sysconfig
from functools import lru_cache
from pathlib import Path

_HERE = Path(__file__).parents[2]
_OWN_CODE = (f"{_HERE}/", f"{_HERE.parent / 'reliable_imports_dagster'}/")
_PATHS = sysconfig.get_paths()
_LIBRARIES = tuple(
    f"{folder}/"
    for folder in {
        *(_PATHS[name] for name in ("stdlib", "platstdlib", "purelib", "platlib")),
        *site.getsitepackages(),
        site.getusersitepackages(),
    }
)
_MAX_SOURCES = 4_096


@lru_cache(maxsize=_MAX_SOURCES)
def is_library(filename: str) -> bool:
    """Whether a file is Python's, an installed package's or ours, and not a team's."""
    return (
        filename.startswith(("<", *_LIBRARIES, *_OWN_CODE))
        or "/site-packages/" in filename
        or "/dist-packages/" in filename
    )


class TeamCode:
    """Which files are those of the team that wrote a processor."""

    def __init__(self, processor: type | None = None) -> None:
        self._files: set[str] = set()
        self._folders: tuple[str, ...] = ()
        folders = set()
        for base in processor.__mro__ if processor is not None else ():
            module = sys.modules.get(base.__module__)
            file = getattr(module, "__file__", None)
            if base is object or (file is not None and file.startswith(_OWN_CODE)):
                continue
            self._files.update(
                value.__code__.co_filename for value in vars(base).values() if hasattr(value, "__code__")
            )
            if file is not None:
                self._files.add(file)
                package = sys.modules.get(base.__module__.partition(".")[0])
                if package is not None and getattr(package, "__path__", None) and getattr(package, "__file__", None):
                    folders.add(f"{Path(str(package.__file__)).parent}/")
        self._folders = tuple(folders)
        self.files = tuple(sorted(self._files))

    def has(self, filename: str) -> bool:
        return (
            filename in self._files
            or not is_library(filename)
            or (bool(self._folders) and filename.startswith(self._folders))
        )


@lru_cache(maxsize=256)
def team_code(processor: type) -> TeamCode:
    return TeamCode(processor)
