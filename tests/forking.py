"""Processes that begin where their modules are imported: forked from one that has done so and does nothing else.

To start Python and to import what a command needs is most of the time of a short process. What is forked is a process
of its own all the same: with its own arguments, variables, folder, output and end, and without any state of another.

python -m tests.forking SOCKET MODULE... is that process; it ends with the one that started it.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

from tests.running import ROOT

_LENGTH = 4


class Fork:
    """A process that runs a module, with the part of `subprocess.Popen` that is used; its three streams are pipes."""

    def __init__(
        self, channel: socket.socket, module: str, arguments: Sequence[str], cwd: Path, env: Mapping[str, str]
    ) -> None:
        request = json.dumps([module, list(arguments), str(cwd), dict(env)]).encode()
        pipes = [os.pipe() for _ in range(4)]
        (stdin, given), (out, stdout), (err, stderr), (told, status) = pipes
        socket.send_fds(channel, [len(request).to_bytes(_LENGTH, "big")], [stdin, stdout, stderr, status])
        channel.sendall(request)
        for theirs in (stdin, stdout, stderr, status):
            os.close(theirs)
        self.stdin = os.fdopen(given, "wb", buffering=0)
        self.stdout = os.fdopen(out, "rb")
        self.stderr = os.fdopen(err, "rb")
        self._told = os.fdopen(told, "rb", buffering=0)
        self.pid = int(self._told.readline())
        self.returncode: int | None = None

    def poll(self) -> int | None:
        return self._wait(0)

    def wait(self, timeout: float | None = None) -> int:
        status = self._wait(timeout)
        if status is None:
            raise subprocess.TimeoutExpired(str(self.pid), timeout or 0)
        return status

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def close(self) -> None:
        for each in (self.stdin, self.stdout, self.stderr, self._told):
            each.close()

    def _wait(self, timeout: float | None) -> int | None:
        if self.returncode is None and select.select([self._told], [], [], timeout)[0]:
            self.returncode = int(self._told.readline())
        return self.returncode

    def communicate(self, given: bytes) -> tuple[bytes, bytes]:
        """Give it all of its input, and wait for all of its output."""
        with ThreadPoolExecutor(2) as readers:
            out, err = (readers.submit(stream.read) for stream in (self.stdout, self.stderr))
            with suppress(BrokenPipeError):  # it did not want all of it
                self.stdin.write(given)
            self.stdin.close()
            return out.result(), err.result()


@cache
def _channel(modules: tuple[str, ...]) -> socket.socket:
    ours, theirs = socket.socketpair()
    command = [sys.executable, "-m", "tests.forking", str(theirs.fileno()), *modules]
    process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.DEVNULL, pass_fds=[theirs.fileno()])
    theirs.close()
    _STARTED.append(process)
    return ours


_STARTED: list[subprocess.Popen[bytes]] = []


def fork(
    imported: tuple[str, ...], module: str, arguments: Sequence[str], *, cwd: Path, env: Mapping[str, str]
) -> Fork:
    """Run *module* as `python -m` does, by a process in which *imported* are."""
    return Fork(_channel(imported), module, arguments, cwd, env)


def _serve(channel: socket.socket) -> Any:
    """Fork for each request. Returns it in the process that is to do it, and nothing where no more come."""
    woken, wakes = os.pipe()
    os.set_blocking(wakes, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wakes)
    running: dict[int, int] = {}
    while True:
        ready, _, _ = select.select([channel, woken], [], [])
        if woken in ready:
            os.read(woken, 100)
            for pid in list(running):
                found, status = os.waitpid(pid, os.WNOHANG)
                if found:
                    _tell(running.pop(pid), os.waitstatus_to_exitcode(status), is_last=True)
        if channel not in ready:
            continue
        length, given, _, _ = socket.recv_fds(channel, _LENGTH, 4)
        if not length:
            return None
        request = channel.recv(int.from_bytes(length, "big"), socket.MSG_WAITALL)
        pid = os.fork()
        if pid == 0:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            for number, stream in enumerate(given[:3]):
                os.dup2(stream, number)
            channel.close()
            for each in (woken, wakes, *given, *running.values()):
                os.close(each)
            return json.loads(request)
        running[pid] = given[3]
        _tell(given[3], pid)
        for each in given[:3]:
            os.close(each)


def _tell(pipe: int, number: int, *, is_last: bool = False) -> None:
    with suppress(BrokenPipeError):  # nobody asks any more
        os.write(pipe, f"{number}\n".encode())
    if is_last:
        os.close(pipe)


def _main() -> None:
    for each in sys.argv[2:]:
        importlib.import_module(each)
    gc.freeze()
    request = _serve(socket.socket(fileno=int(sys.argv[1])))
    if request is None:
        return
    module, arguments, cwd, variables = request
    os.environ.clear()
    os.environ.update(variables)
    os.chdir(cwd)
    sys.path[0] = cwd
    encoding = {"encoding": sys.__stdout__.encoding, "closefd": False} if sys.__stdout__ else {}
    sys.stdin = open(0, **encoding)  # noqa: SIM115
    sys.stdout = open(1, "w", **encoding)  # noqa: SIM115
    sys.stderr = open(2, "w", errors="backslashreplace", buffering=1, **encoding)  # noqa: SIM115
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    _main()
