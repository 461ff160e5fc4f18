"""What a program costs from the moment it is started to its end: time, its processor time, its peak of memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_ROOT = Path(__file__).parents[2]

# A process starts with the peak of the one that it was forked from, so a small one stands between it and us.
_LAUNCHER = """
import json, os, sys, time
started = time.perf_counter()
# The program's own output joins its errors, so that ours is the figures alone.
pid = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ, file_actions=[(os.POSIX_SPAWN_DUP2, 2, 1)])
_, status, used = os.wait4(pid, 0)
seconds = time.perf_counter() - started
peak = used.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
measured = {"seconds": seconds, "cpu": used.ru_utime + used.ru_stime, "peak": peak}
print(json.dumps({"status": os.waitstatus_to_exitcode(status), **measured}))
"""


class ProgramFailed(Exception):
    """A program that is measured did not end as it should; what it wrote is in the message."""


@dataclass(frozen=True, slots=True)
class Cost:
    """Seconds from start to end, seconds of processor time and bytes, of one process and those that it waited for."""

    seconds: float
    cpu: float
    peak: int
    status: int
    output: str


def run_program(arguments: Sequence[str], folder: Path, *, may_end_with: Sequence[int] = (0,)) -> Cost:
    """Run Python with *arguments*; what it writes goes to a file in *folder*.

    Raises:
        ProgramFailed: its exit status is none of *may_end_with*.
    """
    log = folder / "output"
    environment = {**os.environ, **_quiet(), "PYTHONPATH": os.pathsep.join([str(_ROOT), *filter(None, sys.path)])}
    with log.open("wb") as written:
        # -I -S: as small as an interpreter can be. What it starts gets the environment all the same.
        launched = subprocess.run(
            [sys.executable, "-I", "-S", "-c", _LAUNCHER, sys.executable, *arguments],
            stdout=subprocess.PIPE,
            stderr=written,
            cwd=folder,
            env=environment,
            check=True,
        )
    found = json.loads(launched.stdout.splitlines()[-1])
    output = log.read_text(encoding="utf-8", errors="replace")
    if found["status"] not in may_end_with:
        raise ProgramFailed(f"{' '.join(arguments)} ended with {found['status']}:\n{output[-3000:]}")
    return Cost(found["seconds"], found["cpu"], found["peak"], found["status"], output)


def _quiet() -> Mapping[str, str]:
    """No product calls home, and none fills the log."""
    return {"RUNTIME__DLTHUB_TELEMETRY": "false", "RUNTIME__LOG_LEVEL": "CRITICAL", "DO_NOT_TRACK": "1"}
