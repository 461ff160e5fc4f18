"""Files as items: streamed, each exactly as it stands, nothing lost; and where files are, by path or URL.

source    a file as items
options   how it is to be read
findings  what reading it finds out beside its items
hints     what to declare when its header is none that the processor knows
again     the kept bytes of one row, read again
limits    how much may become of a file
stored/   where its bytes are, and how they come
text/     CSV, TSV and JSON
tables/   workbooks and Parquet
"""

from reliable_imports.items.source_item import SourceItem
from reliable_imports.sources.options import Format, SourceOptions
from reliable_imports.sources.source import Source, open_source
from reliable_imports.sources.stored.location import (
    FileState,
    file_name,
    is_url,
    locate,
    locate_partition,
    shown,
    state_of_info,
)

__all__ = [
    "FileState",
    "Format",
    "Source",
    "SourceItem",
    "SourceOptions",
    "file_name",
    "is_url",
    "locate",
    "locate_partition",
    "open_source",
    "shown",
    "state_of_info",
]
