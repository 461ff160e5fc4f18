"""Which format a file has, and so who looks at it."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice

from reliable_imports.errors import SourceError
from reliable_imports.scaffold import texts
from reliable_imports.scaffold.layouts.delimited import delimited_layout
from reliable_imports.scaffold.layouts.json_document import is_json, json_layout
from reliable_imports.scaffold.layouts.layout import Layout
from reliable_imports.scaffold.layouts.sheets import sheet_layout
from reliable_imports.sources.limits import MAX_CONTENT_BYTES, MAX_ITEMS, MAX_RATIO, Growth
from reliable_imports.sources.options import Format, SourceOptions, format_of_name
from reliable_imports.sources.stored.files import StoredFile
from reliable_imports.sources.stored.location import Location, file_name, open_location


def find_layout(location: Location, source: str) -> Layout:
    """
    Raises:
        SourceError: the file cannot be read, or holds no table.
    """
    given = _format_by_name(location, source)
    form = given or _format_by_content(source, location)
    named = SourceOptions() if given is not None else SourceOptions(format=form)
    if form == "parquet":
        return Layout(form, named, (("format", "Parquet"),))
    if form == "xlsx":
        return sheet_layout(source, _stored(source, location), named)
    seen = texts.glimpse(_stored(source, location).blocks())
    if form in ("csv", "tsv") and seen.head.lstrip()[:1] in ("[", "{") and is_json(seen.head):
        form = "json"
        named = replace(named, format="json")
    options = named if seen.encoding == "utf-8" else replace(named, encoding=seen.encoding)
    if form in ("json", "jsonl"):
        return json_layout(_stored(source, location), form, options, seen)
    return delimited_layout(source, form, options, seen)


def _format_by_name(location: Location, source: str) -> Format | None:
    """None if the name says nothing; an archive's only file may say it."""
    try:
        found = format_of_name(source, file_name(location))
    except SourceError as error:
        if "does not say the format" in str(error):
            return None
        raise
    if found is not None:
        return found
    from reliable_imports.sources import open_source

    return open_source(location)._format_of_member()


def _stored(source: str, location: Location) -> StoredFile:
    return StoredFile(location, Growth(source, MAX_ITEMS, MAX_CONTENT_BYTES, MAX_RATIO))


def _format_by_content(source: str, location: Location) -> Format:
    with open_location(location).file as file:
        head = file.read(4096)
    if head.startswith(b"PAR1"):
        return "parquet"
    if head.startswith(b"PK") and (b"[Content_Types].xml" in head or b"xl/" in head):
        return "xlsx"
    text = texts.glimpse(islice(_stored(source, location).blocks(), 1)).head.lstrip()
    if text[:1] in ("[", "{") and is_json(text):
        return "json"
    return "csv"
