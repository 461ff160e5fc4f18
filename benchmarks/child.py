"""What is measured in a process of its own: `python -m benchmarks.child WORK DSN ...`."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.processors import manager_of
from benchmarks.rows import stream_of


class ChildFailed(Exception):
    """A process of the benchmark did not end well; what it wrote to stderr is above."""


@contextmanager
def child(*arguments: str | int) -> Iterator[subprocess.Popen[str]]:
    """A child that has said it is ready; it is ended with the block if it has not ended by then."""
    command = [sys.executable, "-m", "benchmarks.child", *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        try:
            read_line(process)
            yield process
        finally:
            if process.poll() is None:
                process.kill()


def start(process: subprocess.Popen[str]) -> None:
    """Let a child that is ready begin."""
    assert process.stdin is not None
    process.stdin.write("go\n")
    process.stdin.flush()


def read_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise ChildFailed(f"the child {process.pid} said nothing and ended with {process.wait()}")
    return line


def _process(dsn: str, batch_id: str) -> None:
    """Work a batch that exists."""
    manager = manager_of(dsn)
    manager.get_batch(int(batch_id))
    _wait_for_go()
    manager.process_batch(int(batch_id))
    print("done", flush=True)


def _import(dsn: str, batch_type: str, count: str) -> None:
    """Create a batch of so many items and work it; print the peaks of memory, in bytes."""
    manager = manager_of(dsn)
    _wait_for_go()
    before = _peak_memory()
    batch_id = manager.create_batch(batch_type, stream_of(int(count), 0.01))
    created = _peak_memory()
    manager.process_batch(batch_id)
    print(json.dumps({"batch_id": batch_id, "before": before, "created": created, "processed": _peak_memory()}))


def _wait_for_go() -> None:
    print("ready", flush=True)
    sys.stdin.readline()


def _peak_memory() -> int:
    """The greatest resident memory of this process so far.

    Not `ru_maxrss` where it can be helped: on Linux that can be the parent's, from before the child became its own.
    """
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM:"))
        return int(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


if __name__ == "__main__":
    work, *arguments = sys.argv[1:]
    if work == "process":
        _process(*arguments)
    else:
        _import(*arguments)
