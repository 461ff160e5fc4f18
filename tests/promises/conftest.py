from __future__ import annotations

import pytest

from tests.core.conftest import manager

__all__ = ["manager"]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Guards are broken before a release only: it takes some minutes."""
    if config.getoption("--promises-release"):
        return
    left_out = [item for item in items if item.name.startswith("test_a_broken_guard_is_noticed")]
    items[:] = [item for item in items if item not in left_out]
    config.hook.pytest_deselected(items=left_out)
