"""The queries of the package: each is used, and given the parameters that it names.

A parameter that is missing is a KeyError of the driver. One too many is told by nobody, and a query that nobody uses
is kept for years; so both are looked for in the sources.
"""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

from reliable_imports.engine.recovery.suspects import ANY_ITEM
from reliable_imports.engine.work.claims import RETRIES
from reliable_imports.postgres.queries import load
from tests.core.conftest import Sql
from tests.running import ROOT

PACKAGES = ("reliable_imports", "reliable_imports_dagster")
FILES = sorted(path for path in (ROOT / "reliable_imports" / "postgres" / "sql").glob("*.sql"))
_LOADED = re.compile(r'\bload\("(\w+\.sql)"\)')
_PARAMETER = re.compile(r"%\((\w+)\)s")


class Use(NamedTuple):
    """A call that sends one of several queries, and the parameters that it is given."""

    place: str
    queries: frozenset[str]
    texts: tuple[str, ...]
    given: frozenset[str] | None
    """None if they are put together elsewhere."""


@cache
def modules() -> dict[Path, tuple[ast.Module, Mapping[str, str]]]:
    """The modules that send queries, each with the texts of those that it can name."""
    found = {}
    for package in PACKAGES:
        for path in (ROOT / package).rglob("*.py"):
            text = path.read_text(encoding="utf-8")
            if files := _LOADED.findall(text):
                found[path] = ast.parse(text), {name: sql for file in files for name, sql in load(file).items()}
    return found


def constants(node: ast.AST) -> set[str]:
    return {each.value for each in ast.walk(node) if isinstance(each, ast.Constant) and isinstance(each.value, str)}


def assigned(function: ast.AST) -> dict[str, ast.expr]:
    """What the variables of a function are, those that are assigned once."""
    found: dict[str, list[ast.expr]] = {}
    for node in ast.walk(function):
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                found.setdefault(name, []).append(value)
            case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value):
                found.setdefault(name, []).append(value)
    return {name: values[0] for name, values in found.items() if len(values) == 1}


def keys(node: ast.expr, variables: Mapping[str, ast.expr]) -> frozenset[str] | None:
    """The keys of a dict that is written out; None if it is not, or if several queries share it."""
    match node:
        case ast.Name(id=name) if name in variables:
            return keys(variables[name], {})
        case ast.Dict(keys=names) if all(isinstance(name, ast.Constant) for name in names):
            return frozenset(constants(ast.Tuple([name for name in names if name is not None], ast.Load())))
    return None


def queries_in(node: ast.expr, known: Mapping[str, str], variables: Mapping[str, ast.expr]) -> set[str]:
    """The queries that an expression may be: by name in it, or by the name of a variable that is one of several."""
    found = constants(node) & known.keys()
    for each in ast.walk(node):
        if isinstance(each, ast.Name) and each.id in variables:
            found |= constants(variables[each.id]) & known.keys()
    return found


def uses() -> Iterator[Use]:
    for path, (tree, known) in modules().items():
        for function in (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)):
            variables = assigned(function)
            read = Counter(
                node.id for node in ast.walk(function) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)
            )
            for call in (node for node in ast.walk(function) if isinstance(node, ast.Call) and node.args):
                names = queries_in(call.args[0], known, variables)
                given = None
                if len(call.args) == 2 and not call.keywords:
                    given = keys(call.args[1], {name: variables[name] for name in variables if read[name] == 1})
                elif len(call.args) == 1 and call.keywords and all(keyword.arg for keyword in call.keywords):
                    given = frozenset(keyword.arg for keyword in call.keywords if keyword.arg)
                if names:
                    place = f"{path.relative_to(ROOT)}:{call.lineno}"
                    yield Use(place, frozenset(names), tuple(known[name] for name in names), given)


@pytest.mark.parametrize("file", FILES, ids=lambda path: path.name)
def test_every_query_is_used(file: Path) -> None:
    named = set()
    for path, (tree, _) in modules().items():
        if file.name in _LOADED.findall(path.read_text(encoding="utf-8")):
            named |= constants(tree)
    assert load(file.name).keys() - named == set()


def test_parameters_that_are_written_out_are_those_of_the_query() -> None:
    checked = [use for use in uses() if use.given is not None]
    wrong = {
        f"{use.place} {', '.join(sorted(use.queries))}": sorted(use.given ^ wanted)
        for use in checked
        if use.given is not None
        and (wanted := frozenset(name for text in use.texts for name in _PARAMETER.findall(text))) != use.given
    }
    assert wrong == {}
    assert len(checked) >= 50


def test_each_query_has_a_name_of_its_own() -> None:
    names = Counter(name for file in FILES for name in load(file.name))
    assert [name for name, times in names.items() if times > 1] == []


def test_numbers_that_stand_for_something_else_are_the_same_on_both_sides(sql: Sql) -> None:
    numbers = sql("SELECT reliable_imports.retries_range_v1(), reliable_imports.any_item_v1()")
    assert numbers == [(RETRIES, ANY_ITEM)]
