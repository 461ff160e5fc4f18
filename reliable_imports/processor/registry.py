"""Which processors there are: found by convention in a package, or registered by hand."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import sys
import traceback
import warnings
from collections.abc import Iterator, Sequence
from types import ModuleType
from typing import TypeVar

from reliable_imports.errors import (
    DiscoveryError,
    DuplicateBatchType,
    InvalidProcessor,
    ProcessorWarning,
    UnknownBatchType,
)
from reliable_imports.items.code.source_files import remember_sources
from reliable_imports.processor.base import BaseProcessor
from reliable_imports.processor.facts import facts_of

P = TypeVar("P", bound=type[BaseProcessor])


class ProcessorRegistry:
    """Which processors there are, by batch type; iterating gives their classes."""

    def __init__(self) -> None:
        self._processors: dict[str, type[BaseProcessor]] = {}

    def discover(self, *packages: str) -> list[str]:
        """Import the packages and every module below them, register the processors there, return their types.

        Classes that still lack a part, or whose name begins with an underscore, are bases and left out. Does not touch
        a database. A `depends_on` that names no processor is a ProcessorWarning: name packages that depend on each
        other in one call.

        Raises:
            DiscoveryError: a module cannot be imported; names the file and line.
            InvalidProcessor: a class has an attribute that cannot be what was meant; names both.
            DuplicateBatchType: two classes have one batch type; names both places.
        """
        from reliable_imports.processor.declarations import misspellings_of

        found: list[type[BaseProcessor]] = []
        for package in packages:
            for module in _modules(package):
                for candidate in vars(module).values():
                    if _is_processor(candidate) and candidate.__module__ == module.__name__:
                        if facts_of(candidate).missing_parts():
                            _refuse(candidate, misspellings_of(candidate))
                            continue
                        self.register(candidate)
                        found.append(candidate)
        for processor in found:
            self._check_dependencies(processor)
        return sorted(processor.batch_type for processor in found)

    def register(self, processor: P) -> P:
        """Add one class; usable as a decorator. Registering the same class again changes nothing.

        Raises:
            InvalidProcessor: no subclass of BaseProcessor, a part is missing, such as process_item, or an attribute
                cannot be what was meant.
            DuplicateBatchType: another class has its batch type.
        """
        # With them comes all that a TableProcessor needs; whoever registers none does without.
        from reliable_imports.processor.declarations import misspellings_of, mistakes_of

        if not (inspect.isclass(processor) and issubclass(processor, BaseProcessor)):
            raise InvalidProcessor(repr(processor), "it is not a subclass of BaseProcessor")
        if missing := facts_of(processor).missing_parts():
            _refuse(processor, [f"it has no {', '.join(missing)}", *misspellings_of(processor)])
        _refuse(processor, mistakes_of(processor))
        known = self._processors.get(processor.batch_type)
        if known is not None and not _same_class(known, processor):
            raise DuplicateBatchType(processor.batch_type, _place(known), _place(processor))
        self._processors[processor.batch_type] = processor
        remember_sources(processor)
        return processor

    def _check_dependencies(self, processor: type[BaseProcessor]) -> None:
        """Names that nearly fit are mistakes; others may be processors of another code location."""
        from reliable_imports.processor.declarations import nearest

        if processor.batch_type in processor.depends_on:
            _refuse(processor, [f"depends_on names {processor.batch_type!r}, which is this processor itself"])
        for name in processor.depends_on:
            if name not in self._processors:
                problem = f"depends_on names {name!r}, which no processor found here has"
                if hint := nearest(name, self._processors):
                    _refuse(processor, [f"{problem}; did you mean {hint!r}?"])
                warnings.warn(f"processor {processor.__qualname__}: {problem}", ProcessorWarning, stacklevel=3)

    def get(self, batch_type: str) -> type[BaseProcessor]:
        """The processor of a batch type.

        Raises:
            UnknownBatchType: there is none; the message lists those that there are.
        """
        try:
            return self._processors[batch_type]
        except KeyError:
            raise UnknownBatchType(batch_type, self._processors) from None

    def __iter__(self) -> Iterator[type[BaseProcessor]]:
        """The processors, by batch type."""
        return iter([self._processors[name] for name in sorted(self._processors)])

    def __len__(self) -> int:
        return len(self._processors)

    def __contains__(self, batch_type: object) -> bool:
        return batch_type in self._processors


def _modules(package: str) -> Iterator[ModuleType]:
    root = _import(package)
    yield root
    for path in getattr(root, "__path__", []):
        for info in pkgutil.walk_packages([path], prefix=f"{package}.", onerror=_raise_discovery_error):
            yield _import(info.name)


def _import(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except Exception as error:  # whatever a team's module raises while it is imported
        raise DiscoveryError(name, _fault_location(name, error), f"{type(error).__name__}: {error}") from error


def _raise_discovery_error(name: str) -> None:
    error = sys.exc_info()[1]
    assert error is not None
    raise DiscoveryError(name, _fault_location(name, error), f"{type(error).__name__}: {error}") from error


def _fault_location(name: str, error: BaseException) -> str:
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}:{error.lineno}"
    own = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.filename != __file__ and "importlib" not in frame.filename
    ]
    return f"{own[-1].filename}:{own[-1].lineno}" if own else f"module {name}"


def _refuse(processor: type[BaseProcessor], problems: Sequence[str]) -> None:
    if problems:
        raise InvalidProcessor(processor.__qualname__, "; ".join(problems))


def _is_processor(candidate: object) -> bool:
    return (
        inspect.isclass(candidate) and issubclass(candidate, BaseProcessor) and not candidate.__name__.startswith("_")
    )


def _same_class(first: type, second: type) -> bool:
    """Also true after a reload, when the class is a new object of the same name."""
    return (first.__module__, first.__qualname__) == (second.__module__, second.__qualname__)


def _place(processor: type) -> str:
    try:
        line = inspect.getsourcelines(processor)[1]
        return f"{processor.__qualname__} ({inspect.getsourcefile(processor)}:{line})"
    except (OSError, TypeError):
        return f"{processor.__module__}.{processor.__qualname__}"
