"""What is known of how a file has to be read."""

from __future__ import annotations

from dataclasses import dataclass

from reliable_imports.sources.options import Format, SourceOptions


@dataclass(frozen=True, slots=True)
class Layout:
    """
    Attributes:
        format: what the file is.
        options: those that differ from the defaults.
        remarks: what was guessed, for people: a name and what.
        is_whole: all of the file was looked at.
    """

    format: Format
    options: SourceOptions
    remarks: tuple[tuple[str, str], ...]
    is_whole: bool = True
