"""What the local variables of a function are made of."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import Any

from reliable_imports.items.code.source_files import Source

FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
_PASSING = frozenset({"enumerate", "zip", "sorted", "reversed", "list", "tuple", "set", "iter"})
MAX_DEPTH = 8


class Scope:
    """A function, and what its local variables are made of."""

    def __init__(self, source: Source, function: ast.AST) -> None:
        self.source = source
        self.function = function
        self.name = getattr(function, "name", "<module>")
        self.parameters: list[str] = []
        self.bindings: dict[str, list[tuple[tuple[int, int], ast.AST | None, str]]] = {}
        self.itself: str | None = None
        around = [function, *source.above(function)] if not isinstance(function, ast.Module) else []
        for each in around:
            if isinstance(each, FUNCTIONS):
                self._add_parameters(each, is_own=each is function)
        for node in own_nodes(function) if around else ():
            self._add_binding(node)
        for each in around[1:]:
            if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef):  # names of the functions around it
                for node in own_nodes(each):
                    self._add_binding(node)

    def _add_parameters(self, function: Any, *, is_own: bool) -> None:
        arguments = function.args
        names = [each.arg for each in [*arguments.posonlyargs, *arguments.args]]
        names += [each.arg for each in (arguments.vararg,) if each is not None]
        names += [each.arg for each in arguments.kwonlyargs]
        names += [each.arg for each in (arguments.kwarg,) if each is not None]
        if is_own:
            self.parameters = names
        if names and names[0] in ("self", "cls") and self.itself is None:
            self.itself = names[0]
        for name in names:
            self.bindings.setdefault(name, []).append(((0, 0), None, "parameter" if is_own else "other"))

    def _add_binding(self, node: ast.AST) -> None:
        match node:
            case ast.Assign(targets=targets, value=value):
                for target in targets:
                    self._bind(target, value, "value", node)
            case ast.AnnAssign(target=target, value=value) if value is not None:
                self._bind(target, value, "value", node)
            case ast.NamedExpr(target=target, value=value):
                self._bind(target, value, "value", node)
            case ast.For(target=target, iter=value) | ast.AsyncFor(target=target, iter=value):
                self._bind(target, value, "loop", node)
            case ast.comprehension(target=target, iter=value):
                self._bind(target, value, "loop", target)
            case ast.withitem(optional_vars=ast.AST() as target):
                self._bind(target, None, "other", target)
            case ast.ExceptHandler(name=str(name)):
                self.bindings.setdefault(name, []).append(((node.lineno, node.col_offset), None, "other"))
            case ast.Lambda():
                self._add_parameters(node, is_own=False)
            case ast.MatchAs(name=str(name)) | ast.MatchStar(name=str(name)):
                self.bindings.setdefault(name, []).append(((node.lineno, node.col_offset), None, "other"))
            case ast.Global(names=names):
                for name in names:
                    self.bindings.pop(name, None)

    def _bind(self, target: ast.AST, value: ast.AST | None, how: str, at: Any) -> None:
        if isinstance(target, ast.Name):
            self.bindings.setdefault(target.id, []).append(((at.lineno, at.col_offset), value, how))
        elif isinstance(target, ast.Starred):
            self._bind(target.value, value, "part" if how == "value" else how, at)
        elif isinstance(target, ast.Tuple | ast.List):
            for number, each in enumerate(target.elts):
                if how == "value" and isinstance(value, ast.Tuple | ast.List) and len(value.elts) == len(target.elts):
                    self._bind(each, value.elts[number], "value", at)
                else:
                    self._bind(each, value, "loop" if how == "loop" else f"part {number}", at)

    def binding(self, name: ast.Name) -> tuple[ast.AST | None, str] | None:
        """What a local variable was made of at this place: the nearest assignment above it; None if it is not local."""
        found = self.bindings.get(name.id)
        if not found:
            return None
        here = (name.lineno, name.col_offset)
        before = [each for each in found if each[0] < here]
        # A comprehension binds behind where it uses.
        _, value, how = max(before or found[:1], key=lambda each: each[0])
        if any(each[2] == "loop" and _holds(each[1], name, self.source) for each in found):
            value, how = next((v, h) for _, v, h in found if h == "loop" and _holds(v, name, self.source))
        return value, how

    def loops_over(self, node: ast.AST | None, depth: int = 0) -> str | None:
        """Whether what is iterated is written in the `code`, or is the whole `item`."""
        if depth > MAX_DEPTH:
            return None
        match node:
            case ast.Call(func=ast.Attribute(value=value, attr="items" | "keys" | "values"), args=[]):
                return self.loops_over(value, depth + 1)
            case ast.Call(func=ast.Name(id=name), args=[first, *_]) if name in _PASSING:
                return self.loops_over(first, depth + 1)
            case ast.Tuple() | ast.List() | ast.Set() | ast.Dict():
                return "code"
            case ast.Attribute(attr="source_data"):
                return "item"
            case ast.Attribute(value=value):
                return "code" if self.loops_over(value, depth + 1) == "code" else None
            case ast.Name():
                if node.id == self.itself:
                    return "code"
                bound = self.binding(node)
                if bound is None:
                    return "code"
                return self.loops_over(bound[0], depth + 1) if bound[1] == "value" else None
        return None


def scope_of(source: Source, node: ast.AST) -> Scope:
    """That of the innermost function around a node."""
    around = (each for each in source.above(node) if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef))
    function: ast.AST = next(around, source.tree)
    if function not in source.scopes:
        source.scopes[function] = Scope(source, function)
    scope: Scope = source.scopes[function]
    return scope


def _holds(iterated: ast.AST | None, name: ast.AST, source: Source) -> bool:
    """Whether a name stands in the comprehension whose generator iterates that."""
    generator = source.parents.get(iterated) if iterated is not None else None
    if not isinstance(generator, ast.comprehension):
        return False
    return source.parents.get(generator) in list(source.above(name))


def own_nodes(function: ast.AST) -> Iterator[ast.AST]:
    """All nodes of a function but those of functions and classes within it; lambdas and comprehensions belong to it."""
    for child in ast.iter_child_nodes(function):
        yield child
        if not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield from own_nodes(child)
