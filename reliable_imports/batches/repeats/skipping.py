"""Giving up: a repeat batch whose items are skipped, and which is closed at once."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from typing import Any

from reliable_imports.batches.counts import count_batch
from reliable_imports.postgres.queries import load
from reliable_imports.statuses import Runner

_REPROCESS = load("reprocess.sql")
_WORK = load("work.sql")


def skip_repeats(cursor: Any, batch_id: int, runner: Runner, skip: str, parameters: Mapping[str, Any]) -> None:
    """Skip all items of a repeat batch that was just made, and close it.

    Args:
        skip: the query that says why each is skipped, and its parameters.
    """
    cursor.execute(
        _REPROCESS["skip_run"],
        {
            "batch_id": batch_id,
            # A decision needs no Dagster run, even where one asks for it.
            "runner": (Runner.PYTHON if runner is Runner.DAGSTER else runner).value,
            "host": socket.gethostname(),
            "process_id": os.getpid(),
        },
    )
    ((run_id,),) = cursor.fetchall()
    cursor.execute(_REPROCESS[skip], {**parameters, "batch_id": batch_id, "run_id": run_id})
    cursor.execute(_REPROCESS["skip_ranges"], {"batch_id": batch_id})
    cursor.execute(_REPROCESS["skip_batch"], {"batch_id": batch_id})
    count_batch(cursor, batch_id)
