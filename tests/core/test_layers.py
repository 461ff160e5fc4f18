"""Imports run one way: from the edges to the words, and into the product through its public names alone."""

from __future__ import annotations

import ast
import importlib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

LAYERS = (
    ("cli", "testing"),
    ("report", "scaffold", "preflight"),
    ("manager",),
    ("orchestration",),
    ("settings",),
    ("engine.run", "engine.trying"),
    ("engine.begin", "engine.end", "engine.progress"),
    ("batches",),
    ("engine.recovery",),
    ("engine.work",),
    ("engine.isolation", "engine.process"),
    ("processor",),
    ("writes", "sources", "embedded"),
    ("postgres",),
    ("items",),
    ("causes", "tried"),
    ("models",),
    ("errors", "statuses", "log", "release"),
)
"""From above to below; what stands together in a layer does not import one another."""

UPWARD: set[tuple[str, str]] = set()
"""Imports that should not be, and are still open."""

PUBLIC = (
    "reliable_imports",
    "reliable_imports.cli",
    "reliable_imports.embedded",
    "reliable_imports.orchestration",
    "reliable_imports.postgres",
    "reliable_imports.report",
    "reliable_imports.scaffold",
    "reliable_imports.settings",
    "reliable_imports.sources",
    "reliable_imports.testing",
    "reliable_imports.writes",
)
"""Modules that other packages may import from, each with the names of its `__all__`."""

OUTSIDE = ("reliable_imports_dagster", "example_repo", "examples", "benchmarks")


def modules_of(folder: Path) -> dict[str, Path]:
    found = {}
    for path in folder.rglob("*.py"):
        parts = path.relative_to(ROOT).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def imports_of(path: Path) -> Iterator[tuple[str, str | None]]:
    """Modules of the core that a file imports, wherever in it and for whatever reason, each with a name from it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "reliable_imports":
            for alias in node.names:
                yield node.module or "", alias.name
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.split(".")[0] == "reliable_imports":
                    yield alias.name, None


MODULES = modules_of(ROOT / "reliable_imports")
ENTRANCES = {"reliable_imports", "reliable_imports.__main__"}
"""They stand above all, and nothing of ours imports them."""


def graph() -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for module, path in MODULES.items():
        named = imports_of(path)
        imported = {f"{source}.{name}" if f"{source}.{name}" in MODULES else source for source, name in named}
        found[module] = imported - {module}
    return found


def layer_of(module: str) -> int:
    name = module.removeprefix("reliable_imports.")
    for number, rooms in enumerate(LAYERS):
        for room in rooms:
            if name == room or name.startswith(f"{room}."):
                return number
    raise AssertionError(f"{module} is in no layer; give it one")


def room_of(module: str) -> str:
    name = module.removeprefix("reliable_imports.")
    return next(room for room in LAYERS[layer_of(module)] if name == room or name.startswith(f"{room}."))


def test_no_import_runs_upward() -> None:
    upward = set()
    for module, imported in graph().items():
        if module in ENTRANCES or module == "reliable_imports.engine":
            continue
        for other in imported:
            below = layer_of(other) > layer_of(module) or room_of(other) == room_of(module)
            if not below:
                upward.add((module.removeprefix("reliable_imports."), other.removeprefix("reliable_imports.")))
    assert upward == UPWARD


def test_no_imports_run_in_a_circle() -> None:
    upward = {f"reliable_imports.{module}": f"reliable_imports.{other}" for module, other in UPWARD}
    remaining = {
        module: {each for each in imported if each != upward.get(module)} for module, imported in graph().items()
    }
    for module in ENTRANCES:
        remaining.pop(module, None)
    while free := [module for module, imported in remaining.items() if not imported & set(remaining)]:
        for module in free:
            del remaining[module]
    assert not remaining, f"these import each other: {sorted(remaining)}"


@pytest.mark.parametrize("package", OUTSIDE)
def test_other_packages_import_public_names_only(package: str) -> None:
    for module, path in modules_of(ROOT / package).items():
        for source, name in imports_of(path):
            assert source in PUBLIC, f"{module} imports from {source}, which is not public"
            if name is not None:
                public = importlib.import_module(source)
                assert name in public.__all__, f"{module} imports {name}, which is not public in {source}"


@pytest.mark.parametrize("module", PUBLIC)
def test_public_modules_have_what_they_name(module: str) -> None:
    public = importlib.import_module(module)
    assert len(set(public.__all__)) == len(public.__all__)
    for name in public.__all__:
        assert hasattr(public, name)


@pytest.mark.parametrize("tree", ["reliable_imports", "reliable_imports_dagster", "tests"])
def test_no_folder_holds_too_many_modules(tree: str) -> None:
    for folder in (ROOT / tree).rglob("*/"):
        if folder.name not in ("__pycache__", "commands"):  # a file for each command, named after it, is found at once
            pattern = "test_*.py" if tree == "tests" else "[!_]*.py"
            assert len(list(folder.glob(pattern))) <= 15, folder
