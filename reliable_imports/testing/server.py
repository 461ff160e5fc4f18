"""A PostgreSQL that ends with the run of tests that started it, however that ends."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import psycopg2

from reliable_imports.embedded import THROW_AWAY, EmbeddedPostgres
from reliable_imports.postgres.dsn import parse_dsn
from reliable_imports.postgres.queries import load

_TESTING = load("testing.sql")
_MEMORY = Path("/dev/shm")
_ROOM = 4 * 2**30  # some servers, with what they keep of their log

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
    folder = Path(tempfile.mkdtemp(prefix="reliable-imports-tests-", dir=folder_in_memory()))
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


def folder_in_memory() -> Path | None:
    """Where the machine lends memory as a folder; None if it does not, or too little, or TMPDIR says another place.

    Whoever makes and drops a database makes and deletes hundreds of files, which is most of the time of a short test.
    """
    if sys.platform != "linux" or "TMPDIR" in os.environ:
        return None
    try:
        lent = os.statvfs(_MEMORY)
    except OSError:
        return None
    has_room = lent.f_bavail * lent.f_frsize >= _ROOM
    runs_programs = not lent.f_flag & os.ST_NOEXEC
    return _MEMORY if has_room and runs_programs and os.access(_MEMORY, os.W_OK) else None


@contextmanager
def throw_away_server() -> Iterator[str]:
    """The DSN of a server without durability, on which the caller may do anything."""
    with folder_of_servers() as folder:
        yield start_server(folder / "server")


def start_server(home: Path) -> str:
    """The DSN of a server without durability in *home*, which *folder_of_servers* gave a place."""
    server = EmbeddedPostgres(home, settings=THROW_AWAY)
    server.start()
    dsn = server.dsn("postgres")
    with closing(psycopg2.connect(dsn)) as connection, connection, connection.cursor() as cursor:
        cursor.execute(_TESTING["log_in_quickly"], parse_dsn(dsn))
    return dsn
