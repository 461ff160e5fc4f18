"""Errors on their way from one process to another."""

from __future__ import annotations

import copy
import inspect
import pickle
from collections.abc import Iterator

import pytest

from reliable_imports import ReliableImportsError, errors

GIVEN = {"Mapping[tuple[int, int], str]": {(1, 2): "used"}, "Mapping[str, str]": {"name": "missing"}, "int": 7}
A_LIST = ["one", "two"]


def _errors() -> Iterator[ReliableImportsError]:
    """One of each kind, whatever it is made of."""
    for kind in vars(errors).values():
        if not (inspect.isclass(kind) and issubclass(kind, ReliableImportsError)):
            continue
        given = [
            parameter
            for parameter in inspect.signature(kind.__init__).parameters.values()
            if parameter.name != "self" and parameter.kind is not parameter.VAR_POSITIONAL
        ]
        values = {each.name: _value(str(each.annotation)) for each in given if each.kind is not each.VAR_KEYWORD}
        yield kind(**values) if values else kind("what happened")


def _value(annotation: str) -> object:
    return GIVEN.get(annotation, A_LIST if annotation.startswith(("Sequence", "Iterable")) else "text")


@pytest.mark.parametrize("error", list(_errors()), ids=lambda error: type(error).__name__)
def test_an_error_reaches_the_parent_of_a_process_as_it_was(error: ReliableImportsError) -> None:
    """One that cannot be made again there leaves a pool of processes broken, or waiting for ever."""
    for arrived in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert type(arrived) is type(error)
        assert str(arrived) == str(error)
        assert (arrived.args, vars(arrived)) == (error.args, vars(error))
