"""Names for columns and classes, made of names that people chose."""

from __future__ import annotations

import keyword
import re
import unicodedata
from collections.abc import Iterable

from reliable_imports.errors import ConfigurationError

_LONGEST = 60
"""PostgreSQL cuts a name at 63 bytes; a number may follow."""
_SPELT_OUT = {"ä": "ae", "ö": "oe", "ü": "ue", "ß": "ss", "æ": "ae", "ø": "oe", "å": "aa", "œ": "oe", "ð": "d"}
_SIGNS = {"%": " percent ", "#": " number ", "&": " and ", "€": " eur ", "$": " usd ", "£": " gbp ", "°": " deg "}
_SQL_WORDS = """
    all analyse analyze and any array as asc asymmetric authorization between binary both case cast check collate
    collation column concurrently constraint create cross current_catalog current_date current_role current_schema
    current_time current_timestamp current_user default deferrable desc distinct do else end except false fetch for
    foreign freeze from full grant group having ilike in initially inner intersect into is isnull join lateral leading
    left like limit localtime localtimestamp natural not notnull null offset on only or order outer overlaps placing
    primary references returning right select session_user similar some symmetric system_user table tablesample then
    to trailing true union unique user using variadic verbose when where window with
    ctid xmin xmax cmin cmax tableoid
"""
_RESERVED = frozenset(_SQL_WORDS.split())
"""Words that SQL keeps for itself, and the columns that every table has already."""
_TYPE = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
_PLAIN = re.compile(r"[^\W\d]\w*")


def column_names(sources: Iterable[str]) -> dict[str, str]:
    """By name in the source, a name that can be written in SQL without quotes: lower case, with underscores.

    `Größe (cm)` is `groesse_cm`, `orderID` is `order_id`, `order` is `order_`, `1960` is `c_1960`; a name without any
    letter or digit is `column_` and its place. No two are alike.
    """
    found: dict[str, str] = {}
    taken: set[str] = set()
    for place, source in enumerate(sources, start=1):
        base = _column_name(source) or ("row_name" if place == 1 and not source.strip() else f"column_{place}")
        name, number = base, 1
        while name in taken:
            number += 1
            name = f"{base}_{number}"
        taken.add(name)
        found[source] = name
    return found


def unique_headings(cells: Iterable[str]) -> list[str]:
    """The cells of a header with a name for each column: a blank one and a repeated one get one of their own."""
    given = [cell.strip() for cell in cells]
    found: list[str] = []
    for place, cell in enumerate(given, start=1):
        base = cell or f"column_{place}"
        name, number = base, 1
        while name in found or (number > 1 and name in given):
            number += 1
            name = f"{base}_{number}"
        found.append(name)
    return found


def _column_name(source: str) -> str:
    text = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", source)
    text = "".join(_SIGNS.get(character, character) for character in text).lower()
    text = "".join(_SPELT_OUT.get(character, character) for character in text)
    text = "".join(each for each in unicodedata.normalize("NFKD", text) if not unicodedata.combining(each))
    name = re.sub(r"[\W_]+", "_", unicodedata.normalize("NFKC", text)).strip("_")
    while len(name.encode()) > _LONGEST:
        name = name[:-1]
    name = name.rstrip("_")
    if name[:1].isdigit():
        name = f"c_{name}"
    return f"{name}_" if name in _RESERVED else name


def sql_name(name: str) -> str:
    """A name as SQL writes it: in quotes where it needs them."""
    is_plain = _PLAIN.fullmatch(name) and name == name.lower() and name not in _RESERVED
    return name if is_plain else '"' + name.replace('"', '""') + '"'


def class_name(batch_type: str) -> str:
    """`customer_data` is `CustomerDataProcessor`.

    Raises:
        ConfigurationError: this cannot be a batch type; the message names the nearest that can.
    """
    words = [word for word in re.split(r"[\W_]+", batch_type) if word]
    name = "".join(word[0].upper() + word[1:] for word in words) + "Processor"
    if _TYPE.fullmatch(batch_type) and not keyword.iskeyword(batch_type) and batch_type not in _DAGSTERS_OWN:
        return name
    nearest = _column_name(batch_type)
    if keyword.iskeyword(nearest) or nearest in _DAGSTERS_OWN:
        nearest = f"{nearest}_rows"
    is_name = _TYPE.fullmatch(nearest) and nearest != batch_type
    hint = f"; did you mean {nearest}?" if is_name else ""
    raise ConfigurationError(
        f"{batch_type!r} cannot be a batch type: use lower-case letters, digits and single underscores between words, "
        f"beginning with a letter, such as customer_data, and no word that Python or Dagster keeps for itself{hint}"
    )


_DAGSTERS_OWN = frozenset(
    {
        "context",
        "conf",
        "config",
        "meta",
        "arg_dict",
        "dict",
        "input_arg_dict",
        "output_arg_dict",
        "int",
        "str",
        "float",
        "bool",
        "input",
        "output",
        "type",
    }
)
