"""Projects and processors that are written for a person. Each module imports only from those below it.

project   an empty folder becomes a project
draft     a sample, or a table, becomes a processor, its table and a test
files     what is written where; nothing is overwritten unasked
code      Python and SQL, as a person would write them
keys      what tells one row from another
columns   what a column holds: its type, and how many of its values agree
kinds     what one value may be
layouts   how a file has to be read: encoding, delimiter, header, footer
names     names for SQL and for Python
"""
