"""The conditions and loops that lead to a place, and which of several alike it is."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import Any

from reliable_imports.items.code.expressions import Writer
from reliable_imports.items.code.scopes import FUNCTIONS, Scope, own_nodes
from reliable_imports.items.code.source_files import Source, begins

_LOOPS = (ast.For, ast.AsyncFor, ast.While, ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)


def guards_of(node: ast.AST, source: Source) -> Iterator[tuple[ast.AST, bool]]:
    """The conditions that lead to a node, the outermost first, and whether they are true there."""
    found: list[tuple[ast.AST, bool]] = []
    child = node
    for parent in source.above(node):
        match parent:
            case ast.If(test=test, orelse=orelse) | ast.IfExp(test=test, orelse=orelse):
                is_otherwise = child in orelse if isinstance(orelse, list) else child is orelse
                if not is_otherwise:
                    if child is not test:
                        found.append((test, True))
                elif not (isinstance(child, ast.If) and isinstance(orelse, list) and len(orelse) == 1):
                    found.append((_first_of_chain(parent, source), False))
            case ast.While(test=test):
                found.append((test, True))
            case ast.BoolOp(values=values) if child in values and values.index(child) > 0:
                is_and = isinstance(parent.op, ast.And)
                found.extend((each, is_and) for each in reversed(values[: values.index(child)]))
            case ast.ExceptHandler(type=kind) if kind is not None:
                found.append((kind, True))
            case ast.match_case(pattern=pattern, guard=guard):
                found.append((pattern, True))
                if guard is not None:
                    found.append((guard, True))
            case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.Lambda():
                break
        child = parent
    yield from reversed(found)


def _first_of_chain(node: Any, source: Source) -> ast.AST:
    """The first test of an if ... elif ...: more of them do not change what `else` means to a reader."""
    while True:
        parent = source.parents.get(node)
        if isinstance(node, ast.If) and isinstance(parent, ast.If) and parent.orelse == [node]:
            node = parent
            continue
        test: ast.AST = node.test
        return test


def conditions_in(guards: list[tuple[ast.AST, bool]], writer: Writer) -> str:
    return " & ".join(("" if is_true else "not ") + writer.text(test) for test, is_true in guards)


def ordinal_of_raise(statement: ast.AST, source: Source, scope: Scope) -> str:
    """Tells apart what has the same conditions and the same type in one function."""

    def kind(node: ast.AST) -> tuple[str, str]:
        raised = node.exc if isinstance(node, ast.Raise) else None
        name = ast.dump(raised.func if isinstance(raised, ast.Call) else raised) if raised is not None else ""
        return name, conditions_in(list(guards_of(node, source)), Writer(scope))

    if not isinstance(statement, ast.Raise):
        return ""
    alike = [each for each in own_nodes(scope.function) if isinstance(each, ast.Raise)]
    before = [each for each in alike if begins(each) < begins(statement)]
    mine = kind(statement)
    number = sum(1 for each in before if kind(each) == mine)
    return f" #{number}" if number else ""


def ordinal_of_call(call: ast.Call | None, scope: Scope, guards: list[tuple[ast.AST, bool]]) -> str:
    if call is None:
        return ""
    mine = (ast.dump(call.func), conditions_in(guards, Writer(scope)))
    number = 0
    for each in own_nodes(scope.function):
        if isinstance(each, ast.Call) and begins(each) < begins(call):
            conditions = conditions_in(list(guards_of(each, scope.source)), Writer(scope))
            number += (ast.dump(each.func), conditions) == mine
    return f" #{number}" if number else ""


def loop_around(node: ast.AST, source: Source, scope: Scope) -> str | None:
    outermost = None
    for parent in source.above(node):
        if isinstance(parent, FUNCTIONS):
            break
        if isinstance(parent, _LOOPS):
            outermost = parent
    if isinstance(node, ast.For | ast.AsyncFor | ast.While):
        outermost = outermost or node
    if outermost is None:
        return None
    match outermost:
        case ast.For(iter=over) | ast.AsyncFor(iter=over) | ast.While(test=over):
            return f"loop {Writer(scope).text(over)}"
        case _:
            return f"loop {Writer(scope).text(outermost.generators[0].iter)}"
