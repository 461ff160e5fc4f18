"""The disk of the target table is full: the batch pauses, no item is blamed, and it goes on when there is room."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from reliable_imports import BatchManager
from reliable_imports.embedded.account import find_account
from tests.faults.checker import assert_sound
from tests.faults.targets import BATCH_TYPES, items
from tests.faults.totals import TOTALS
from tests.faults.workers import workers

Sql = Callable[..., list[tuple[Any, ...]]]


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """A file system of two megabytes that the server may write to."""
    folder = Path(tempfile.mkdtemp(prefix="reliable-imports-disk-"))
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)]
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
    (folder / "space").mkdir(mode=0o700)
    find_account().give(folder / "space")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)
    folder.rmdir()


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
