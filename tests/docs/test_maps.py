"""Lists of modules name what is there, and nothing else."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import reliable_imports

_ROOT = Path(reliable_imports.__file__).parent
_MAPS = ("engine", "engine/work", "engine/isolation", "engine/recovery", "engine/process")


@pytest.mark.parametrize("folder", _MAPS)
def test_the_map_of_a_folder_names_what_is_in_it(folder: str) -> None:
    package = _ROOT / folder
    named = re.findall(r"^(\w+/?) {2,}\w", (package / "__init__.py").read_text(), re.MULTILINE)
    modules = [path.stem for path in package.glob("*.py") if path.stem != "__init__"]
    folders = [f"{path.parent.name}/" for path in package.glob("*/__init__.py")]
    assert sorted(named) == sorted(modules + folders)
