"""Lists of modules name what is there, and nothing else."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import reliable_imports

_ROOT = Path(reliable_imports.__file__).parent
_MAPS = (
    "engine",
    "engine/work",
    "engine/isolation",
    "engine/recovery",
    "engine/process",
    "batches",
    "batches/corrections",
    "batches/erasing",
    "batches/repeats",
    "items",
    "items/code",
    "postgres",
    "processor",
    "scaffold/layouts",
    "sources",
    "testing",
    "preflight",
    "scaffold",
    "writes",
)


@pytest.mark.parametrize("folder", _MAPS)
def test_the_map_of_a_folder_names_what_is_in_it(folder: str) -> None:
    package = _ROOT / folder
    named = re.findall(r"^(\w+/?) {2,}\w", (package / "__init__.py").read_text(), re.MULTILINE)
    modules = [path.stem for path in package.glob("*.py") if path.stem != "__init__"]
    folders = [f"{path.parent.name}/" for path in package.glob("*/__init__.py")]
    assert sorted(named) == sorted(modules + folders)


def _rows(page: str, heading: str) -> list[tuple[str, str]]:
    text = (_ROOT.parent / page).read_text().split(heading)[1].split("\n\n")[0]
    return re.findall(r"^\| (?!-)(.+?) \| (.+?) \|$", text, re.MULTILINE)


def test_the_folders_of_the_readme_are_there() -> None:
    for folders, _ in _rows("README.md", "| folder | holds |\n"):
        parent = Path()
        for folder in re.findall(r"`(.+?)`", folders):
            # `sources` after `reliable_imports/postgres` is beside it.
            found = [path for path in (Path(folder), parent / folder) if (_ROOT.parent / path).is_dir()]
            assert found, folder
            parent = found[0].parent


def test_where_to_go_for_a_change_there_is_something() -> None:
    for _, places in _rows("CONTRIBUTING.md", "| to change | go to |\n"):
        for place in re.findall(r"`(.+?)`", places):
            assert place in ("fault_of", "reliable_imports_dagster") or (_ROOT / place).exists(), place


def test_the_readme_names_every_folder_of_the_core() -> None:
    named = " ".join(folders for folders, _ in _rows("README.md", "| folder | holds |\n"))
    for package in _ROOT.glob("*/__init__.py"):
        assert re.search(rf"\b{package.parent.name}`", named), package.parent.name
