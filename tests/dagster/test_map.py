"""The listing of the package is its map: it names all that is there, in an order in which no import runs upward."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import reliable_imports_dagster

_ROOT = Path(reliable_imports_dagster.__file__).parent
_FOLDERS = ("", "dev", "components", "sensors", "build", "run", "run/report")
_MOST = 14


def _named(package: Path) -> list[str]:
    return re.findall(r"^(\w+/?) {2,}\w", (package / "__init__.py").read_text(), re.MULTILINE)


def _modules(package: Path) -> list[str]:
    return [path.stem for path in package.glob("*.py") if path.stem != "__init__"]


def _imported(module: Path) -> set[tuple[str, ...]]:
    """What a module imports of the package, by paths within it; also within functions."""
    found = set()
    for node in ast.walk(ast.parse(module.read_text())):
        names = []
        if isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        found |= {tuple(name.split(".")[1:]) for name in names if name.split(".")[0] == _ROOT.name}
    return found


def test_all_folders_are_looked_at() -> None:
    assert sorted(_FOLDERS[1:]) == sorted(
        str(path.parent.relative_to(_ROOT)) for path in _ROOT.glob("*/**/__init__.py")
    )


@pytest.mark.parametrize("folder", _FOLDERS)
def test_the_map_of_a_folder_names_what_is_in_it(folder: str) -> None:
    package = _ROOT / folder
    folders = [f"{path.parent.name}/" for path in package.glob("*/__init__.py")]

    assert sorted(_named(package)) == sorted(_modules(package) + folders)
    assert len(_modules(package)) <= _MOST


@pytest.mark.parametrize("folder", _FOLDERS)
def test_no_import_runs_upward(folder: str) -> None:
    package = _ROOT / folder
    order = [name.rstrip("/") for name in _named(package)]
    within = Path(folder).parts
    upward = [
        f"{path.relative_to(_ROOT)} imports {'.'.join(imported)}"
        for height, name in enumerate(order)
        for path in [package / f"{name}.py", *(package / name).glob("**/*.py")]
        if path.exists()
        for imported in _imported(path)
        if imported[: len(within)] == within and imported[len(within)] in order[:height]
    ]

    assert upward == []
