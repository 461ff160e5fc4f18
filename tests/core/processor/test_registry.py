from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from reliable_imports import (
    BaseProcessor,
    DiscoveryError,
    DuplicateBatchType,
    InvalidProcessor,
    ProcessorRegistry,
    TableProcessor,
    batch_type_of,
)

PROCESSOR = """
from reliable_imports import BaseProcessor

class {name}(BaseProcessor):
    {body}
    def process_item(self, item, ctx):
        return None
"""


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty package `team` that can be imported, and forgotten after the test."""
    folder = tmp_path / "team"
    folder.mkdir()
    (folder / "__init__.py").touch()
    monkeypatch.syspath_prepend(str(tmp_path))
    yield folder
    for name in [name for name in sys.modules if name.split(".")[0] == "team"]:
        del sys.modules[name]


def write(path: Path, name: str, body: str = "") -> None:
    path.parent.mkdir(exist_ok=True)
    (path.parent / "__init__.py").touch()
    path.write_text(PROCESSOR.format(name=name, body=body))


@pytest.mark.parametrize(
    ("class_name", "batch_type"),
    [
        ("CustomerDataProcessor", "customer_data"),
        ("HTTPLogProcessor", "http_log"),
        ("Orders2024Processor", "orders2024"),
        ("Airports", "airports"),
        ("Processor", "processor"),
    ],
)
def test_the_class_name_gives_the_batch_type(class_name: str, batch_type: str) -> None:
    assert batch_type_of(class_name) == batch_type


def test_processors_are_found_in_all_modules_below_a_package(package: Path) -> None:
    write(package / "orders.py", "OrdersProcessor")
    write(package / "more" / "customers.py", "CustomerDataProcessor", 'batch_type = "people"')
    registry = ProcessorRegistry()

    assert registry.discover("team") == ["orders", "people"]
    assert registry.get("people").__name__ == "CustomerDataProcessor"
    assert registry.discover("team.orders") == ["orders"]


def test_bases_are_left_out(package: Path) -> None:
    (package / "bases.py").write_text(
        "from reliable_imports import BaseProcessor, TableProcessor\n"
        "class CompanyProcessor(BaseProcessor): pass\n"
        "class CompanyTable(TableProcessor): key = ('id',)\n"
        "class _Private(BaseProcessor):\n    def process_item(self, item, ctx): return None\n"
    )
    assert ProcessorRegistry().discover("team") == []


def test_two_classes_of_one_type_are_told_with_file_and_line(package: Path) -> None:
    write(package / "a.py", "OrdersProcessor")
    write(package / "b.py", "OrdersProcessor")

    with pytest.raises(DuplicateBatchType) as raised:
        ProcessorRegistry().discover("team")
    assert f"OrdersProcessor ({package / 'a.py'}:4)" in str(raised.value)
    assert f"OrdersProcessor ({package / 'b.py'}:4)" in str(raised.value)


@pytest.mark.parametrize(
    ("code", "line", "cause"),
    [
        ("x = 1\nimport no_such_module\n", 2, "ModuleNotFoundError: No module named 'no_such_module'"),
        ("x = 1\n\ndef broken(:\n", 3, "SyntaxError"),
        ("\n\n\n1 / 0\n", 4, "ZeroDivisionError: division by zero"),
    ],
)
@pytest.mark.parametrize("where", ["bad.py", "sub/__init__.py"])
def test_a_module_that_cannot_be_imported_is_told_with_file_and_line(
    package: Path, code: str, line: int, cause: str, where: str
) -> None:
    path = package / where
    path.parent.mkdir(exist_ok=True)
    path.write_text(code)

    with pytest.raises(DiscoveryError) as raised:
        ProcessorRegistry().discover("team")
    assert f"{path}:{line}" in str(raised.value)
    assert cause in str(raised.value)


def test_a_package_that_does_not_exist_is_named() -> None:
    with pytest.raises(DiscoveryError, match=r"cannot import no\.such\.package"):
        ProcessorRegistry().discover("no.such.package")


def test_register_works_as_a_decorator_and_refuses_what_cannot_work() -> None:
    registry = ProcessorRegistry()

    @registry.register
    class OrdersProcessor(BaseProcessor):
        def process_item(self, item, ctx):  # type: ignore[no-untyped-def]
            return None

    class NoTableProcessor(TableProcessor):
        key = ("id",)

    registry.register(OrdersProcessor)
    assert "orders" in registry
    assert len(registry) == 1
    with pytest.raises(InvalidProcessor, match=r"it has no table$"):
        registry.register(NoTableProcessor)
    with pytest.raises(InvalidProcessor, match="not a subclass of BaseProcessor"):
        registry.register(int)  # type: ignore[type-var]


class _WritingProcessor(BaseProcessor):
    def process_item(self, item: object, ctx: object) -> None:
        return None


async def _async_answer(*arguments: object) -> bool:
    return False


def _answers(*arguments: object) -> Iterator[bool]:
    yield False


@functools.wraps(_async_answer)
def _wrapped_answer(*arguments: object) -> object:
    return _async_answer(*arguments)


@pytest.mark.parametrize("method", [_async_answer, _answers, _wrapped_answer])
@pytest.mark.parametrize(
    "name", ["validate_item", "process_item", "on_batch_start", "on_item_error", "on_batch_complete"]
)
def test_methods_that_nobody_would_await_or_iterate_are_refused(name: str, method: Callable[..., object]) -> None:
    processor = type("OddProcessor", (_WritingProcessor,), {name: method})

    with pytest.raises(InvalidProcessor, match=f"OddProcessor cannot be used: {name} "):
        ProcessorRegistry().register(processor)


def test_prepare_item_may_be_async_and_may_not_yield() -> None:
    ProcessorRegistry().register(type("OddProcessor", (_WritingProcessor,), {"prepare_item": _async_answer}))

    with pytest.raises(InvalidProcessor, match="prepare_item has a yield in it"):
        ProcessorRegistry().register(type("OddProcessor", (_WritingProcessor,), {"prepare_item": _answers}))
