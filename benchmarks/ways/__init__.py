"""Ways to import rows: ours, the yardstick, what teams write by hand, and other products; a module each."""

from benchmarks.ways.way import Way, all_ways

__all__ = ["Way", "all_ways"]
