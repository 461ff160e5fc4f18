"""Declared writes: a row for a table as values of Python becomes what the table's columns take.

plans        the plans that a run has made so far
plan         a kind of write to a table: its statements, and whether many rows may share one
prediction   rows that the server will likely refuse
refusals     what the server's refusal is about, where it does not say
values       a value as the text that PostgreSQL reads for a column
keys         which unique index says which row an item is about
target       what the catalogue says of a table
identifiers  names in SQL

Public are the names below, for programs that ask the tables that processors write to.
"""

from reliable_imports.writes.identifiers import quoted, quoted_table

__all__ = ["quoted", "quoted_table"]
