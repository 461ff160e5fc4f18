"""An error's message without the item's values.

Whoever wrote a message decides which of its words can be values. PostgreSQL and Python build theirs from fixed
templates: in these only the places for a value are looked at, so that no word of the template is taken for one. In all
other messages, such as those of a trigger or of a processor, every word may be a value.
"""

from __future__ import annotations

import builtins
import re
from collections.abc import Collection, Iterator
from decimal import Decimal
from functools import cache, lru_cache

_MAX_DEPTH = 8

# In a template stands * for a value, @ for a name of the schema or the code, <type> for a type as SQL writes it, <word>
# for a single word. PostgreSQL's are those of versions 12 to 18 that the items of an import can meet.
_TEMPLATES = """
null value in column "@" violates not-null constraint
null value in column "@" of relation "@" violates not-null constraint
insert or update on table "@" violates foreign key constraint "@"
update or delete on table "@" violates foreign key constraint "@" on table "@"
update or delete on table "@" violates RESTRICT setting of foreign key constraint "@" on table "@"
new row for relation "@" violates check constraint "@"
new row for relation "@" violates partition constraint
new row violates row-level security policy for table "@"
new row violates row-level security policy "@" for table "@"
new row violates row-level security policy (USING expression) for table "@"
duplicate key value violates unique constraint "@"
conflicting key value violates exclusion constraint "@"
no partition of relation "@" found for row
value for domain <type> violates check constraint "@"
domain <word> does not allow null values
ON CONFLICT DO UPDATE command cannot affect row a second time
there is no unique or exclusion constraint matching the ON CONFLICT specification
invalid input syntax for type <type>: "*"
invalid input syntax for type <type>
invalid input value for enum <type>: "*"
value "*" is out of range for type <type>
"*" is out of range for type <type>
value too long for type <type>
smallint out of range
integer out of range
bigint out of range
date out of range: "*"
timestamp out of range
timestamp out of range: "*"
interval out of range
value out of range: overflow
value out of range: underflow
numeric field overflow
division by zero
date/time field value out of range: "*"
interval field value out of range: "*"
invalid value "*" for "@"
time zone "*" not recognized
time zone displacement out of range: "*"
malformed array literal: "*"
malformed record literal: "*"
malformed range literal: "*"
range lower bound must be less than or equal to range upper bound
unsupported Unicode escape sequence
invalid hexadecimal digit: "*"
invalid hexadecimal data: odd number of digits
bit string length <word> does not match type <type>
bit string too long for type <type>
relation "@" does not exist
column "@" does not exist
column "@" of relation "@" does not exist
column reference "@" is ambiguous
column "@" is of type <type> but expression is of type <type>
cannot insert a non-DEFAULT value into column "@"
column "@" can only be updated to DEFAULT
type "@" does not exist
schema "@" does not exist
could not determine data type of parameter $<word>
INSERT has more expressions than target columns
INSERT has more target columns than expressions
permission denied for schema <word>
permission denied for sequence <word>
permission denied for table <word>
permission denied for view <word>
permission denied for function <word>
canceling statement due to statement timeout
deadlock detected
can't adapt type '@'
invalid literal for int() with base <word>: '*'
could not convert string to float: '*'
Invalid isoformat string: '*'
time data '*' does not match format '@'
unconverted data remains: *
badly formed hexadecimal UUID string
"""
_PLACES = {
    '"\\*"': '"(?P<value{}>.*)"',
    "'\\*'": "(?P<quote>['\"])(?P<value{}>.*)(?P=quote)",
    "\\*": "(?P<value{}>.+)",
    '"@"': '"(?P<name{}>[^"]*)"',
    "'@'": "['\"](?P<name{}>[^'\"]*)['\"]",
    "<type>": r'[\w "().,\[\]]{{1,100}}?',
    "<word>": r"[\w.]+",
}
_PLACE = re.compile("|".join(map(re.escape, _PLACES)))


def _compile(template: str) -> re.Pattern[str]:
    pattern = re.escape(template).replace("\\<", "<")
    numbers = iter(range(9))
    return re.compile(_PLACE.sub(lambda place: _PLACES[place[0]].format(next(numbers)), pattern), re.DOTALL)


@cache
def _templates() -> tuple[re.Pattern[str], ...]:
    """Compiled for the first message that is looked at: most imports have none."""
    return tuple(_compile(line) for line in _TEMPLATES.strip().splitlines())


def without_values(message: str, source_data: object, names: Collection[str | None] = ()) -> str:
    """Put field names in braces for the item's own values: `unknown plan gold` becomes `unknown plan {plan}`.

    Args:
        source_data: the item, as JSON is parsed.
        names: tables, columns and constraints that the error itself says it is about; these stay.
    """
    known = _known(message)
    if known is not None and not _may_hold_values(known, names):
        return message
    found = {(value, field) for value, field in _values(source_data, "item") if value in message}
    fields = dict(sorted(found, reverse=True))  # of several fields with one value the first by name
    if known is not None:
        return _fill(message, known, fields, names)
    # Whole words, the longest first and all in one pass: what was put in is not looked at again.
    words = [re.escape(value) for value in sorted(fields, key=len, reverse=True) if re.search(r"\w", value)]
    if not words:
        return message
    return re.sub(rf"(?<!\w)(?:{'|'.join(words)})(?!\w)", lambda word: f"{{{fields[word[0]]}}}", message)


def _may_hold_values(known: re.Match[str], names: Collection[str | None]) -> bool:
    """Whether a message whose template is known has a place that *names* do not explain."""
    return any(group.startswith(("value", "name")) and text not in names for group, text in known.groupdict().items())


def _fill(message: str, known: re.Match[str], fields: dict[str, str], names: Collection[str | None]) -> str:
    """A message whose template is known, with other text in its places for values."""
    for group in sorted(known.groupdict(), key=known.start, reverse=True):
        text = known[group]
        if group.startswith("value") or (group.startswith("name") and text in fields and text not in names):
            put = f"{{{fields[text]}}}" if text in fields else "…"
            message = message[: known.start(group)] + put + message[known.end(group) :]
    return message


def is_known(message: str) -> bool:
    """Whether PostgreSQL or Python has written the message from a template of its own."""
    return _known(message) is not None


def masked(message: str, source_data: object, code: str = "") -> str:
    """As `without_values`; of a message without a template, what is quoted and what has digits is left out too.

    Args:
        code: whose names stay, as those of types do.
    """
    text = without_values(message, source_data)
    if is_known(message):
        return text
    return _MAY_BE_VALUE.sub(lambda found: found[0] if _is_name(found[0][1:-1], code) else "…", text)


_MAY_BE_VALUE = re.compile(r"\"[^\"]*\"|'[^']*'|(?<![\w{])\w*\d\w*(?![\w}])")
_TYPES = frozenset({"NoneType", *(name for name, value in vars(builtins).items() if isinstance(value, type))})


def _is_name(text: str, code: str) -> bool:
    return text in _TYPES or (text.isidentifier() and re.search(rf"\b{text}\b", code) is not None)


# Thousands of items fail with one message.
@lru_cache(maxsize=256)
def _known(message: str) -> re.Match[str] | None:
    return next((found for pattern in _templates() if (found := pattern.fullmatch(message))), None)


def _is_plain_name(name: str) -> bool:
    return name.isidentifier() and name == name.lower()


def _values(data: object, field: str, depth: int = 0) -> Iterator[tuple[str, str]]:
    """Every text and number in *data*, as JSON is parsed, with the name of the field that it stands in."""
    if isinstance(data, dict):
        # A name within another value may be a person's, as the keys of a mapping are.
        inner = [(value, name if depth == 0 or _is_plain_name(name) else field) for name, value in data.items()]
    else:
        inner = [(value, field) for value in data] if isinstance(data, list) else [(data, field)]
    for value, name in inner:
        if isinstance(value, str):
            if value:
                yield value, name
        elif isinstance(value, dict | list):
            if depth < _MAX_DEPTH:
                yield from _values(value, name, depth + 1)
        elif isinstance(value, int | float | Decimal) and not isinstance(value, bool):
            yield str(value), name
