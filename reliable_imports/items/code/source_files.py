"""The files of a team's code, as they were when it was loaded, and their trees."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

from reliable_imports.items.code.team import team_code

_WORD = re.compile(r"\w+")
_texts: dict[str, bytes] = {}


def remember_sources(processor: type) -> None:
    """Read the files of the team's modules that are loaded now: later they may hold other code than what runs."""
    team = team_code(processor)
    for module in list(sys.modules.values()):
        file = getattr(module, "__file__", None)
        if isinstance(file, str) and file not in _texts and file.endswith(".py") and team.has(file):
            text = _read(file)
            if text is not None:
                _texts[file] = text


def _read(filename: str) -> bytes | None:
    try:
        return Path(filename).read_bytes()
    except (OSError, ValueError):
        return None


class Source:
    """A parsed file."""

    def __init__(self, tree: ast.Module) -> None:
        self.tree = tree
        self.parents: dict[ast.AST, ast.AST] = {}
        self.words: set[str] = set()
        for node in ast.walk(tree):
            for child in ast.iter_child_nodes(node):
                self.parents[child] = node
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                self.words.update(_WORD.findall(node.value))
        self.scopes: dict[ast.AST, Any] = {}
        """What `scopes.scope_of` has found out of each function."""

    def above(self, node: ast.AST) -> Iterator[ast.AST]:
        while (parent := self.parents.get(node)) is not None:
            yield parent
            node = parent


@lru_cache(maxsize=512)
def source_of(filename: str) -> Source | None:
    text = _texts.get(filename) or _read(filename)
    if text is None:
        return None
    try:
        return Source(ast.parse(text))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def written_words(filename: str) -> frozenset[str] | set[str]:
    """The words of all texts that are written in a file; none if it cannot be read."""
    source = source_of(filename)
    return frozenset() if source is None else source.words


def begins(node: Any) -> tuple[int, int]:
    decorators = getattr(node, "decorator_list", None)
    return (decorators[0].lineno, 0) if decorators else (node.lineno, node.col_offset)


def ends(node: Any) -> tuple[int, int]:
    return node.end_lineno, node.end_col_offset
