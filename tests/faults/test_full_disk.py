"""The disk of the target table is full: the batch pauses, no item is blamed, and it goes on when there is room."""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from reliable_imports import BatchManager, EmbeddedServerError
from reliable_imports.embedded import DURABLE, THROW_AWAY, EmbeddedPostgres
from reliable_imports.embedded.account import find_account
from tests.faults.checker import assert_sound
from tests.faults.targets import BATCH_TYPES, PROCESSORS, items
from tests.faults.totals import TOTALS
from tests.faults.workers import workers

Sql = Callable[..., list[tuple[Any, ...]]]


@contextmanager
def mounted(size: str) -> Iterator[Path]:
    """A file system of so many bytes."""
    folder = Path(tempfile.mkdtemp(prefix="reliable-imports-disk-"))
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size},mode=755", "tmpfs", str(folder)]
    try:
        refused = subprocess.run(mount, capture_output=True, text=True, check=False)
        problem = refused.stderr.strip() if refused.returncode else ""
    except FileNotFoundError:
        problem = "there is no mount command"
    if problem:
        folder.rmdir()
        reason = f"full disk: no small file system can be mounted here ({problem.splitlines()[0]})"
        TOTALS.not_run.append(reason)
        pytest.skip(reason)
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)
        folder.rmdir()


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """A file system of two megabytes that the server may write to."""
    with mounted("2m") as folder:
        (folder / "space").mkdir(mode=0o700)
        find_account().give(folder / "space")
        yield folder


@pytest.fixture
def own_disk() -> Iterator[Path]:
    """A file system on which a server has all of its data, and a little room."""
    with mounted("400m") as folder:
        yield folder


def fill(disk: Path) -> Path:
    """The file that takes all that is left."""
    filler = disk / "filler"
    with filler.open("wb") as file, suppress(OSError):
        while True:
            file.write(b"x" * 2**20)
            file.flush()
    return filler


def endless() -> Iterator[object]:
    for number in itertools.count():
        yield {"id": number, "note": "long " * 200}


@pytest.mark.parametrize("batch_type", BATCH_TYPES)
def test_a_full_disk_pauses_the_batch(
    manager: BatchManager, dsn: str, sql: Sql, small_disk: Path, batch_type: str
) -> None:
    space = f"small_{os.path.basename(small_disk).rpartition('-')[2]}".lower()
    sql(f"CREATE TABLESPACE {space} LOCATION '{small_disk / 'space'}'")
    sql(f"ALTER TABLE written SET TABLESPACE {space}")
    try:
        made = items(600, note="long " * 1000)
        for number, item in enumerate(made):
            item["note"] += str(number)
        sql("ALTER TABLE written ALTER COLUMN note SET STORAGE EXTERNAL")
        batch_id = manager.create_batch(batch_type, made)
        with workers(dsn, batch_id) as (worker,):
            assert worker.go().wait() == "finished paused", worker.said
        full = assert_sound(dsn, batch_id)
        assert (full.status, full.failed) == ("paused", ())
        assert 0 < full.open < 600
        assert "No space left" in (manager.get_summary(batch_id).pause_reason or "")

        sql("ALTER TABLE written SET TABLESPACE pg_default")
        with workers(dsn, batch_id) as (worker,):
            assert worker.go().wait() == "finished completed", worker.said
        assert_sound(dsn, batch_id, is_finished=True)
    finally:
        sql("ALTER TABLE written SET TABLESPACE pg_default")
        sql(f"DROP TABLESPACE {space}")


def test_a_server_that_has_filled_its_disk_starts_again_and_gives_back_what_it_took(own_disk: Path) -> None:
    """Nothing but the server is on the disk, so nobody could make room on it."""
    server = EmbeddedPostgres(own_disk / "home", settings=DURABLE)
    try:
        manager = BatchManager(server.start())
        for processor in PROCESSORS:
            manager.registry.register(processor)
        kept = manager.create_batch(BATCH_TYPES[0], items(100))
        with pytest.raises(psycopg2.Error, match="No space left on device"):
            manager.create_batch(BATCH_TYPES[0], endless())
        server.stop("immediate")  # if it has not ended yet by itself
        before = shutil.disk_usage(own_disk).free

        manager = BatchManager(server.start())

        assert [summary.batch_id for summary in manager.list_batches()] == [kept]
        assert shutil.disk_usage(own_disk).free > before + 50 * 2**20
        server.stop()
        assert [each.problems for each in BatchManager(server.start()).verify()] == [()]
    finally:
        server.stop("immediate")


@pytest.mark.parametrize("settings", [DURABLE, THROW_AWAY])
def test_a_server_that_finds_its_disk_full_says_where_and_how_much_it_needs(
    own_disk: Path, settings: dict[str, str]
) -> None:
    server = EmbeddedPostgres(own_disk / "home", settings=settings)
    try:
        server.start()
        server.stop("immediate")
        (own_disk / "home" / "postgres" / "reserve").unlink(missing_ok=True)
        filler = fill(own_disk)

        with pytest.raises(EmbeddedServerError, match=r"data-\d+ is full: 0 MB are left, and it needs 48 MB to start"):
            server.start()

        filler.unlink()
        server.start()
    finally:
        server.stop("immediate")


def test_a_server_that_finds_its_disk_full_starts_with_its_reserve(own_disk: Path) -> None:
    server = EmbeddedPostgres(own_disk / "home", settings=DURABLE)
    try:
        server.start()
        server.stop("immediate")
        filler = fill(own_disk)
        reserve = own_disk / "home" / "postgres" / "reserve"
        assert reserve.stat().st_size == 48 * 2**20

        server.start()

        assert not reserve.exists()
        server.stop()
        filler.unlink()
        server.start()
        assert reserve.exists(), "there is room for it again"
    finally:
        server.stop("immediate")
