"""Which cores client and server run on, where the operating system lets us say so."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import psycopg2


def placements(dsn: str) -> dict[str, tuple[set[int], set[int]]]:
    """Cores for the client and for the server of *dsn*, by name.

    None where there is one core only, or where we cannot choose: the server is another account's, or elsewhere.
    """
    if sys.platform != "linux":
        return {}
    cores = sorted(os.sched_getaffinity(0))
    try:
        postmaster = _postmaster(dsn)
        os.sched_setaffinity(postmaster, os.sched_getaffinity(postmaster))
    except (ProcessLookupError, FileNotFoundError, PermissionError):
        return {}
    if len(cores) < 2:
        return {}
    first, second = {cores[0]}, {cores[1]}
    return {"on one core": (first, first), "on two cores": (first, second)}


@contextmanager
def placed(dsn: str, client: set[int], server: set[int]) -> Iterator[None]:
    """While this lasts, this thread and all new connections to the server run on these cores."""
    if sys.platform != "linux":
        raise NotImplementedError("cores can be chosen on Linux alone")
    postmaster = _postmaster(dsn)
    before = os.sched_getaffinity(0), os.sched_getaffinity(postmaster)
    try:
        os.sched_setaffinity(0, client)
        os.sched_setaffinity(postmaster, server)
        yield
    finally:
        os.sched_setaffinity(0, before[0])
        os.sched_setaffinity(postmaster, before[1])


def _postmaster(dsn: str) -> int:
    """The server's first process, whose cores the sessions inherit that it starts."""
    with closing(psycopg2.connect(dsn)) as connection:
        status = Path(f"/proc/{connection.get_backend_pid()}/status").read_text()
    facts = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    if facts["Name"] != "postgres":
        raise ProcessLookupError("the server does not run on this machine, so its cores cannot be chosen")
    return int(facts["PPid"])
