"""The private server of this suite, how long it goes on, and the totals at the end."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from reliable_imports import BatchManager
from tests.faults.proxy import Proxy, proxy_to
from tests.faults.server import FaultServer, session
from tests.faults.targets import PROCESSORS

SHARES = {
    "kills": (100, 500),
    "restarts": (25, 200),
    "cuts": (300, 1_000),
    "freezes": (9, 100),
    "dagster runs killed": (2, 40),
    "dagster runs cancelled": (2, 40),
}
"""How much of each kind all tests of it do together, for every change and with --faults-release."""

FREEZING_TESTS = 9
"""Each batch type with a worker that is stopped, and behind a network that freezes, where it dies or comes back."""

More = Callable[..., bool]
"""`more(kind, done, sharers)`: whether one of so many tests, which has done so much, does more."""


@pytest.fixture(scope="session")
def server(servers_folder: Path) -> FaultServer:
    return FaultServer(servers_folder / "faults")


@pytest.fixture
def dsn(server: FaultServer) -> str:
    """A database of this test's own, with the target tables."""
    server.wait_until_up()
    return server.new_database()


@pytest.fixture
def sql(dsn: str) -> Iterator[Callable[..., list[tuple[Any, ...]]]]:
    with session(dsn) as run:
        yield run


@pytest.fixture
def manager(dsn: str) -> BatchManager:
    return manager_of(dsn)


def manager_of(dsn: str) -> BatchManager:
    manager = BatchManager(dsn)
    for processor in PROCESSORS:
        manager.registry.register(processor)
    return manager


@pytest.fixture
def proxy(server: FaultServer) -> Iterator[Proxy]:
    with proxy_to(server.port) as proxy:
        yield proxy


@pytest.fixture
def chance(request: pytest.FixtureRequest) -> random.Random:
    """Random numbers that a failed test can be run with again: FAULTS_SEED=... (the seed is printed)."""
    seed = int(os.environ.get("FAULTS_SEED") or random.SystemRandom().randrange(1_000_000))
    print(f"FAULTS_SEED={seed}")
    return random.Random(seed)


@pytest.fixture
def more_rounds(pytestconfig: pytest.Config) -> More:
    """Whether a random test goes on: until its share is done, and with --faults-minutes until its time is over."""
    is_release = bool(pytestconfig.getoption("--faults-release"))
    until = time.monotonic() + float(pytestconfig.getoption("--faults-minutes")) * 60

    def more(kind: str, done: int, sharers: int = 1) -> bool:
        return done * sharers < SHARES[kind][is_release] or time.monotonic() < until

    return more
