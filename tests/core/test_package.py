"""What importing the core costs, and that its map is what it says."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import reliable_imports

ROOT = Path(__file__).parents[2]


def loaded_by(statement: str) -> set[str]:
    """The modules that a fresh interpreter has loaded after *statement*, and had not before."""
    code = f"import sys; before = set(sys.modules); {statement}; print(*(set(sys.modules) - before))"
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    return set(run.stdout.split())


def test_the_core_loads_little_besides_the_standard_library() -> None:
    loaded = loaded_by("from reliable_imports import *")
    foreign = {name.split(".")[0] for name in loaded} - set(sys.stdlib_module_names)
    # msgspec loads typing_extensions where it is installed; psycopg2's wheel may bring a module of its own.
    assert {name for name in foreign if not name.startswith("_")} - {"typing_extensions"} == {
        "msgspec",
        "psycopg2",
        "reliable_imports",
    }


def test_what_nobody_has_asked_for_is_not_loaded() -> None:
    loaded = loaded_by("import reliable_imports")
    assert {name for name in loaded if name.startswith("reliable_imports")} == {"reliable_imports"}
    assert not loaded & {"asyncio", "msgspec", "psycopg2"}

    errors = loaded_by("from reliable_imports import BatchStatus, ReliableImportsError")
    assert not errors & {"asyncio", "msgspec", "psycopg2", "reliable_imports.manager"}


@pytest.mark.parametrize(
    "statement",
    [
        "from reliable_imports import BaseProcessor, BatchManager, ImportBatchItem; BatchManager('postgresql://u@h/d')",
        "from reliable_imports_dagster.run import tags",
    ],
)
def test_the_engine_is_loaded_by_whoever_processes_a_batch(statement: str) -> None:
    loaded = loaded_by(statement)
    assert "reliable_imports.manager" in loaded
    assert not {name for name in loaded if name.startswith("reliable_imports.engine")}


def test_the_help_of_the_command_line_needs_no_database_driver() -> None:
    loaded = loaded_by("from reliable_imports.cli.main import run; run(['--help'])")
    assert not {name.split(".")[0] for name in loaded} & {"asyncio", "msgspec", "psycopg2", "pydantic", "rich"}


def test_the_core_needs_what_it_declares_and_no_dagster() -> None:
    """Whoever has not installed an extra can use everything but what asks for it."""
    project = (ROOT / "pyproject.toml").read_text()
    declared = re.findall(r'^  "([\w-]+)', project.split("\ndependencies = [")[1].split("\n]")[0], re.MULTILINE)
    of_extras = {"python_calamine", "pyarrow", "backports"}
    foreign: dict[str, Path] = {}
    for path in (ROOT / "reliable_imports").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.level == 0:
                names = [node.module or ""]
            if path.parent.name != "testing":  # which pytest loads, and Dagster's tests with it
                foreign |= {name.split(".")[0]: path for name in names}
    packages = {name.replace("-", "_").removesuffix("_binary") for name in declared}
    known = packages | of_extras | set(sys.stdlib_module_names) | {"reliable_imports", "tomllib"}
    brought_along = {"pydantic_core", "typing_extensions", "markupsafe"}  # by pydantic, and by jinja2
    assert {name: str(path) for name, path in foreign.items() if name not in known | brought_along} == {}


def test_a_question_of_the_command_line_loads_no_more_than_it_takes_to_ask_the_database() -> None:
    loaded = loaded_by(
        "from reliable_imports.cli.main import run; run(['status', '1', '--dsn', 'postgresql://127.0.0.1:1/nowhere'])"
    )
    assert "reliable_imports.batches.read" in loaded
    assert not loaded & {"asyncio", "fsspec", "importlib.metadata", "msgspec", "pydantic", "rich"}
    rooms = {".".join(name.split(".")[:2]) for name in loaded if name.startswith("reliable_imports.")}
    assert not rooms & {f"reliable_imports.{room}" for room in ("engine", "processor", "report", "sources", "writes")}
    # Each costs time, of Python's too: one more is no fault, and fifty more are a second glance worth.
    assert len(loaded) < 230


def test_an_import_loads_neither_models_of_answers_nor_what_failures_take(database: str, tmp_path: Path) -> None:
    """What a small file waits for is mostly Python's reading of modules."""
    (tmp_path / "people.jsonl").write_text('{"id": 1}')
    (tmp_path / "people.py").write_text(
        "from reliable_imports import BaseProcessor\n\n\n"
        "class PeopleProcessor(BaseProcessor):\n    def process_item(self, item, ctx):\n        pass\n"
    )
    loaded = loaded_by(
        f"import os; os.chdir({str(tmp_path)!r}); from reliable_imports.cli.main import run; "
        f"assert run(['import', 'people.jsonl', '--as', 'people', '--processors', 'people', '--dsn', {database!r}]) < 1"
    )
    assert "reliable_imports.engine.run" in loaded
    assert not loaded & {"asyncio", "ctypes", "fsspec", "importlib.metadata", "pickle", "pydantic", "rich"}
    ours = {name.removeprefix("reliable_imports.") for name in loaded}
    assert not ours & {"batches.corrections", "batches.failures", "causes", "embedded", "report", "tried"}


def test_everything_public_is_there() -> None:
    assert sorted(reliable_imports.__all__) == reliable_imports.__all__
    assert set(reliable_imports.__all__) <= set(dir(reliable_imports))
    for name in reliable_imports.__all__:
        assert hasattr(reliable_imports, name)
    with pytest.raises(AttributeError, match="no attribute 'BatchManger'"):
        reliable_imports.BatchManger  # noqa: B018 - to ask is the test


def test_type_checkers_find_what_python_finds() -> None:
    """The imports for type checkers and the table by which names are found say the same."""
    (block,) = (
        node for node in ast.parse((ROOT / "reliable_imports" / "__init__.py").read_text()).body
        if isinstance(node, ast.If)
    )  # fmt: skip
    typed = {
        alias.name: node.module
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }  # fmt: skip
    found = {name: f"reliable_imports.{module}" for name, module in reliable_imports._HOMES.items()}
    assert typed == found
    assert sorted(found) == reliable_imports.__all__


def test_no_sql_stands_in_python() -> None:
    """SQL lives in .sql files; Python keeps only session and savepoint commands and what is built from identifiers."""
    for path in (ROOT / "reliable_imports").rglob("*.py"):
        text = path.read_text()
        for statement in ("FROM reliable_imports.", "INTO reliable_imports.", "UPDATE reliable_imports."):
            assert statement not in text, f"{path.name} holds SQL"
