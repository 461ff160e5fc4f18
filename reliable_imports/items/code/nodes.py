"""From an instruction of the code that runs to the expression that it was compiled from."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from itertools import islice
from types import CodeType
from typing import Any

from reliable_imports.items.code.source_files import Source, begins, ends


def node_at(source: Source, code: CodeType, instruction: int, line: int) -> ast.AST | None:
    position = _position(code, instruction)
    if position is None:
        return _node_on(source, line)
    start, end = position
    node: ast.AST = source.tree
    found: ast.AST | None = None
    while True:
        inner = next((each for each in _placed(node) if begins(each) <= start and end <= ends(each)), None)
        if inner is None:
            return found
        node = inner
        if isinstance(node, ast.expr | ast.stmt):
            found = node


def _node_on(source: Source, line: int) -> ast.AST | None:
    """Where only the line is known: the innermost statement, or the largest expression of it that the line holds."""
    holding = [
        each
        for each in ast.walk(source.tree)
        if isinstance(each, ast.stmt) and begins(each)[0] <= line <= ends(each)[0]
    ]
    if not holding:
        return None
    statement = max(holding, key=lambda each: (each.lineno, -ends(each)[0]))
    if statement.lineno != line:
        for each in ast.walk(statement):
            if isinstance(each, ast.expr) and each.lineno == line == each.end_lineno:
                return each
    return statement


def _position(code: CodeType, instruction: int) -> tuple[tuple[int, int], tuple[int, int]] | None:
    """Where an expression begins and ends; None before Python 3.11, or where it was told not to keep that."""
    positions = getattr(code, "co_positions", None)
    if positions is None:
        return None
    first, last, begin, end = next(islice(positions(), instruction // 2, None))
    return None if None in (first, last, begin, end) else ((first, begin), (last, end))


def _placed(node: ast.AST) -> Iterator[Any]:
    """The children of a node that have a position, those of children without one included."""
    for child in ast.iter_child_nodes(node):
        if hasattr(child, "lineno"):
            yield child
        else:
            yield from _placed(child)
