"""From what a team names to a registry of processors."""

from collections.abc import Iterable

from reliable_imports import BaseProcessor, ProcessorRegistry

Packages = str | Iterable[str] | ProcessorRegistry
"""A package to look for processors in, several of them, or a registry that is filled already."""


def discover(packages: Packages) -> ProcessorRegistry:
    """The processors of *packages*. Imports their modules and touches no database.

    Raises:
        DiscoveryError: a module cannot be imported.
        InvalidProcessor: a class has an attribute that cannot be what was meant.
        DuplicateBatchType: two processors have one batch type.
    """
    if isinstance(packages, ProcessorRegistry):
        return packages
    registry = ProcessorRegistry()
    registry.discover(*([packages] if isinstance(packages, str) else packages))
    return registry


def only(processor: type[BaseProcessor]) -> ProcessorRegistry:
    """A registry of one."""
    registry = ProcessorRegistry()
    registry.register(processor)
    return registry
