"""Lists of modules name what is there, and nothing else."""

from __future__ import annotations

import re
from pathlib import Path

from reliable_imports import engine


def test_the_map_of_the_engine_names_its_modules() -> None:
    named = re.findall(r"^(\w+) {2,}\w", engine.__doc__ or "", re.MULTILINE)
    there = [path.stem for path in Path(engine.__file__).parent.glob("*.py") if path.stem != "__init__"]
    assert sorted(named) == sorted(there)
