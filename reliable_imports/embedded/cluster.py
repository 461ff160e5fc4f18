"""The data folder: made whole or not at all, and changed while no server runs on it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from reliable_imports.embedded.account import Account
from reliable_imports.embedded.binaries import Binaries
from reliable_imports.embedded.problems import server_failure


@dataclass(frozen=True, slots=True)
class ClusterMaker:
    """Runs PostgreSQL's programs on a data folder that no server uses.

    The programs inherit the lock: should we be killed, the next start waits for their end before it clears up.

    Attributes:
        lock: descriptor of the lock that guards the folder.
    """

    binaries: Binaries
    account: Account
    lock: int

    def create(self, data: Path, *, owner: str, password: str, database: str, sync: bool) -> None:
        """Make a cluster with one role, the superuser *owner*, and one database; or leave nothing called *data*.

        Args:
            sync: the files are on the disk before they count, so that a power failure cannot tear them.
        """
        new = data.with_name(f"{data.name}.new")
        if new.exists():
            shutil.rmtree(new)  # a killed start left it
        new.mkdir(0o700)
        self.account.give(new)
        access = ["-U", owner, "-A", "scram-sha-256", "--pwfile=/dev/stdin"]
        files = ["-D", str(new), "-E", "UTF8", "--no-locale", *([] if sync else ["--no-sync"])]
        self._run(new, [str(self.binaries.initdb), *access, *files], password)
        self.run_sql(new, f"CREATE DATABASE {database}")
        new.rename(data)
        if sync:
            for folder in (data.parent, data.parent.parent):
                _sync_folder(folder)

    def run_sql(self, data: Path, statement: str) -> None:
        """Run one statement in a process of its own; nothing can connect meanwhile."""
        quiet = ["-c", "log_min_error_statement=panic"]  # the statement may hold a password
        command = [str(self.binaries.postgres), "--single", "-D", str(data), *quiet, "postgres"]
        said = self._run(data, command, f"{statement};")
        if "ERROR: " in said:
            raise server_failure(data, said)

    def _run(self, data: Path, command: Sequence[str], line: str) -> str:
        # A password goes through a pipe, never through a file that the server's account, or anybody, may read.
        reader, writer = os.pipe()
        try:
            with open(writer, "w") as pipe:
                pipe.write(f"{line}\n")
            self.account.give(reader)
            result = self.account.run(command, stdin=reader, pass_fds=(self.lock,))
        finally:
            os.close(reader)
        said = result.stdout + result.stderr
        if result.returncode:
            raise server_failure(data, said)
        return said


def _sync_folder(folder: Path) -> None:
    """Put the names in *folder* on the disk: else a power failure could undo the move of a cluster already in use."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
