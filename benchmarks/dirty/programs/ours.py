"""Reliable Imports by its Python API: the file as a batch, and the batch processed."""

from __future__ import annotations

import sys

from reliable_imports import BatchManager


def main(dsn: str, path: str, batch_type: str, package: str) -> None:
    manager = BatchManager(dsn)
    manager.registry.discover(package)
    batch_id = manager.create_batch(batch_type, manager.open_source(batch_type, path))
    summary = manager.process_batch(batch_id)
    print(summary.completed_items, "completed,", summary.failed_items, "failed")


if __name__ == "__main__":
    main(*sys.argv[1:])
