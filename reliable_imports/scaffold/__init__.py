"""Projects and processors that are written for a person. Each module imports only from those below it.

files     what is written where; nothing is overwritten unasked
code      Python and SQL, as a person would write them
tables    the columns of a table that exists
draft     what a sample, or a table, becomes
samples   a file read to its end, as its import would read it
keys      what tells one row from another
columns   what a column holds: its type, and how many of its values agree
kinds     what one value may be
remedies  other options, where a sample could not be read well
layouts/  how a file has to be read: delimiter, header, footer, sheet, array
texts     the encoding, the first lines and the last of a text
names     names for SQL and for Python
"""

from reliable_imports.scaffold.draft import draft_for_table, draft_from_file
from reliable_imports.scaffold.files import NewFile, processor_and_table, write_files

__all__ = ["NewFile", "draft_for_table", "draft_from_file", "processor_and_table", "write_files"]
