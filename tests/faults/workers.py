"""Workers as processes of their own: started ready, told to go, killed without warning."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from tests.faults.totals import TOTALS
from tests.faults.waiting import PATIENCE
from tests.forking import fork
from tests.running import ROOT


class WorkerProcess:
    """A process that works one batch (see worker_program.py). Its output is read beside, line by line."""

    def __init__(self, dsn: str, batch_id: int, *, stop_at: int | None = None, mutant: str | None = None) -> None:
        self.process = fork(
            ("reliable_imports.manager", "tests.faults.mutants", "tests.faults.targets"),
            "tests.faults.worker_program",
            [dsn, str(batch_id), str(stop_at or 0)],
            cwd=ROOT,
            env={**os.environ, "FAULTS_MUTANT": mutant or ""},
        )
        self.lines: list[str] = []
        self.errors: list[str] = []
        self._changed = threading.Condition()
        self._readers = [
            threading.Thread(target=self._read, args=(self.process.stdout, self.lines), daemon=True),
            threading.Thread(target=self._read, args=(self.process.stderr, self.errors), daemon=True),
        ]
        for reader in self._readers:
            reader.start()

    def go(self) -> WorkerProcess:
        """Let it work, or go on from where it stopped."""
        self.process.stdin.write(b"\n")
        return self

    def go_if_running(self) -> None:
        with suppress(BrokenPipeError):
            self.go()

    def wait_for_line(self, line: str) -> None:
        """Wait until it has said *line*."""
        with self._changed:
            said = self._changed.wait_for(lambda: line in self.lines or not self.is_running, timeout=PATIENCE)
            if line not in self.lines:
                waited = "it ended" if said else f"{PATIENCE:.0f} seconds passed"
                raise AssertionError(f"{waited} before the worker said {line!r}\n{self.said}")

    def wait(self) -> str:
        """Wait for its end and return its last words: `finished <status>`, `interrupted`, or nothing if it died."""
        self.process.wait(PATIENCE)
        for reader in self._readers:
            reader.join(PATIENCE)
        return next((line for line in reversed(self.lines) if line.startswith(("finished", "interrupted"))), "")

    def kill(self) -> None:
        if self.is_running:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
            TOTALS.add("kills")

    @property
    def is_running(self) -> bool:
        return self.process.poll() is None

    @property
    def said(self) -> str:
        return "\n".join([*self.lines, *self.errors])

    def close(self) -> None:
        """End it, however it stands; not counted as a kill."""
        self.process.kill()
        self.process.wait()
        for reader in self._readers:
            reader.join(PATIENCE)
        self.process.close()

    def _read(self, pipe: Iterator[bytes], lines: list[str]) -> None:
        for line in pipe:
            with self._changed:
                lines.append(line.decode().rstrip("\n"))
                self._changed.notify_all()
        with self._changed:
            self._changed.notify_all()


@contextmanager
def workers(
    dsn: str, batch_id: int, count: int = 1, *, stop_at: int | None = None, mutant: str | None = None
) -> Iterator[list[WorkerProcess]]:
    """So many workers, ready and waiting for `go`; none of them outlives the block."""
    started = [WorkerProcess(dsn, batch_id, stop_at=stop_at, mutant=mutant) for _ in range(count)]
    try:
        for worker in started:
            worker.wait_for_line("ready")
        yield started
    finally:
        for worker in started:
            worker.close()
