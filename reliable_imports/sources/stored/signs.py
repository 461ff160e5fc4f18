"""Files that are no text, told by their first bytes or by their names, and what can be done about each."""

from __future__ import annotations

import re

from reliable_imports.errors import SourceError

_AS_WORKBOOK = "save it as .xlsx or .csv"
_UNPACK = "unpack it and import the files in it"
_EXPORT = "export it as .csv, .jsonl or .parquet"
_FOREIGN_NAMES: tuple[tuple[tuple[str, ...], str], ...] = (
    ((".xls", ".xlsb", ".ods", ".numbers"), f"a workbook of this kind is not read; {_AS_WORKBOOK}"),
    ((".7z", ".rar", ".tar", ".tgz", ".tbz2", ".txz", ".lz4", ".z", ".br"), f"this is an archive; {_UNPACK}"),
    ((".avro", ".orc", ".feather", ".arrow", ".db", ".sqlite", ".dta", ".sav"), f"this kind is not read; {_EXPORT}"),
    ((".xml", ".html", ".htm", ".yaml", ".yml", ".pdf", ".docx"), f"this kind is not read; {_EXPORT}"),
)
_FOREIGN_SIGNS: tuple[tuple[re.Pattern[bytes], str], ...] = (
    (
        re.compile(rb"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"),
        f"this is a workbook of the old kind (.xls), or one with a password; {_AS_WORKBOOK}",
    ),
    (re.compile(rb"PAR1\x15"), "this is a Parquet file; name it .parquet, or set SourceOptions.format"),
    (re.compile(rb"7z\xbc\xaf\x27\x1c|Rar!\x1a\x07"), f"this is an archive; {_UNPACK}"),
    (re.compile(rb"Obj\x01|ORC[\0-\x08]|ARROW1\0|SQLite format 3\0"), f"this is no text; {_EXPORT}"),
    (re.compile(rb"%PDF-\d"), f"this is a PDF document; {_EXPORT}"),
)


def foreign_name(name: str) -> str | None:
    """Why a file of this name, in lower case, cannot be read; None for all others."""
    return next((problem for endings, problem in _FOREIGN_NAMES if name.endswith(endings)), None)


def refuse_foreign(source: str, head: bytes) -> None:
    """Raises SourceError: the file begins as one that is no text."""
    for sign, problem in _FOREIGN_SIGNS:
        if sign.match(head):
            raise SourceError(source, problem)
