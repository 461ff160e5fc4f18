"""Places in a team's code, told so that what leaves a fault as it was leaves its place as it was: line numbers,
formatting, comments, names of local variables, classes, files, and the words of messages are no part of one.

A place is the name of a function and, of the instruction that failed, the expression as a tree. A local variable is
told by what it was made of (`text = d["qty"]; int(text)` is `int(d["qty"])`). A `raise` is told by the conditions that
lead to it. Where an expression looks at nothing but the function's parameters, as that of a helper that converts or
only raises, the caller's expression says more, and its arguments belong to the place.
"""

from __future__ import annotations

import ast
import re
import site
import sys
import sysconfig
from collections.abc import Iterator, Mapping
from functools import lru_cache
from itertools import islice
from pathlib import Path
from types import CodeType
from typing import Any, NamedTuple

from reliable_imports.log import logger

_HERE = Path(__file__).parents[1]
_OWN_CODE = (f"{_HERE}/", f"{_HERE.parent / 'reliable_imports_dagster'}/")
_PATHS = sysconfig.get_paths()
_LIBRARIES = tuple(
    f"{folder}/"
    for folder in {
        *(_PATHS[name] for name in ("stdlib", "platstdlib", "purelib", "platlib")),
        *site.getsitepackages(),
        site.getusersitepackages(),
    }
)
_MAX_PLACES = 4_096
_MAX_SOURCES = 4_096
_MAX_DEPTH = 8
_MAX_CODE = 100
_WORD = re.compile(r"\w+")
_PERCENT = re.compile(r"%(?:\(\w+\))?[-+ #0]*(?:\d+|\*)?(?:\.\d+)?[a-zA-Z]")
_BRACES = re.compile(r"\{[^{}]*\}")
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
_LOOPS = (ast.For, ast.AsyncFor, ast.While, ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
_GETTERS = frozenset({"get", "pop", "getlist", "setdefault", "__getitem__"})
_PASSING = frozenset({"enumerate", "zip", "sorted", "reversed", "list", "tuple", "set", "iter"})
# The item's own attributes of ours say nothing of which field is looked at.
_WHOLE = frozenset({"source_data", "prepared"})


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
    scope: _Scope


@lru_cache(maxsize=_MAX_SOURCES)
def is_library(filename: str) -> bool:
    """Whether a file is Python's, an installed package's or ours, and not a team's."""
    return (
        filename.startswith(("<", *_LIBRARIES, *_OWN_CODE))
        or "/site-packages/" in filename
        or "/dist-packages/" in filename
    )


class TeamCode:
    """Which files are those of the team that wrote a processor."""

    def __init__(self, processor: type | None = None) -> None:
        self._files: set[str] = set()
        self._folders: tuple[str, ...] = ()
        folders = set()
        for base in processor.__mro__ if processor is not None else ():
            module = sys.modules.get(base.__module__)
            file = getattr(module, "__file__", None)
            if base is object or (file is not None and file.startswith(_OWN_CODE)):
                continue
            self._files.update(
                value.__code__.co_filename for value in vars(base).values() if hasattr(value, "__code__")
            )
            if file is not None:
                self._files.add(file)
                package = sys.modules.get(base.__module__.partition(".")[0])
                if package is not None and getattr(package, "__path__", None) and getattr(package, "__file__", None):
                    folders.add(f"{Path(str(package.__file__)).parent}/")
        self._folders = tuple(folders)
        self.files = tuple(sorted(self._files))

    def has(self, filename: str) -> bool:
        return (
            filename in self._files
            or not is_library(filename)
            or (bool(self._folders) and filename.startswith(self._folders))
        )


@lru_cache(maxsize=256)
def team_code(processor: type) -> TeamCode:
    return TeamCode(processor)


# Sources, as they were when the code was loaded

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


class _Source:
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
        self.scopes: dict[ast.AST, _Scope] = {}

    def above(self, node: ast.AST) -> Iterator[ast.AST]:
        while (parent := self.parents.get(node)) is not None:
            yield parent
            node = parent

    def scope(self, node: ast.AST) -> _Scope:
        """Of the innermost function around a node."""
        around = (each for each in self.above(node) if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef))
        function: ast.AST = next(around, self.tree)
        if function not in self.scopes:
            self.scopes[function] = _Scope(self, function)
        return self.scopes[function]


@lru_cache(maxsize=512)
def _source(filename: str) -> _Source | None:
    text = _texts.get(filename) or _read(filename)
    if text is None:
        return None
    try:
        return _Source(ast.parse(text))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def written_words(filename: str) -> frozenset[str] | set[str]:
    """The words of all texts that are written in a file; none if it cannot be read."""
    source = _source(filename)
    return frozenset() if source is None else source.words


# Functions


class _Scope:
    """A function, and what its local variables are made of."""

    def __init__(self, source: _Source, function: ast.AST) -> None:
        self.source = source
        self.function = function
        self.name = getattr(function, "name", "<module>")
        self.parameters: list[str] = []
        self.bindings: dict[str, list[tuple[tuple[int, int], ast.AST | None, str]]] = {}
        self.itself: str | None = None
        around = [function, *source.above(function)] if not isinstance(function, ast.Module) else []
        for each in around:
            if isinstance(each, _FUNCTIONS):
                self._add_parameters(each, is_own=each is function)
        for node in _own_nodes(function) if around else ():
            self._add_binding(node)
        for each in around[1:]:
            if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef):  # names of the functions around it
                for node in _own_nodes(each):
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
        if depth > _MAX_DEPTH:
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


def _holds(iterated: ast.AST | None, name: ast.AST, source: _Source) -> bool:
    """Whether a name stands in the comprehension whose generator iterates that."""
    generator = source.parents.get(iterated) if iterated is not None else None
    if not isinstance(generator, ast.comprehension):
        return False
    return source.parents.get(generator) in list(source.above(name))


def _own_nodes(function: ast.AST) -> Iterator[ast.AST]:
    """All nodes of a function but those of functions and classes within it; lambdas and comprehensions belong to it."""
    for child in ast.iter_child_nodes(function):
        yield child
        if not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield from _own_nodes(child)


# Expressions as text


class _Writer:
    """Writes a tree as text without the names of local variables, and notes what it met."""

    def __init__(self, scope: _Scope) -> None:
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
            if name not in self._within and value is not None and len(self._within) < _MAX_DEPTH:
                return f"each({self._made_of(name, value)})"
        elif value is not None and name not in self._within and len(self._within) < _MAX_DEPTH:
            made = self._made_of(name, value)
            return made if how == "value" else f"{made}.{how}"
        return f"_{self._numbers.setdefault(name, len(self._numbers))}"

    def _made_of(self, name: str, value: ast.AST) -> str:
        self._within.append(name)
        try:
            return self.text(value)
        finally:
            self._within.pop()


# Places


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
    source = _source(code.co_filename)
    if source is None:
        return None
    node = _node_at(source, code, instruction, line)
    if node is None:
        return None
    scope = source.scope(node)
    if not code.co_name.startswith("<") and code.co_name != scope.name:
        return None  # the file is not what runs
    statement = next((each for each in (node, *source.above(node)) if isinstance(each, ast.stmt)), node)
    is_raise = isinstance(node, ast.Raise) or isinstance(statement, ast.Assert)
    if isinstance(getattr(node, "ctx", None), ast.Store):
        node = statement
    if isinstance(statement, ast.Raise) and node is not statement and node is _called(statement.exc):
        node, is_raise = statement, True
    writer = _Writer(scope)
    words = None
    is_guarded = False
    if is_raise:
        guards = list(_guards(statement, source))
        if isinstance(statement, ast.Assert):
            guards.append((statement.test, True))
            words = _words_of(statement.msg, scope) if statement.msg is not None else None
        elif isinstance(statement, ast.Raise):
            words = _words_of_raise(statement.exc, scope)
        is_guarded = bool(guards)
        text = f"raise {_conditions(guards, writer)}"
        text += _ordinal(statement, source, scope)
        code_text = _as_written(guards[-1][0] if guards else statement)
    else:
        text = writer.text(node)
        code_text = _as_written(node)
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
        loop=_loop(node, source, scope),
        node=node,
        scope=scope,
    )


def _node_at(source: _Source, code: CodeType, instruction: int, line: int) -> ast.AST | None:
    position = _position(code, instruction)
    if position is None:
        return _node_on(source, line)
    start, end = position
    node: ast.AST = source.tree
    found: ast.AST | None = None
    while True:
        inner = next((each for each in _placed(node) if _begins(each) <= start and end <= _ends(each)), None)
        if inner is None:
            return found
        node = inner
        if isinstance(node, ast.expr | ast.stmt):
            found = node


def _node_on(source: _Source, line: int) -> ast.AST | None:
    """Where only the line is known: the innermost statement, or the largest expression of it that the line holds."""
    holding = [
        each
        for each in ast.walk(source.tree)
        if isinstance(each, ast.stmt) and _begins(each)[0] <= line <= _ends(each)[0]
    ]
    if not holding:
        return None
    statement = max(holding, key=lambda each: (each.lineno, -_ends(each)[0]))
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


def _begins(node: Any) -> tuple[int, int]:
    decorators = getattr(node, "decorator_list", None)
    return (decorators[0].lineno, 0) if decorators else (node.lineno, node.col_offset)


def _ends(node: Any) -> tuple[int, int]:
    return node.end_lineno, node.end_col_offset


def _called(node: ast.AST | None) -> ast.AST | None:
    return node if isinstance(node, ast.Call | ast.Name) else None


def _guards(node: ast.AST, source: _Source) -> Iterator[tuple[ast.AST, bool]]:
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


def _first_of_chain(node: Any, source: _Source) -> ast.AST:
    """The first test of an if ... elif ...: more of them do not change what `else` means to a reader."""
    while True:
        parent = source.parents.get(node)
        if isinstance(node, ast.If) and isinstance(parent, ast.If) and parent.orelse == [node]:
            node = parent
            continue
        test: ast.AST = node.test
        return test


def _conditions(guards: list[tuple[ast.AST, bool]], writer: _Writer) -> str:
    return " & ".join(("" if is_true else "not ") + writer.text(test) for test, is_true in guards)


def _ordinal(statement: ast.AST, source: _Source, scope: _Scope) -> str:
    """Tells apart what has the same conditions and the same type in one function."""

    def kind(node: ast.AST) -> tuple[str, str]:
        raised = node.exc if isinstance(node, ast.Raise) else None
        name = ast.dump(raised.func if isinstance(raised, ast.Call) else raised) if raised is not None else ""
        return name, _conditions(list(_guards(node, source)), _Writer(scope))

    if not isinstance(statement, ast.Raise):
        return ""
    alike = [each for each in _own_nodes(scope.function) if isinstance(each, ast.Raise)]
    before = [each for each in alike if _begins(each) < _begins(statement)]
    mine = kind(statement)
    number = sum(1 for each in before if kind(each) == mine)
    return f" #{number}" if number else ""


def _loop(node: ast.AST, source: _Source, scope: _Scope) -> str | None:
    outermost = None
    for parent in source.above(node):
        if isinstance(parent, _FUNCTIONS):
            break
        if isinstance(parent, _LOOPS):
            outermost = parent
    if isinstance(node, ast.For | ast.AsyncFor | ast.While):
        outermost = outermost or node
    if outermost is None:
        return None
    match outermost:
        case ast.For(iter=over) | ast.AsyncFor(iter=over) | ast.While(test=over):
            return f"loop {_Writer(scope).text(over)}"
        case _:
            return f"loop {_Writer(scope).text(outermost.generators[0].iter)}"


def _as_written(node: ast.AST) -> str:
    try:
        if isinstance(node, ast.stmt) and hasattr(node, "body"):
            return ""
        text = ast.unparse(node)
    except Exception:  # a tree that Python itself cannot write
        return ""
    text = " ".join(text.split())
    return text if len(text) <= _MAX_CODE else f"{text[: _MAX_CODE - 1]}…"


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
    writer = _Writer(caller.scope)
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
        told = {name: _words_of(value, caller.scope) for name, value in bound.items()}
        words = {name: said for name, said in told.items() if said is not None}
    is_guarded = False
    if is_stepped_over:
        guards = list(_guards(node, caller.scope.source))
        is_guarded = bool(guards)
        text = f"{caller.function} {_conditions(guards, writer)} {text}{_ordinal_of_call(call, caller, guards)}"
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


def _ordinal_of_call(call: ast.Call | None, caller: Place, guards: list[tuple[ast.AST, bool]]) -> str:
    if call is None:
        return ""
    scope = caller.scope
    mine = (ast.dump(call.func), _conditions(guards, _Writer(scope)))
    number = 0
    for each in _own_nodes(scope.function):
        if isinstance(each, ast.Call) and _begins(each) < _begins(call):
            conditions = _conditions(list(_guards(each, scope.source)), _Writer(scope))
            number += (ast.dump(each.func), conditions) == mine
    return f" #{number}" if number else ""


def _arguments(call: ast.Call, callee: Place) -> dict[str, ast.AST]:
    names = list(callee.scope.parameters)
    if callee.scope.itself in names[:1]:
        names = names[1:]
    bound: dict[str, ast.AST] = dict(zip(names, call.args, strict=False))
    bound.update({each.arg: each.value for each in call.keywords if each.arg is not None})
    return bound


# Words


def _words_of_raise(raised: ast.AST | None, scope: _Scope) -> str | None:
    """What a `raise` says: the first text among the arguments of the exception."""
    if isinstance(raised, ast.Name):
        bound = scope.binding(raised)
        raised = bound[0] if bound is not None and bound[1] == "value" else None
    if not isinstance(raised, ast.Call):
        return None
    found = [_words_of(each, scope) for each in [*raised.args, *[each.value for each in raised.keywords]]]
    told = [each for each in found if each is not None]
    return next((each for each in told if re.search(r"[^\W\d]", each)), None)


def _words_of(node: ast.AST, scope: _Scope, depth: int = 0) -> str | None:
    """A text as it is written, with `…` or a field's name in braces for what is put in; None if none is written."""
    if depth > _MAX_DEPTH:
        return None
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.JoinedStr(values=values):
            return "".join(_words_of(each, scope, depth + 1) or "…" for each in values)
        case ast.FormattedValue(value=value):
            return _put_in(value, scope)
        case ast.BinOp(left=left, op=ast.Mod()):
            pattern = _words_of(left, scope, depth + 1)
            return None if pattern is None else _PERCENT.sub("…", pattern).replace("%%", "%")
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            parts = [_words_of(left, scope, depth + 1), _words_of(right, scope, depth + 1)]
            return None if parts == [None, None] else "".join("…" if each is None else each for each in parts)
        case ast.Call(func=ast.Attribute(value=value, attr="format")):
            pattern = _words_of(value, scope, depth + 1)
            return None if pattern is None else _BRACES.sub("…", pattern)
        case ast.Call(func=ast.Name(id="str"), args=[value]):
            return _words_of(value, scope, depth + 1)
        case ast.Name():
            bound = scope.binding(node)
            if bound is None:
                return None
            if bound[1] == "parameter":
                return f"{{={node.id}}}"
            return _words_of(bound[0], scope, depth + 1) if bound[1] == "value" and bound[0] is not None else None
    return None


def _put_in(node: ast.AST, scope: _Scope) -> str:
    """What stands for a value in a text: its field's name, if that is written."""
    writer = _Writer(scope)
    writer.text(node)
    return f"{{{writer.field}}}" if writer.field is not None else "…"


# Functions as trees, for whoever asks for a condition of one


@lru_cache(maxsize=256)
def function_node(code: CodeType) -> ast.FunctionDef | None:
    """The tree of a function; None where there is no source."""
    source = _source(code.co_filename)
    for node in ast.walk(source.tree) if source is not None else ():
        if isinstance(node, ast.FunctionDef) and node.name == code.co_name:
            first = min([node.lineno, *[each.lineno for each in node.decorator_list]])
            if code.co_firstlineno in (first, node.lineno):
                return node
    return None


def condition_text(code: CodeType, node: ast.expr) -> tuple[str, str, str | None] | None:
    """A condition of a function: normalized, as it is written, and the field that it looks at."""
    source = _source(code.co_filename)
    if source is None or node not in source.parents:
        return None
    writer = _Writer(source.scope(node))
    return writer.text(node), _as_written(node), writer.field
