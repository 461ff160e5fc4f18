from __future__ import annotations

import os
import sys
import tempfile
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import psycopg2
import pytest

from reliable_imports.testing import server
from reliable_imports.testing.server import folder_in_memory, folder_of_servers

GIGABYTE = 2**30


def lends(monkeypatch: pytest.MonkeyPatch, place: Path, *, free: int, flags: int = 0) -> None:
    monkeypatch.delenv("TMPDIR", raising=False)
    monkeypatch.setattr(server, "_MEMORY", place)
    lent = SimpleNamespace(f_bavail=free, f_frsize=1, f_flag=flags)
    monkeypatch.setattr(os, "statvfs", lambda path: lent)


@pytest.mark.skipif(sys.platform != "linux", reason="Linux lends memory as a folder")
def test_memory_is_used_that_has_room_and_runs_programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lends(monkeypatch, tmp_path, free=5 * GIGABYTE)
    assert folder_in_memory() == tmp_path
    lends(monkeypatch, tmp_path, free=GIGABYTE)
    assert folder_in_memory() is None
    lends(monkeypatch, tmp_path, free=5 * GIGABYTE, flags=os.ST_NOEXEC)
    assert folder_in_memory() is None


def test_the_servers_are_where_tmpdir_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    with folder_of_servers() as folder:
        assert folder.parent == tmp_path
    assert not folder.exists()


def test_a_password_of_a_throw_away_server_has_one_round(server_dsn: str, pytestconfig: pytest.Config) -> None:
    if pytestconfig.getoption("--test-dsn"):
        pytest.skip("that server is somebody's")
    with closing(psycopg2.connect(server_dsn)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT rolpassword LIKE 'SCRAM-SHA-256$1:%' FROM pg_authid WHERE rolname = current_user")
        assert cursor.fetchone() == (connection.info.server_version >= 160000,)
