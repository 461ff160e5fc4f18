"""Why a processor does not want an item: what it says by `ctx.reject`, or which condition `validate_item` found false.

A returned False says nothing. So the conditions of `validate_item` are looked at once more, in the order in which it
came to them, as far as they only read the item: comparisons, `in`, `.get(...)` and the like, never other code.
"""

from __future__ import annotations

import ast
import builtins
from collections.abc import Iterator, Mapping
from functools import lru_cache
from types import FunctionType
from typing import Any, NamedTuple

from reliable_imports.items.code.functions import condition_text, function_node


class Rejected(NamedTuple):
    """What is known of a rejection.

    Attributes:
        words: for people.
        facts: what names its cause.
    """

    words: str
    facts: tuple[str, ...] = ()
    field: str | None = None


class Rejection(BaseException):
    """Ends an item as rejected, in a person's words. No `Exception`, so that `except Exception` lets it pass."""

    def __init__(self, words: str, field: str | None) -> None:
        self.words = words
        self.field = field
        super().__init__(words)

    @property
    def facts(self) -> tuple[str, ...]:
        return ("said", self.words, self.field or "")


_MAX_STEPS = 200
_PURE_CALLS = frozenset(
    {"len", "str", "int", "float", "bool", "isinstance", "abs", "min", "max", "any", "all", "sum", "set", "list"}
)
_PURE_METHODS = frozenset(
    {
        "get", "keys", "values", "items", "strip", "lstrip", "rstrip", "lower", "upper", "casefold", "startswith",
        "endswith", "isdigit", "isalpha", "isalnum", "isnumeric", "isdecimal", "isspace", "isupper", "islower",
        "split", "count", "find", "replace",
    }
)  # fmt: skip
_PURE_NODES = (
    ast.BoolOp, ast.UnaryOp, ast.BinOp, ast.Compare, ast.Constant, ast.Name, ast.Subscript, ast.Attribute, ast.IfExp,
    ast.List, ast.Tuple, ast.Set, ast.Dict, ast.Slice, ast.Call, ast.boolop, ast.unaryop, ast.operator, ast.cmpop,
    ast.expr_context,
)  # fmt: skip


class _Unknown(Exception):
    """What follows depends on code that must not run twice."""


def why_rejected(validate: FunctionType, item: Any) -> Rejected:
    """The condition of *validate* that did not hold for the item; without facts where that cannot be told."""
    found = _condition(validate, item)
    if found is None:
        return Rejected("validate_item rejected the item")
    node, is_true = found
    told = condition_text(validate.__code__, node)
    if told is None:
        return Rejected("validate_item rejected the item")
    text, written, field = told
    return Rejected(
        f"validate_item rejected the item: `{written}` is {'so' if is_true else 'not so'}",
        (f"{'' if is_true else 'not '}{text}",),
        field,
    )


def _condition(validate: FunctionType, item: Any) -> tuple[ast.expr, bool] | None:
    function = function_node(validate.__code__)
    if function is None or len(function.args.args) < 2:
        return None
    values = {function.args.args[1].arg: item}
    names = {**vars(builtins), **validate.__globals__}
    last: list[tuple[ast.expr, bool]] = []
    try:
        _run(function.body, names, values, last, iter(range(_MAX_STEPS)))
    except _Returned as returned:
        if returned.node is None or isinstance(returned.node, ast.Constant):
            return last[-1] if last else None
        try:
            return _first_false(returned.node, names, values)
        except _Unknown:
            return None
    except Exception:  # it cannot be told; the code itself has not failed
        return None
    return last[-1] if last else None


class _Returned(Exception):
    def __init__(self, node: ast.expr | None) -> None:
        self.node = node


def _run(
    body: list[ast.stmt],
    names: Mapping[str, Any],
    values: dict[str, Any],
    last: list[tuple[ast.expr, bool]],
    steps: Iterator[int],
) -> None:
    for statement in body:
        if next(steps, None) is None:
            raise _Unknown
        match statement:
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                values[name] = _evaluate(value, names, values)
            case ast.If(test=test, body=then, orelse=otherwise):
                holds = bool(_evaluate(test, names, values))
                last.append((test, holds))
                _run(then if holds else otherwise, names, values, last, steps)
            case ast.Return(value=node):
                raise _Returned(node)
            case ast.Expr(value=ast.Constant()) | ast.Pass():
                pass
            case _:
                raise _Unknown


def _first_false(node: ast.expr, names: Mapping[str, Any], values: dict[str, Any]) -> tuple[ast.expr, bool]:
    """The part of a false condition that makes it so."""
    match node:
        case ast.BoolOp(op=ast.And(), values=parts):
            for part in parts[:-1]:
                if not _evaluate(part, names, values):
                    return _first_false(part, names, values)
            return _first_false(parts[-1], names, values)
        case ast.UnaryOp(op=ast.Not(), operand=ast.BoolOp(op=ast.Or(), values=parts)):
            for part in parts[:-1]:
                if _evaluate(part, names, values):
                    return part, True
            return parts[-1], True
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            return operand, True
        case ast.Call(func=ast.Name(id="bool"), args=[part]):
            return _first_false(part, names, values)
        case ast.Call(func=ast.Name(id="all"), args=[ast.List(elts=parts) | ast.Tuple(elts=parts)]):
            return _first_false(ast.BoolOp(ast.And(), parts), names, values)
    return node, False


def _evaluate(node: ast.expr, names: Mapping[str, Any], values: dict[str, Any]) -> Any:
    if not _is_pure(node):
        raise _Unknown
    # Plain data and names of the module; neither can run code of the team's.
    return eval(_compiled(node), dict(names), values)


@lru_cache(maxsize=1024)
def _is_pure(node: ast.expr) -> bool:
    for each in ast.walk(node):
        if isinstance(each, ast.keyword) or not isinstance(each, _PURE_NODES):
            return False
        if isinstance(each, ast.Call):
            match each.func:
                case ast.Name(id=name) if name in _PURE_CALLS:
                    pass
                case ast.Attribute(attr=name) if name in _PURE_METHODS:
                    pass
                case _:
                    return False
    return True


@lru_cache(maxsize=1024)
def _compiled(node: ast.expr) -> Any:
    return compile(ast.fix_missing_locations(ast.Expression(node)), "<condition>", "eval")
