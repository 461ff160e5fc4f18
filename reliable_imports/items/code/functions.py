"""A function as a tree, for whoever asks for one of its conditions."""

from __future__ import annotations

import ast
from functools import lru_cache
from types import CodeType

from reliable_imports.items.code.expressions import Writer, as_written
from reliable_imports.items.code.scopes import scope_of
from reliable_imports.items.code.source_files import source_of


@lru_cache(maxsize=256)
def function_node(code: CodeType) -> ast.FunctionDef | None:
    """The tree of a function; None where there is no source."""
    source = source_of(code.co_filename)
    for node in ast.walk(source.tree) if source is not None else ():
        if isinstance(node, ast.FunctionDef) and node.name == code.co_name:
            first = min([node.lineno, *[each.lineno for each in node.decorator_list]])
            if code.co_firstlineno in (first, node.lineno):
                return node
    return None


def condition_text(code: CodeType, node: ast.expr) -> tuple[str, str, str | None] | None:
    """A condition of a function: normalized, as it is written, and the field that it looks at."""
    source = source_of(code.co_filename)
    if source is None or node not in source.parents:
        return None
    writer = Writer(scope_of(source, node))
    return writer.text(node), as_written(node), writer.field
