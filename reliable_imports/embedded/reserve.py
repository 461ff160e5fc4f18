"""Room kept free on the data's disk, to be given to a server that has filled it up.

Such a server stops, needs room to start again, and can give back what a broken-off import has left only when it runs.
Without this, somebody would have to find room on a disk that may hold nothing but the data.
"""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from pathlib import Path

SIZE = 48 * 1024 * 1024
"""Three segments of the write-ahead log: what recovery takes, and one to go on with."""

_PLENTY = 5 * SIZE


def keep_reserve(data: Path) -> None:
    """Make the reserve beside *data*, unless it is there, or the disk is so full that it would do harm."""
    place = reserve_of(data)
    if place.exists() or free_bytes(data) < _PLENTY:
        return
    half_made = place.with_name(f"{place.name}.new")
    try:
        with open(os.open(half_made, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW, 0o600), "wb") as file:
            for _ in range(SIZE // 2**20):  # not a hole, and nothing that a disk can compress
                file.write(os.urandom(2**20))
        half_made.replace(place)
    except OSError:  # a quota, or another process was faster with the disk
        half_made.unlink(missing_ok=True)


def release_reserve(data: Path) -> bool:
    """Give the reserve back to the disk; whether there was one."""
    try:
        reserve_of(data).unlink()
    except FileNotFoundError:
        return False
    return True


def reserve_of(data: Path) -> Path:
    return data.with_name("reserve")


def free_bytes(place: Path) -> int:
    """What is left on the disk of *place*; none if that cannot be known."""
    with suppress(OSError):
        return shutil.disk_usage(place).free
    return 0
