"""A page as HTML: one file, without scripts, that asks no network for anything."""

from __future__ import annotations

import os
import tempfile
import unicodedata
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import BaseLoader, Environment, StrictUndefined
from markupsafe import Markup

from reliable_imports.errors import ConfigurationError
from reliable_imports.items.redaction import MASKED
from reliable_imports.report.subject import Subject, Value

_MAX_TEXT = 160
_MAX_WORDS = 600
_NO_BREAK = "\N{NO-BREAK SPACE}"


def render(subject: Subject, *, webserver: str | None = None) -> str:
    """The page as a whole.

    Args:
        webserver: the address of Dagster's UI, `https://dagster.example.com`, for links to its runs.
    """
    address = None if webserver is None else webserver.rstrip("/")
    page: str = _template().render(subject=subject, webserver=address)
    return page


def write_report(file: Path, subject: Subject, *, webserver: str | None = None) -> Path:
    """Write the page whole or not at all, also over an older one; return where it is."""
    if not file.parent.is_dir():
        raise ConfigurationError(f"{file}: there is no folder {file.parent}")
    text = render(subject, webserver=webserver)
    with tempfile.NamedTemporaryFile(
        "w", encoding="utf-8", dir=file.parent, prefix=f".{file.name}.", delete=False
    ) as target:
        try:
            target.write(text)
            target.close()
            # As any other file that this account makes; a temporary one is its own alone.
            os.chmod(target.name, 0o666 & ~_umask())
            os.replace(target.name, file)
        except BaseException:
            with suppress(OSError):
                os.unlink(target.name)
            raise
    return file


@cache
def _template() -> Any:
    environment = Environment(
        loader=BaseLoader(),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=visible,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "number": lambda value: f"{value:,}",
        "moment": _moment,
        "share": _share,
        "cut": lambda text: _cut(text, _MAX_TEXT),
        "cut_words": lambda text: _cut(text, _MAX_WORDS),
        "seconds": lambda value: f"{value:.1f} s" if value < 60 else f"{value // 60:.0f} min {value % 60:.0f} s",
        # Where it lies on which machine is nothing to readers elsewhere.
        "file_name": lambda text: text.rstrip("/").rsplit("/", 1)[-1] or text,
        "path": lambda text: quote(str(text), safe=""),
        "value": _value,
    }
    environment.globals |= {"css": Markup(_text_of("page.css")), "plural": _plural, "span": _span}
    return environment.from_string(_text_of("page.html"))


def visible(value: object) -> object:
    """Whatever is put into the page goes through here: what a reader would not see, or what would turn the text around
    it (control characters, bidirectional and other invisible ones), is shown as an escape such as `\\x1b`. Escaping for
    HTML comes after it, and is Jinja's."""
    if not isinstance(value, str) or isinstance(value, Markup):
        return value
    return "".join(
        character if character == "\n" or not _is_invisible(character) else _escape(character) for character in value
    )


def _is_invisible(character: str) -> bool:
    return unicodedata.category(character) in ("Cc", "Cf", "Cs", "Zl", "Zp")


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


def _value(value: Value) -> Mapping[str, str]:
    """A value of a field for people: its text, and the class by which it is drawn."""
    if value.text is None:
        return {"text": MASKED, "kind": "masked"}
    if not value.text.strip():
        return {"text": "empty" if not value.text else "blanks", "kind": "empty"}
    return {"text": _cut(value.text, _MAX_TEXT), "kind": "text"}


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def _moment(value: datetime | None) -> Markup:
    if value is None:
        return Markup("&ndash;")
    local = value.astimezone()
    return Markup('<time datetime="{}">{}</time>').format(
        local.isoformat(timespec="seconds"), f"{local:%Y-%m-%d %H:%M} {local:%Z}".strip()
    )


def _span(first: datetime, last: datetime) -> Markup:
    """From when to when; one of them where nobody could tell them apart."""
    begin, end = _moment(first), _moment(last)
    return begin if begin.striptags() == end.striptags() else Markup("{} to {}").format(begin, end)


def _share(part: int, whole: int) -> str:
    """`1.8 %`; never 0 % of something, and never 100 % of less than all."""
    if not whole or not part:
        return f"0{_NO_BREAK}%"
    if part == whole:
        return f"100{_NO_BREAK}%"
    return f"{min(max(part / whole, 0.001), 0.999):.1%}".replace("%", f"{_NO_BREAK}%")


def _plural(count: int, noun: str, plural: str | None = None) -> str:
    return f"{count:,} {noun if count == 1 else plural or noun + 's'}"


def _text_of(name: str) -> str:
    return (resources.files(__package__) / name).read_text(encoding="utf-8")


def _umask() -> int:
    now = os.umask(0o077)
    os.umask(now)
    return now
