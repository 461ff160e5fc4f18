"""A PostgreSQL that ends with the run of tests that started it, however that ends."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from reliable_imports.embedded import THROW_AWAY, EmbeddedPostgres

# The pipe closes with the last of its writers, also when that is killed.
_WATCHER = """
import shutil, sys
from pathlib import Path
from reliable_imports.embedded import EmbeddedPostgres
folder = Path(sys.argv[1])
sys.stdin.read()
for home in folder.iterdir():
    EmbeddedPostgres(home).stop("immediate")
shutil.rmtree(folder)
"""


@contextmanager
def folder_of_servers() -> Iterator[Path]:
    """A folder for homes of embedded servers; those in it are stopped, and it is removed, when this process ends."""
    folder = Path(tempfile.mkdtemp(prefix="reliable-imports-tests-"))
    folder.chmod(0o711)  # a server started by root runs as another account
    with subprocess.Popen(
        [sys.executable, "-c", _WATCHER, str(folder)],
        stdin=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        start_new_session=True,  # Ctrl-C is for the tests alone
    ) as watcher:
        yield folder
        assert watcher.stdin is not None
        watcher.stdin.close()
    shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def throw_away_server() -> Iterator[str]:
    """The DSN of a server without durability, on which the caller may do anything."""
    with folder_of_servers() as folder:
        server = EmbeddedPostgres(folder / "server", settings=THROW_AWAY)
        server.start()
        yield server.dsn("postgres")
