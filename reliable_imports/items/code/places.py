"""Places in a team's code, told so that what leaves a fault as it was leaves its place as it was: line numbers,
formatting, comments, names of local variables, classes, files, and the words of messages are no part of one.

A place is the name of a function and, of the instruction that failed, the expression as a tree. A local variable is
told by what it was made of (`text = d["qty"]; int(text)` is `int(d["qty"])`). A `raise` is told by the conditions that
lead to it. Where an expression looks at nothing but the function's parameters, as that of a helper that converts or
only raises, the caller's expression says more, and its arguments belong to the place.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from functools import lru_cache
from types import CodeType
from typing import NamedTuple

from reliable_imports.items.code.conditions import (
    conditions_in,
    guards_of,
    loop_around,
    ordinal_of_call,
    ordinal_of_raise,
)
from reliable_imports.items.code.expressions import Writer, as_written
from reliable_imports.items.code.nodes import node_at
from reliable_imports.items.code.said import words_of, words_of_raise
from reliable_imports.items.code.scopes import Scope, scope_of
from reliable_imports.items.code.source_files import source_of
from reliable_imports.log import logger

_MAX_PLACES = 4_096


class Place(NamedTuple):
    """One frame's part of where an error arose.

    Attributes:
        function: its name, that of the enclosing one for a comprehension or a lambda.
        text: the expression, normalized.
        is_raise: it is a `raise` or an `assert`.
        is_guarded: a condition leads to it.
        names_data: it says by itself which field it looks at.
        parameters: those of the function that it depends on.
        names: those of them that hold the name of a field.
        keys: local variables that run through names written in the code, by which it looks at a field.
        field: the field that it looks at, if one is written in it.
        words: what a `raise` says, values as `…`; a parameter's name in braces with `{=` before it is to be filled in.
        code: the expression as it is written, on one line.
        loop: the outermost loop around it, normalized.
    """

    function: str
    text: str
    is_raise: bool
    is_guarded: bool
    names_data: bool
    parameters: frozenset[str]
    names: frozenset[str]
    keys: tuple[tuple[str, str], ...]
    field: str | None
    words: str | None
    code: str
    loop: str | None
    node: ast.AST
    scope: Scope


_places: dict[tuple[int, int], tuple[CodeType, Place | None]] = {}


def place_of(code: CodeType, instruction: int, line: int) -> Place | None:
    """The place of an instruction (`tb_lasti`); None where there is no source, or it is not that of the code."""
    known = _places.get((id(code), instruction))
    if known is not None:  # it holds the code, so that no other one takes its number
        return known[1]
    if len(_places) >= _MAX_PLACES:
        _places.clear()
    try:
        place = _find_place(code, instruction, line)
    except Exception:  # whatever Python will write in its trees one day; a failure is recorded all the same
        logger.warning("a place in the code cannot be told", exc_info=True)
        place = None
    _places[id(code), instruction] = (code, place)
    return place


def _find_place(code: CodeType, instruction: int, line: int) -> Place | None:
    source = source_of(code.co_filename)
    if source is None:
        return None
    node = node_at(source, code, instruction, line)
    if node is None:
        return None
    scope = scope_of(source, node)
    if not code.co_name.startswith("<") and code.co_name != scope.name:
        return None  # the file is not what runs
    statement = next((each for each in (node, *source.above(node)) if isinstance(each, ast.stmt)), node)
    is_raise = isinstance(node, ast.Raise) or isinstance(statement, ast.Assert)
    if isinstance(getattr(node, "ctx", None), ast.Store):
        node = statement
    if isinstance(statement, ast.Raise) and node is not statement and node is _called(statement.exc):
        node, is_raise = statement, True
    writer = Writer(scope)
    words = None
    is_guarded = False
    if is_raise:
        guards = list(guards_of(statement, source))
        if isinstance(statement, ast.Assert):
            guards.append((statement.test, True))
            words = words_of(statement.msg, scope) if statement.msg is not None else None
        elif isinstance(statement, ast.Raise):
            words = words_of_raise(statement.exc, scope)
        is_guarded = bool(guards)
        text = f"raise {conditions_in(guards, writer)}"
        text += ordinal_of_raise(statement, source, scope)
        code_text = as_written(guards[-1][0] if guards else statement)
    else:
        text = writer.text(node)
        code_text = as_written(node)
    return Place(
        function=scope.name,
        text=text,
        is_raise=is_raise,
        is_guarded=is_guarded,
        names_data=writer.names_data,
        parameters=frozenset(writer.parameters),
        names=frozenset(writer.names),
        keys=tuple(writer.keys.items()),
        field=writer.field,
        words=words,
        code=code_text,
        loop=loop_around(node, source, scope),
        node=node,
        scope=scope,
    )


def _called(node: ast.AST | None) -> ast.AST | None:
    return node if isinstance(node, ast.Call | ast.Name) else None


class Call(NamedTuple):
    """A caller's part of a place: what it hands to the function whose place says too little.

    Attributes:
        text: the arguments that matter, normalized.
        words: of the callee's parameters: what is said, by name.
    """

    text: str
    is_guarded: bool
    names_data: bool
    parameters: frozenset[str]
    names: frozenset[str]
    keys: tuple[tuple[str, str], ...]
    field: str | None
    words: Mapping[str, str]


@lru_cache(maxsize=_MAX_PLACES)
def call_from(caller: Place, callee: Place, wanted: frozenset[str], is_stepped_over: bool) -> Call:
    """What a caller adds.

    Args:
        wanted: the parameters of the callee that matter.
        is_stepped_over: the callee only raises, so that the conditions of the call count.
    """
    writer = Writer(caller.scope)
    node = caller.node
    call = _call_of(node, caller, callee)
    if call is None:
        text = writer.text(node)
        words: dict[str, str] = {}
        bound: dict[str, ast.AST] = {}
    else:
        bound = _arguments(call, callee)
        if any(isinstance(each, ast.Starred) for each in call.args) or any(each.arg is None for each in call.keywords):
            parts = [*map(writer.text, call.args), *[writer.text(each.value) for each in call.keywords]]
        else:
            parts = [writer.text(value) for name, value in bound.items() if name in wanted]
        text = f"({','.join(parts)})"
        words = {}
        told = {name: words_of(value, caller.scope) for name, value in bound.items()}
        words = {name: said for name, said in told.items() if said is not None}
    is_guarded = False
    if is_stepped_over:
        guards = list(guards_of(node, caller.scope.source))
        is_guarded = bool(guards)
        text = f"{caller.function} {conditions_in(guards, writer)} {text}{ordinal_of_call(call, caller.scope, guards)}"
    return Call(
        text,
        is_guarded,
        writer.names_data,
        frozenset(writer.parameters),
        frozenset(writer.names),
        tuple(writer.keys.items()),
        writer.field,
        words,
    )


def _call_of(node: ast.AST, caller: Place, callee: Place) -> ast.Call | None:
    if isinstance(node, ast.stmt):  # where only the line is known
        calls = [each for each in ast.walk(node) if isinstance(each, ast.Call)]
        named = [
            each for each in calls if callee.function in (getattr(each.func, "id", ""), getattr(each.func, "attr", ""))
        ]
        return named[0] if len(named) == 1 else None
    return next((each for each in (node, *caller.scope.source.above(node)) if isinstance(each, ast.Call)), None)


def _arguments(call: ast.Call, callee: Place) -> dict[str, ast.AST]:
    names = list(callee.scope.parameters)
    if callee.scope.itself in names[:1]:
        names = names[1:]
    bound: dict[str, ast.AST] = dict(zip(names, call.args, strict=False))
    bound.update({each.arg: each.value for each in call.keywords if each.arg is not None})
    return bound
