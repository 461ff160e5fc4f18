"""How a file has to be read, guessed from what stands in it. Each module imports only from those below it.

find           which format a file has, and so who looks at it
delimited      delimiter, header, and the footer
sheets         which sheet of a workbook, its header, and what stands beneath the rows
json_document  where the items of a document are
endings        totals and notes, which are no rows
layout         what is found
"""

from reliable_imports.scaffold.layouts.find import find_layout
from reliable_imports.scaffold.layouts.layout import Layout

__all__ = ["Layout", "find_layout"]
