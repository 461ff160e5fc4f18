"""Declared writes: a row for a table as values of Python becomes what the table's columns take.

target      what the catalogue says of a table
values      a value as the text that PostgreSQL reads for a column
plan        a kind of write to a table: its statements, and whether many rows may share one
plans       the plans that a run has made so far
identifiers names in SQL

Public are the names below, for programs that ask the tables that processors write to.
"""

from reliable_imports.writes.identifiers import quoted, quoted_table

__all__ = ["quoted", "quoted_table"]
