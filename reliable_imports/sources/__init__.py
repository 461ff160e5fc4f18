"""Files as items: streamed, each exactly as it stands, nothing lost; and where files are, by path or URL."""

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
