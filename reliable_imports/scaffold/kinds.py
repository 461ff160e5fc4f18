"""What one value may be: every reading under which it would come back from the database as it was."""

from __future__ import annotations

import re
from datetime import date, datetime, time
from decimal import Decimal, InvalidOperation
from functools import lru_cache
from typing import Any, Literal, NamedTuple

Name = Literal[
    "boolean", "integer", "decimal", "decimal comma", "exponent", "thousands", "date", "timestamp", "timestamptz",
    "time", "uuid", "json", "bytes", "text", "percentage", "amount of money", "year of two digits", "grouped digits",
    "number in brackets", "date in words", "formula",
]  # fmt: skip


class Kind(NamedTuple):
    """
    Attributes:
        form: of a date or timestamp that is not ISO 8601: the format of `strptime`.
    """

    name: Name
    form: str | None = None


TEXT = Kind("text")
BOOLEAN = Kind("boolean")
INTEGER = Kind("integer")
DECIMAL = Kind("decimal")
COMMA = Kind("decimal comma")
EXPONENT = Kind("exponent")
"""As in `1e3`: a number among decimals, and else perhaps a name."""
THOUSANDS = Kind("thousands")
"""With commas between them, as in `1,234`; told, and kept as text."""
DATE = Kind("date")
TIMESTAMP = Kind("timestamp")
TIMESTAMPTZ = Kind("timestamptz")
TIME = Kind("time")
UUID = Kind("uuid")
PERCENTAGE = Kind("percentage")
MONEY = Kind("amount of money")
SHORT_YEAR = Kind("year of two digits")
GROUPED = Kind("grouped digits")
BRACKETS = Kind("number in brackets")
WORDY = Kind("date in words")
FORMULA = Kind("formula")
"""These seven are told, and kept as text: what they stand for is nobody's guess."""
JSON = Kind("json")
BYTES = Kind("bytes")

_TOKENS = """
    NA N/A n/a #N/A <NA> NULL null Null None NaN nan NAN nil - -- --- \u2014 \u2013 . .. ... ? * #NULL! #NV missing
    Missing unknown Unknown k.A. k.A n.v. (null) \\N NILL
"""
NULL_TOKENS = frozenset(_TOKENS.split())
"""What stands for "no value" in files, where all other values of a column are numbers, dates or times."""

_INTEGER = re.compile(r"-?(0|[1-9][0-9]*)")
_DECIMAL = re.compile(
    r"-?((0|[1-9][0-9]*)?\.[0-9]+([eE][+-]?[0-9]{1,3})?|(0|[1-9][0-9]*)\.?[eE][+-][0-9]{1,3}|(0|[1-9][0-9]*)\.)"
)
_EXPONENT = re.compile(r"-?[1-9][0-9]*e[0-9]{1,2}")
_COMMA = re.compile(
    r"-?((0|[1-9][0-9]*),[0-9]+|[1-9][0-9]{0,2}(\.[0-9]{3})+(,[0-9]+)?"
    r"|[1-9][0-9]{0,2}(?P<mark>[ '\u00a0\u202f])[0-9]{3}((?P=mark)[0-9]{3})*,[0-9]+)"
)
_NO_PART_OF_NUMBER = re.compile(r"[^0-9,-]")
_THOUSANDS = re.compile(r"-?[1-9][0-9]{0,2}(,[0-9]{3})+(\.[0-9]+)?")
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_BYTES = re.compile(r"\\x([0-9a-f]{2})*")
_TIME = re.compile(r"([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9](\.[0-9]{1,6})?)?")
_CLOCK = r"(([01]?[0-9]|2[0-3]):[0-5][0-9])(:[0-5][0-9])?( ?[AaPp][Mm])?"
_ISO = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})"
    r"(?:[ T]([01][0-9]|2[0-3]):([0-5][0-9])(?::([0-5][0-9])(?:\.([0-9]{1,9}))?)?"
    r"(Z|[+-][0-9]{2}(?::?[0-9]{2})?)?)?"
)
_DAY = re.compile(r"([0-9]{1,4})([./-])([0-9]{1,2})\2([0-9]{1,4})(?:(,? |T)" + _CLOCK + r")?")
_WORDY = re.compile(r"[0-9A-Za-z]{1,9}[ -][0-9A-Za-z]{1,9},?[ -][0-9]{4}")
_WORDY_FORMS = ("%d-%b-%Y", "%d %b %Y", "%d %B %Y", "%b %d %Y", "%b %d, %Y", "%B %d, %Y", "%B %d %Y")
_NUMERAL = r"[0-9](?:[0-9.,' \u00a0\u202f\u2019]*[0-9])?"
_UNIT = (
    r"(?:[\u20ac$\u00a3\u00a5]|kr\.?|z\u0142|K\u010d|Fr\."
    r"|EUR|USD|GBP|CHF|JPY|CNY|SEK|NOK|DKK|PLN|CZK|HUF|AUD|CAD|INR|BRL)"
)
_TOLD = re.compile(
    rf"(?P<percentage>[+-]?{_NUMERAL}\s?%)"
    rf"|(?P<money>[+-]?{_UNIT}\s?[+-]?{_NUMERAL}(?:,-|,--)?|[+-]?{_NUMERAL}(?:,-|,--)?\s?{_UNIT})"
    r"|(?P<year>[0-9]{1,2}([./-])[0-9]{1,2}\4[0-9]{2}|[0-9]{1,2}[- ][A-Za-z]{3}[- ][0-9]{2})"
    r"|(?P<grouped>[+-]?[0-9]{1,3}(?:[ '\u00a0\u202f\u2019][0-9]{3})+(?:[.,][0-9]+)?)"
    rf"|(?P<brackets>\({_NUMERAL}\)|{_NUMERAL}-|[\u2212\u2013]{_NUMERAL})"
    r"|(?P<wordy>[0-9]{1,2}\.? [^\W\d_]{3,}\.? [0-9]{2,4})"
    r'|(?P<formula>="[^"]*")'
)
_KINDS_TOLD = {
    "percentage": PERCENTAGE,
    "money": MONEY,
    "year": SHORT_YEAR,
    "grouped": GROUPED,
    "brackets": BRACKETS,
    "wordy": WORDY,
    "formula": FORMULA,
}
_TIMES = frozenset({"date", "timestamp", "timestamptz", "time"})
_DIGITS = str.maketrans("123456789", "000000000")
_LONGEST = 60
"""Characters of a value that is anything but text."""


class Nested(str):
    """The JSON of a list or an object."""


def kinds_of(value: Any) -> frozenset[Kind]:
    """All that a value other than None may be; text at least."""
    kind = type(value)
    if kind is str:
        return _kinds_of_text(value) if len(value) <= _LONGEST else _ONLY_TEXT
    if kind is bool:
        return _BOOLEAN
    if kind is int:
        return _INTEGERS
    if kind is Decimal or kind is float:
        return _DECIMALS
    return _JSON


def with_text_alone(value: Any) -> frozenset[Kind]:
    """The same where a source has types of its own, and a text with digits in it was meant to be one."""
    found = kinds_of(value)
    return found - _NUMBERS if type(value) is str else found


_ONLY_TEXT = frozenset({TEXT})
_BOOLEAN_WORDS = frozenset({TEXT, BOOLEAN})
_FLAGS = frozenset({"true", "false", "TRUE", "FALSE", "True", "False"})
_BOOLEAN = frozenset({BOOLEAN, JSON})
_INTEGERS = frozenset({INTEGER, DECIMAL, JSON})
_DECIMALS = frozenset({DECIMAL, JSON})
_JSON = frozenset({JSON})
_NUMBERS = frozenset({INTEGER, DECIMAL, COMMA, EXPONENT, THOUSANDS, BOOLEAN})


@lru_cache(maxsize=100_000)
def _kinds_of_text(text: str) -> frozenset[Kind]:
    found = {TEXT}
    if text.isalpha():
        return _BOOLEAN_WORDS if text in _FLAGS else _ONLY_TEXT
    if _INTEGER.fullmatch(text) and text != "-0":
        found |= {INTEGER, DECIMAL, COMMA, THOUSANDS}
    elif _DECIMAL.fullmatch(text):
        found.add(DECIMAL)
    elif _EXPONENT.fullmatch(text):
        found.add(EXPONENT)
    if _COMMA.fullmatch(text):
        found.add(COMMA)
    if _THOUSANDS.fullmatch(text):
        found.add(THOUSANDS)
    if _UUID.fullmatch(text):
        found.add(UUID)
    elif _BYTES.fullmatch(text):
        found.add(BYTES)
    elif _TIME.fullmatch(text):
        found.add(TIME)
    elif iso := _ISO.fullmatch(text):
        found |= _kinds_of_iso(iso)
    elif day := _DAY.fullmatch(text):
        found |= _kinds_of_day(day)
    elif _WORDY.fullmatch(text):
        found |= {Kind("date", form) for form in _WORDY_FORMS if _fits(text, form)}
    if len(found) == 1 and (told := _TOLD.fullmatch(text)) and told.lastgroup is not None:
        found.add(_KINDS_TOLD[told.lastgroup])
    return frozenset(found)


def _kinds_of_iso(found: re.Match[str]) -> set[Kind]:
    if not _is_date(found[1], found[2], found[3]):
        return set()
    if found[4] is None:
        return {DATE}
    if len((found[7] or "").rstrip("0")) > 6:  # PostgreSQL would round it
        return set()
    return {TIMESTAMP if found[8] is None else TIMESTAMPTZ}


def _kinds_of_day(found: re.Match[str]) -> set[Kind]:
    first, sign, second, third, between, clock, seconds, half = found.group(1, 2, 3, 4, 5, 6, 8, 9)
    orders = []
    if len(first) == 4 and len(third) <= 2:
        orders.append(("%Y{0}%m{0}%d", first, second, third))
    elif len(third) == 4 and len(first) <= 2:
        orders.append(("%d{0}%m{0}%Y", third, second, first))
        if sign != ".":
            orders.append(("%m{0}%d{0}%Y", third, first, second))
    forms = [form.format(sign) for form, *parts in orders if _is_date(*parts)]
    if clock is None:
        return {Kind("date", form) for form in forms}
    if half and not (1 <= int(clock.split(":")[0]) <= 12):
        return set()
    blank = " " if half and half[0] == " " else ""
    of_day = f"{'%I' if half else '%H'}:%M{':%S' if seconds else ''}{f'{blank}%p' if half else ''}"
    return {Kind("timestamp", f"{form}{between}{of_day}") for form in forms}


def shape_of(text: str, found: frozenset[Kind]) -> str | None:
    """How a date or a time is spelt: two of one shape are equal only if their texts are; None for other values."""
    if not any(kind.name in _TIMES for kind in found):
        return None
    iso = _ISO.fullmatch(text)
    return f"{text.translate(_DIGITS)} {(iso and iso[8]) or ''}"


def _is_date(year: str, month: str, day: str) -> bool:
    try:
        date(int(year), int(month), int(day))
    except ValueError:
        return False
    return True


def _fits(text: str, form: str) -> bool:
    try:
        datetime.strptime(text, form)
    except ValueError:
        return False
    return True


def python_value(value: Any, kind: Kind) -> Any:
    """What a database gives back for a value that was stored as this kind."""
    if value is None:
        return None
    match kind.name:
        case "integer":
            return int(value)
        case "decimal":
            return Decimal(str(value))
        case "decimal comma":
            return Decimal(_NO_PART_OF_NUMBER.sub("", value).replace(",", "."))
        case "boolean":
            return value if isinstance(value, bool) else value.lower() == "true"
        case "date":
            return datetime.strptime(value, kind.form).date() if kind.form else date.fromisoformat(value)
        case "timestamp" | "timestamptz":
            return datetime.strptime(value, kind.form) if kind.form else _moment(value)
        case "time":
            return time.fromisoformat(value)
        case "text":
            return value if isinstance(value, str) else _text_of(value)
    return value


def _moment(text: str) -> datetime:
    found = _ISO.fullmatch(text)
    assert found is not None
    day = datetime(int(found[1]), int(found[2]), int(found[3]))
    if found[4] is None:
        return day
    fraction = int((found[7] or "0")[:6].ljust(6, "0"))
    moment = day.replace(hour=int(found[4]), minute=int(found[5]), second=int(found[6] or 0), microsecond=fraction)
    if found[8] is None:
        return moment
    zone = found[8].replace("Z", "+0000").replace(":", "")
    return datetime.strptime(f"{moment:%Y-%m-%d %H:%M:%S.%f}{zone.ljust(5, '0')}", "%Y-%m-%d %H:%M:%S.%f%z")


def _text_of(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    try:
        return format(Decimal(str(value)), "f")
    except InvalidOperation:
        return str(value)
