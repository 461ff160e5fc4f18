"""Declared writes: a row for a table as values of Python becomes what the table's columns take.

plans         the plans that a run has made so far
plan          a kind of write to a table: what is known of it, its rows, and the statements for one row
many_rows     the statements for many rows
insert        the parts that both have in common
prediction    rows that the server will likely refuse
key           the key of a kind of row: its texts, and SQL that finds and names the row it is for
row_texts     the values of a row as texts
values        a value as the text that PostgreSQL reads for a column
joined_texts  the texts of many rows as one for each column
key_index     which unique index says which row an item is about
target        what the catalogue says of a table
request       what a processor asks for
origin        where the repeats of an item began
refusals      what the server's refusal is about, where it does not say
identifiers   names in SQL, and constants

Public are the names below, for programs that ask the tables that processors write to.
"""

from reliable_imports.writes.identifiers import quoted, quoted_table

__all__ = ["quoted", "quoted_table"]
