"""What is measured, a module for each question."""

from benchmarks.scenarios import (
    csv_file,
    dirty,
    failures,
    flights,
    growth,
    ingest,
    memory,
    placement,
    processing,
    status,
    stored_bytes,
    two_workers,
)
from benchmarks.scenarios.bench import Bench, Scenario

SCENARIOS: dict[str, Scenario] = {
    "processing": processing.run,
    "placement": placement.run,
    "ingest": ingest.run,
    "csv": csv_file.run,
    "workers": two_workers.run,
    "growth": growth.run,
    "status": status.run,
    "failures": failures.run,
    "memory": memory.run,
    "bytes": stored_bytes.run,
    "flights": flights.run,
    "dirty": dirty.run,
}

__all__ = ["SCENARIOS", "Bench", "Scenario"]
