"""Which code of a processor worked a batch: a hash of the text of its class."""

from __future__ import annotations

import functools
import hashlib
import inspect
import os
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ClassSource:
    """Where a class is written.

    Attributes:
        file: an absolute path.
        line: its first line, counted from 1.
    """

    file: str
    line: int
    text: str


def code_version(processor: type) -> str | None:
    """Changes when the text of the class, or of its `model`, changes; None if either was made without a source file."""
    parts = [processor, getattr(processor, "model", None)]
    sources = [source_of(part) for part in parts if isinstance(part, type)]
    texts = [source.text for source in sources if source is not None]
    if len(texts) < len(sources):
        return None
    return hashlib.sha256("\0".join(texts).encode("utf-8", "surrogatepass")).hexdigest()[:12]


@functools.lru_cache(maxsize=4_096)
def source_of(part: type) -> ClassSource | None:
    """None if the class was made at run time, or without its source.

    To find it, Python parses the whole file; so what was found is remembered.
    """
    try:
        file = inspect.getsourcefile(part)
        lines, number = inspect.getsourcelines(part)
    except (OSError, TypeError, SyntaxError):
        return None
    return None if file is None else ClassSource(os.path.abspath(file), number, "".join(lines))
