"""The server started, waited for and stopped; the caller holds the lock."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from reliable_imports.embedded.account import Account
from reliable_imports.embedded.binaries import Binaries
from reliable_imports.embedded.problems import server_failure
from reliable_imports.embedded.process import (
    ServerProcess,
    find_server,
    is_alive,
    is_taken,
    pid_file,
    read_process,
    serves,
)
from reliable_imports.errors import EmbeddedServerError

StopMode = Literal["smart", "fast", "immediate"]

# Docker gives /dev/shm 64 MB, so the shared memory of parallel queries goes to files. The log holds no statements and
# no values, because they may be personal data, and not every failed item: the client is told of those anyway.
_ALWAYS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "password_encryption": "scram-sha-256",
    "dynamic_shared_memory_type": "mmap",
    "log_min_messages": "log",
    "log_min_error_statement": "panic",
    "log_error_verbosity": "terse",
    "log_checkpoints": "off",
}
_SIGNALS = {"smart": signal.SIGTERM, "fast": signal.SIGINT, "immediate": signal.SIGQUIT}
_START_PATIENCE = 300.0  # seconds; recovery after a power failure may read 1 GB of log
_STOP_PATIENCE = 60.0
_LOG_LIMIT = 10_000_000  # bytes


def launch(data: Path, port: int, settings: Mapping[str, str], binaries: Binaries, account: Account) -> ServerProcess:
    """Start a server on *data* and return it when it accepts connections."""
    stale = read_process(data)
    if stale is not None and is_taken(stale.pid):
        # After a crash the pid can be another program's by now (in a container it often is), and the server would take
        # that program for itself. Where the pid is free it sees to the file alone.
        pid_file(data).unlink(missing_ok=True)
    elif stale is None and pid_file(data).exists():
        # A power failure or a full disk has emptied it. The server would not start; and one that runs would end itself
        # within a minute.
        stop(data, "fast")
        pid_file(data).unlink(missing_ok=True)
    options = [word for name, value in {**settings, **_ALWAYS}.items() for word in ("-c", f"{name}={value}")]
    log = log_of(data)
    if log.exists() and log.stat().st_size > _LOG_LIMIT:
        log.replace(log.with_name(f"{log.name}.1"))
    descriptor = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    with open(descriptor, "ab") as output:
        log_start = os.lseek(descriptor, 0, os.SEEK_END)
        # The shell ends at once and leaves the server to init, so that it is nobody's zombie. Not pg_ctl, which
        # lets a shell read the path: a `$` in it would be expanded.
        in_background = ["/bin/sh", "-c", '"$@" >&2 & echo $!', "sh", *account.prefix]
        server: list[str | Path] = [binaries.postgres, "-D", data, "-c", f"port={port}", *options]
        started = account.run([*in_background, *server], stderr=output)
    return wait_until_ready(data, int(started.stdout), stale=stale, log_start=log_start)


def wait_until_ready(
    data: Path, pid: int, *, stale: ServerProcess | None = None, log_start: int | None = None
) -> ServerProcess:
    """The server on *data*, which is *pid* or one that was faster, once it accepts connections.

    Args:
        stale: what the pid file said before *pid* was started, to be taken for nothing.
        log_start: where the log of this start begins; by default it is as good as empty so far.
    """
    deadline = time.monotonic() + _START_PATIENCE
    while time.monotonic() < deadline:
        was_alive = is_alive(pid)  # before we look at the file, which an ending server removes
        process = read_process(data)
        if process is not None and process != stale and process.is_running:
            if process.is_ready:
                return process
        elif not was_alive:
            raise server_failure(data, _tail(log_of(data), log_start), log=log_of(data))
        time.sleep(0.01)
    raise EmbeddedServerError(
        f"the embedded PostgreSQL in {data} is not ready after {_START_PATIENCE:.0f} seconds (see {log_of(data)})"
    )


def stop(data: Path, mode: StopMode) -> None:
    """Stop the server on *data*, if one runs, and return when it has ended."""
    process = read_process(data)
    pid = process.pid if process is not None and process.is_running else None
    if process is None and pid_file(data).exists():
        pid = find_server(data)
    if pid is None:
        return
    os.kill(pid, _SIGNALS[mode])
    deadline = time.monotonic() + _STOP_PATIENCE
    while serves(pid, data):
        if time.monotonic() > deadline:
            raise EmbeddedServerError(
                f"the embedded PostgreSQL in {data} (pid {pid}) runs on after {_STOP_PATIENCE:.0f} seconds"
            )
        time.sleep(0.01)


def log_of(data: Path) -> Path:
    """The server's log, beside the data: in a folder of ours, not of the server's account."""
    return data.with_name("server.log")


def _tail(log: Path, start: int | None) -> str:
    with log.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(start if start is not None else 0, size - 20_000))
        return file.read().decode(errors="replace")
