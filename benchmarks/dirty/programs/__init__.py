"""Each imports FILE into the database of DSN: `python -m benchmarks.dirty.programs.NAME DSN FILE SHAPE`."""
