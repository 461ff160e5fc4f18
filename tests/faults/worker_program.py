"""The program of a worker process: `python -m tests.faults.worker_program DSN BATCH STOP_AT`."""

from __future__ import annotations

import os
import sys

from reliable_imports import BatchManager, RunInterrupted
from reliable_imports.engine.isolation import savepoints
from reliable_imports.engine.work import chunk
from tests.faults.mutants import apply_mutant
from tests.faults.targets import PROCESSORS, STOP_AT


def main(dsn: str, batch_id: int, stop_at: int) -> None:
    mutant = os.environ.get("FAULTS_MUTANT")
    if mutant or stop_at:  # what is to be seen, or to stand still, is in the middle of a chunk, however slow that is
        chunk.MAX_SECONDS = savepoints._MAX_REPEATED_SECONDS = 600.0
    if mutant:
        apply_mutant(mutant)
    if stop_at:
        STOP_AT["item"] = stop_at
    manager = BatchManager(dsn)
    for processor in PROCESSORS:
        manager.registry.register(processor)
    print("ready", flush=True)
    sys.stdin.readline()
    try:
        summary = manager.process_batch(batch_id)
    except (RunInterrupted, KeyboardInterrupt) as error:
        print(f"interrupted {type(error).__name__} {error}", flush=True)
    else:
        print(f"finished {summary.status}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
