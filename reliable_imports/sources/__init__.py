"""Files as items: streamed, each exactly as it stands, nothing lost."""

from reliable_imports.items.source_item import SourceItem
from reliable_imports.sources.options import Format, SourceOptions
from reliable_imports.sources.source import Source, open_source

__all__ = ["Format", "Source", "SourceItem", "SourceOptions", "open_source"]
