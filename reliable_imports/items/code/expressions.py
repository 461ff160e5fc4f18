"""Expressions as text, without the names of local variables."""

from __future__ import annotations

import ast
from typing import Any

from reliable_imports.items.code.scopes import MAX_DEPTH, Scope

_MAX_CODE = 100
_GETTERS = frozenset({"get", "pop", "getlist", "setdefault", "__getitem__"})
# The item's own attributes of ours say nothing of which field is looked at.
_WHOLE = frozenset({"source_data", "prepared"})


class Writer:
    """Writes a tree as text without the names of local variables, and notes what it met."""

    def __init__(self, scope: Scope) -> None:
        self.scope = scope
        self.names_data = False
        self.field: str | None = None
        self.parameters: set[str] = set()
        self.names: set[str] = set()
        self.keys: dict[str, str] = {}
        self._numbers: dict[str, int] = {}
        self._within: list[str] = []

    def text(self, node: Any) -> str:
        if isinstance(node, list):
            return ",".join(map(self.text, node))
        if not isinstance(node, ast.AST):
            return repr(node)
        match node:
            case ast.Name():
                return self._name(node)
            case ast.Constant(value=value):
                return repr(value)
            case ast.Call(func=function, args=arguments, keywords=keywords):
                if isinstance(function, ast.Attribute) and function.attr in _GETTERS and arguments:
                    self._note_pick(arguments[0])
                parts = [*map(self.text, arguments), *[f"{each.arg}={self.text(each.value)}" for each in keywords]]
                return f"{self._function(function)}({','.join(parts)})"
            case ast.Subscript(value=value, slice=index):
                self._note_pick(index)
                return f"{self.text(value)}[{self.text(index)}]"
            case ast.Attribute(value=value, attr=attribute):
                if isinstance(value, ast.Name) and value.id == self.scope.itself:
                    return attribute
                if attribute not in _WHOLE and not self._is_called(node) and self._is_local(value):
                    self._note_pick(ast.Constant(attribute))
                return f"{self.text(value)}.{attribute}"
            case ast.expr_context():
                return ""
        if isinstance(node, ast.stmt):
            return self._statement(node)
        parts = [self.text(value) for name, value in ast.iter_fields(node) if name not in ("ctx", "kind")]
        return f"{type(node).__name__}({';'.join(parts)})"

    def _statement(self, node: ast.stmt) -> str:
        """Of a compound one only what stands before its block."""
        skipped = ("body", "orelse", "finalbody", "handlers", "cases", "decorator_list", "type_comment", "annotation")
        parts = [self.text(value) for name, value in ast.iter_fields(node) if name not in skipped]
        return f"{type(node).__name__}({';'.join(parts)})"

    def _function(self, node: ast.AST) -> str:
        # A method that became a function of a module is the same one.
        match node:
            case ast.Attribute(value=ast.Name(id=name), attr=attribute) if name == self.scope.itself:
                return attribute
            case ast.Attribute(value=ast.Call(func=ast.Name(id="super")), attr=attribute):
                return attribute
        return self.text(node)

    def _is_called(self, node: ast.AST) -> bool:
        parent = self.scope.source.parents.get(node)
        return isinstance(parent, ast.Call) and parent.func is node

    def _is_local(self, node: ast.AST) -> bool:
        return isinstance(node, ast.Name) and self.scope.binding(node) is not None

    def _note_pick(self, index: ast.AST) -> None:
        if isinstance(index, ast.Constant) and isinstance(index.value, str | int):
            self.names_data = True
            if isinstance(index.value, str):
                self.field = index.value
        elif isinstance(index, ast.Name):
            bound = self.scope.binding(index)
            if bound is not None and bound[1] == "parameter":
                self.names.add(index.id)

    def _name(self, node: ast.Name) -> str:
        name = node.id
        if name == self.scope.itself:
            return "self"
        bound = self.scope.binding(node)
        if bound is None:
            return name
        value, how = bound
        if how == "parameter":
            self.parameters.add(name)
        elif how == "loop":
            over = self.scope.loops_over(value)
            if over is not None and not isinstance(node.ctx, ast.Store):
                self.keys.setdefault(name, over)
                return "<key>"
            if name not in self._within and value is not None and len(self._within) < MAX_DEPTH:
                return f"each({self._made_of(name, value)})"
        elif value is not None and name not in self._within and len(self._within) < MAX_DEPTH:
            made = self._made_of(name, value)
            return made if how == "value" else f"{made}.{how}"
        return f"_{self._numbers.setdefault(name, len(self._numbers))}"

    def _made_of(self, name: str, value: ast.AST) -> str:
        self._within.append(name)
        try:
            return self.text(value)
        finally:
            self._within.pop()


def as_written(node: ast.AST) -> str:
    try:
        if isinstance(node, ast.stmt) and hasattr(node, "body"):
            return ""
        text = ast.unparse(node)
    except Exception:  # a tree that Python itself cannot write
        return ""
    text = " ".join(text.split())
    return text if len(text) <= _MAX_CODE else f"{text[: _MAX_CODE - 1]}…"
