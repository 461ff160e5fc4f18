"""What went wrong with the server, in one sentence, from what PostgreSQL and the system said."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from reliable_imports.embedded.reserve import SIZE, free_bytes
from reliable_imports.errors import EmbeddedServerError

_NO_SPACE = (errno.ENOSPC, errno.EDQUOT)
_DAMAGED = re.compile(
    r"could not locate a valid checkpoint record|could not locate required checkpoint record|pg_control|"
    r"is not a valid data directory|database files are incompatible|could not open directory|"
    r"invalid page|could not read file|could not open file|is missing|incorrect checksum|bogus data in|PANIC: ",
)
_FULL = re.compile(r"No space left on device|Disk quota exceeded|Check free disk space")
_LITTLE = 1024 * 1024
"""Bytes without which not even the reason can be written to the log."""
_LAST_WORD = re.compile(r"(?:FATAL|PANIC|ERROR|error|postgres): +(.+)")


class FullDisk(EmbeddedServerError):
    """There is no room for the server to start."""


def server_failure(data: Path, output: str, *, log: Path | None = None) -> EmbeddedServerError:
    """The error for a program of PostgreSQL that failed on *data* and said *output*."""
    said = _LAST_WORD.findall(output)
    reason = said[-1].strip() if said else output.strip()[-300:] or "it said nothing"
    where = f" (see {log})" if log is not None else ""
    if is_port_taken(output):
        problem = f"another program has taken the port of the embedded PostgreSQL in {data}"
    elif _FULL.search(output) or (not output.strip() and free_bytes(data) < _LITTLE):
        left = free_bytes(data) // 2**20
        return FullDisk(
            f"the disk of the embedded PostgreSQL's data in {data} is full: {left} MB are left, and it needs "
            f"{SIZE // 2**20} MB to start; make room there, and it goes on as it was",
            detail=output[-4000:],
        )
    elif "Cannot allocate memory" in output or "could not map anonymous shared memory" in output:
        problem = "there is not enough memory for the embedded PostgreSQL"
    elif "Permission denied" in output or "Operation not permitted" in output:
        problem = f"the embedded PostgreSQL may not use {data}: {reason}"
    elif _DAMAGED.search(output):
        problem = (
            f"the embedded PostgreSQL's data in {data} is damaged: {reason}{where}; "
            "put a backup in its place, or move it away to start with an empty database"
        )
    else:
        problem = f"the embedded PostgreSQL in {data} does not start: {reason}{where}"
    return EmbeddedServerError(problem, detail=output[-4000:])


def is_port_taken(output: str) -> bool:
    return "could not bind" in output and "in use" in output


def is_still_going_down(output: str) -> bool:
    """Whether processes of a killed server still hold its shared memory; they notice and end within moments."""
    return "pre-existing shared memory block" in output


@contextmanager
def system_errors_explained(home: Path) -> Iterator[None]:
    """Raise EmbeddedServerError in place of OSError: *home* is where the caller wanted the server to live."""
    try:
        yield
    except OSError as error:
        place = error.filename if isinstance(error.filename, str) else str(error.filename or home)
        raise EmbeddedServerError(_system_problem(error, place)) from error


def _system_problem(error: OSError, place: str) -> str:
    own_folder = "set RELIABLE_IMPORTS_HOME to a folder that you may write to"
    # A copy of many files collects its errors in one that has no number.
    if error.errno in _NO_SPACE or (error.errno is None and os.strerror(errno.ENOSPC) in str(error)):
        return f"the disk of {place} is full, so the embedded PostgreSQL cannot keep its data there; make room"
    if isinstance(error, PermissionError):
        return f"the embedded PostgreSQL may not use {place}: permission denied; {own_folder}"
    if error.errno == errno.EROFS:
        return f"{place} is on a read-only disk; {own_folder}"
    if isinstance(error, NotADirectoryError | FileExistsError):
        return f"{place} is in the way of the embedded PostgreSQL's folder; {own_folder}"
    return f"the embedded PostgreSQL cannot use {place}: {error.strerror or error}"
