"""What a `raise` says."""

from __future__ import annotations

import ast
import re

from reliable_imports.items.code.expressions import Writer
from reliable_imports.items.code.scopes import MAX_DEPTH, Scope

_PERCENT = re.compile(r"%(?:\(\w+\))?[-+ #0]*(?:\d+|\*)?(?:\.\d+)?[a-zA-Z]")
_BRACES = re.compile(r"\{[^{}]*\}")


def words_of_raise(raised: ast.AST | None, scope: Scope) -> str | None:
    """What a `raise` says: the first text among the arguments of the exception."""
    if isinstance(raised, ast.Name):
        bound = scope.binding(raised)
        raised = bound[0] if bound is not None and bound[1] == "value" else None
    if not isinstance(raised, ast.Call):
        return None
    found = [words_of(each, scope) for each in [*raised.args, *[each.value for each in raised.keywords]]]
    told = [each for each in found if each is not None]
    return next((each for each in told if re.search(r"[^\W\d]", each)), None)


def words_of(node: ast.AST, scope: Scope, depth: int = 0) -> str | None:
    """A text as it is written, with `…` or a field's name in braces for what is put in; None if none is written."""
    if depth > MAX_DEPTH:
        return None
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.JoinedStr(values=values):
            return "".join(words_of(each, scope, depth + 1) or "…" for each in values)
        case ast.FormattedValue(value=value):
            return _put_in(value, scope)
        case ast.BinOp(left=left, op=ast.Mod()):
            pattern = words_of(left, scope, depth + 1)
            return None if pattern is None else _PERCENT.sub("…", pattern).replace("%%", "%")
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            parts = [words_of(left, scope, depth + 1), words_of(right, scope, depth + 1)]
            return None if parts == [None, None] else "".join("…" if each is None else each for each in parts)
        case ast.Call(func=ast.Attribute(value=value, attr="format")):
            pattern = words_of(value, scope, depth + 1)
            return None if pattern is None else _BRACES.sub("…", pattern)
        case ast.Call(func=ast.Name(id="str"), args=[value]):
            return words_of(value, scope, depth + 1)
        case ast.Name():
            bound = scope.binding(node)
            if bound is None:
                return None
            if bound[1] == "parameter":
                return f"{{={node.id}}}"
            return words_of(bound[0], scope, depth + 1) if bound[1] == "value" and bound[0] is not None else None
    return None


def _put_in(node: ast.AST, scope: Scope) -> str:
    """What stands for a value in a text: its field's name, if that is written."""
    writer = Writer(scope)
    writer.text(node)
    return f"{{{writer.field}}}" if writer.field is not None else "…"
