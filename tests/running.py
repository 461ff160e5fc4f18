"""Processes that a test starts: `reliable-imports dev`, how far it is, what its webserver says, which of them live."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")
ROOT = Path(__file__).parents[1]


def environment_of(dsn: str, home: Path) -> dict[str, str]:
    """The variables under which a command of ours uses this database and this home, wherever it is started."""
    return {
        **os.environ,
        "RELIABLE_IMPORTS_DSN": dsn,
        "RELIABLE_IMPORTS_HOME": str(home),
        "PYTHONPATH": str(ROOT),
        "PYTHONUNBUFFERED": "1",
    }


@contextmanager
def dev(folder: Path, dsn: str, home: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """`reliable-imports dev` in a folder, its output in the file `output` of the home; ended with the block."""
    with (
        (home / "output").open("w") as output,
        subprocess.Popen(
            [sys.executable, "-m", "reliable_imports", "dev", *arguments],
            cwd=folder,
            env=environment_of(dsn, home),
            stdout=output,
            stderr=subprocess.STDOUT,
            text=True,
        ) as process,
    ):
        try:
            yield process
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
                try:
                    process.wait(timeout=90)
                except subprocess.TimeoutExpired:
                    process.kill()
                    raise


def wait_until_up(process: subprocess.Popen[str], port: int, home: Path) -> None:
    """Until the UI of `dev` has loaded its definitions."""
    until(lambda: True if process.poll() is not None else _is_up(port))
    assert process.poll() is None, (home / "output").read_text()


def _is_up(port: int) -> bool | None:
    try:
        loaded = ask(port, "{ repositoriesOrError { ... on RepositoryConnection { nodes { name } } } }")
    except (urllib.error.URLError, ConnectionError):
        return None
    return bool(loaded["repositoriesOrError"]["nodes"]) or None


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


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
    with urllib.request.urlopen(request, timeout=120) as response:
        answer: dict[str, Any] = json.load(response)
    assert "errors" not in answer, answer
    return dict(answer["data"])


def processes(column: str, value: int) -> list[int]:
    """The ids of living processes whose parent (`ppid`), group (`pgid`) or session (`sid`) is *value*."""
    listed = subprocess.run(["ps", "-eo", f"pid=,{column}=,stat="], capture_output=True, text=True, check=True).stdout
    rows = [line.split() for line in listed.splitlines()]
    return [int(row[0]) for row in rows if int(row[1]) == value and not row[2].startswith("Z")]
