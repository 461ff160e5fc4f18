"""Looking at processes that a test has started: how far they are, what their webserver says, which of them live."""

from __future__ import annotations

import json
import socket
import subprocess
import time
import urllib.request
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")


def until(found: Callable[[], T | None], seconds: float = 120) -> T:
    """What *found* gives as soon as it gives something."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        value = found()
        if value is not None:
            return value
        time.sleep(0.2)
    raise AssertionError(f"not within {seconds} s")


def ask(port: int, query: str, **variables: object) -> dict[str, Any]:
    """What Dagster's webserver answers to a GraphQL query."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/graphql",
        json.dumps({"query": query, "variables": variables}).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=30) as response:
        answer: dict[str, Any] = json.load(response)
    assert "errors" not in answer, answer
    return dict(answer["data"])


def processes(column: str, value: int) -> list[int]:
    """The ids of living processes whose parent (`ppid`), group (`pgid`) or session (`sid`) is *value*."""
    listed = subprocess.run(["ps", "-eo", f"pid=,{column}=,stat="], capture_output=True, text=True, check=True).stdout
    rows = [line.split() for line in listed.splitlines()]
    return [int(row[0]) for row in rows if int(row[1]) == value and not row[2].startswith("Z")]


def free_port() -> int:
    """A port of loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
