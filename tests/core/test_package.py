"""What importing the core costs, and that its map is what it says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import reliable_imports

ROOT = Path(__file__).parents[2]


def test_the_core_loads_little_besides_the_standard_library() -> None:
    code = "import reliable_imports, sys; print(*sorted({name.split('.')[0] for name in sys.modules}))"
    loaded = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    foreign = {name for name in loaded.split() if not name.startswith("_")} - set(sys.stdlib_module_names)
    # Site packages may load themselves at start (`.pth` files); whoever does that is no business of ours.
    bare = subprocess.run(
        [sys.executable, "-c", "import sys; print(*{name.split('.')[0] for name in sys.modules})"],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    # msgspec loads typing_extensions where it is installed.
    loaded_by_us = foreign - set(bare.split()) - {"typing_extensions"}
    assert loaded_by_us == {"msgspec", "psycopg2", "reliable_imports"}


def test_everything_public_is_there() -> None:
    assert sorted(reliable_imports.__all__) == reliable_imports.__all__
    for name in reliable_imports.__all__:
        assert hasattr(reliable_imports, name)


def test_no_sql_stands_in_python() -> None:
    """SQL lives in .sql files; Python keeps only session and savepoint commands and what is built from identifiers."""
    for path in (ROOT / "reliable_imports").rglob("*.py"):
        text = path.read_text()
        for statement in ("FROM reliable_imports.", "INTO reliable_imports.", "UPDATE reliable_imports."):
            assert statement not in text, f"{path.name} holds SQL"
