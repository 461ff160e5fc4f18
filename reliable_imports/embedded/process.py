"""The server's process, as its pid file tells it and the kernel confirms it."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from pathlib import Path

_HAS_PROC = Path("/proc/self/cmdline").exists()  # macOS has none
_WORD_END = "\0" if _HAS_PROC else " "


@dataclass(frozen=True, slots=True)
class ServerProcess:
    """What `postmaster.pid` says; it may have been left by a crash, so ask `is_running`.

    Attributes:
        started: seconds since 1970; with the pid it tells one server from another.
        is_ready: connections are accepted.
    """

    data: Path
    pid: int
    started: int
    port: int
    is_ready: bool

    @property
    def is_running(self) -> bool:
        """Whether the pid is a server of this data: it may be dead, a zombie, or somebody else's by now."""
        return serves(self.pid, self.data)


def read_process(data: Path) -> ServerProcess | None:
    """The process that *data* names; None if it names none, or the file is being written."""
    try:
        lines = pid_file(data).read_text(encoding="utf-8", errors="replace").splitlines()
        return ServerProcess(
            data,
            pid=int(lines[0]),
            started=int(lines[2]),
            port=int(lines[3]),
            is_ready=len(lines) > 7 and lines[7].strip() == "ready",
        )
    except (FileNotFoundError, NotADirectoryError, ValueError, IndexError):
        return None


def pid_file(data: Path) -> Path:
    return data / "postmaster.pid"


def find_server(data: Path) -> int | None:
    """The pid of the server of *data*, for when its pid file cannot be read; None if there is none."""
    if _HAS_PROC:
        pids = [entry.name for entry in Path("/proc").iterdir() if entry.name.isdecimal()]
    else:
        pids = subprocess.run(["ps", "-axo", "pid="], capture_output=True, text=True, check=True).stdout.split()
    # The lowest: a process that the server has forked this moment still has its command line.
    return min((int(pid) for pid in pids if serves(int(pid), data)), default=None)


def serves(pid: int, data: Path) -> bool:
    """Whether *pid* is a server of *data*, which may have been moved since the server was started."""
    command = _command_line(pid)
    if f"-D{_WORD_END}" not in command:
        return False
    try:
        return os.path.samefile(f"/proc/{pid}/cwd", data)  # a server works in its data
    except OSError:
        return f"-D{_WORD_END}{data}{_WORD_END}" in command


def is_alive(pid: int) -> bool:
    """Whether *pid* is a process that runs; a zombie does not."""
    if _command_line(pid).strip(_WORD_END):
        return True
    # A process has no command line either in the moment in which it becomes another program.
    return _HAS_PROC and _state(pid) not in ("", "Z", "X")


def _state(pid: int) -> str:
    """The letter for what process *pid* does; empty if there is none."""
    try:
        told = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return ""
    return told.rpartition(")")[2].strip()[:1]


def _command_line(pid: int) -> str:
    """The words that process *pid* was started with, each ended; empty if there is none, or only its zombie."""
    if _HAS_PROC:
        try:
            return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="surrogateescape")
        except (FileNotFoundError, ProcessLookupError):
            return ""
    shown = subprocess.run(["ps", "-ww", "-o", "command=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return shown.stdout.strip() + _WORD_END


def is_taken(pid: int) -> bool:
    """Whether there is a process *pid*, whosever it is; a zombie counts."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
