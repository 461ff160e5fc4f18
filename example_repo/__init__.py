"""What a team's repository looks like: real data, the tables it goes to, and one processor for each kind of import."""

from pathlib import Path

DATA = Path(__file__).parent / "data"
"""The files that the processors read when none is named."""

TABLES_SQL = Path(__file__).parent / "tables.sql"
"""Makes the tables of all processors; safe to repeat."""
