"""What a column holds: its type, what stands for "no value" in it, and how many of its values agree."""

from __future__ import annotations

import re
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from reliable_imports.items.json_write import dumps_item
from reliable_imports.scaffold import kinds
from reliable_imports.scaffold.kinds import Kind

_MAX_REMEMBERED = 300_000
"""Values of a column that are compared with those of others, in the search for a key of several columns."""
_NEARLY_ALL = 0.9
_SOME = 100
_LONGEST_FLAG = 8
_ALWAYS_TEXT = re.compile(
    r"(^|_)(zip|zipcode|zip_code|postal|postcode|postal_code|post_code|plz|phone|telephone|tel|telefon|mobile|mobil|fax|"
    r"iban|bic|swift|ssn|ean|isbn|issn|gtin|upc|fips|konto|kontonummer|account_number|account_no|vat|ustid)(_|$)"
)
"""Names of columns whose digits are no number: one with a leading zero may come with the next file."""
_PREFERRED = (
    "boolean", "integer", "decimal", "decimal comma", "date", "timestamp", "timestamptz", "time", "uuid", "bytes",
    "json", "text",
)  # fmt: skip


@dataclass(slots=True)
class Column:
    """One column of a sample, while it is read and afterwards.

    Attributes:
        source: its name in the source.
        name: its name in the table.
        has_own_types: the source tells texts from numbers, as JSON does.
        values: how many rows have a value, tokens for "no value" not among them yet.
        nulls: rows that have none.
        absent: those of them that do not even have the name.
        counts: by kind, how many values may be of it.
        tokens: values that might stand for "no value", with how often.
    """

    source: str
    name: str
    has_own_types: bool
    values: int = 0
    nulls: int = 0
    absent: int = 0
    empty: int = 0
    padded: int = 0
    longest: int = 0
    counts: Counter[Kind] = field(default_factory=Counter)
    tokens: Counter[str] = field(default_factory=Counter)
    padded_counts: Counter[Kind] = field(default_factory=Counter)
    misfits: dict[Kind, Any] = field(default_factory=dict)
    seen: set[int] | None = field(default_factory=set)
    hashes: array[int] = field(default_factory=lambda: array("q"))
    shapes: set[str] = field(default_factory=set)
    """Of dates and times, how they are spelt: two at most, and a zone as it is."""
    alike: set[str] = field(default_factory=set)
    """Some values of two capital letters."""
    dated: int = 0
    """Values that are dates or times in some way."""
    nuls: int = 0
    """Values with a NUL character."""
    words: set[str] = field(default_factory=set)
    """The values in lower case, if there are no more than two; else three of them."""
    low: int = 0
    high: int = 0

    def add(self, values: Sequence[Any]) -> None:
        """Look at the values of some more rows, in their order; None where a row has none."""
        kinds_of = kinds.kinds_of
        counted: Iterable[tuple[Any, int]]
        if self.has_own_types:
            kinds_of = kinds.with_text_alone
            values = [kinds.Nested(_json(each)) if type(each) in (dict, list) else each for each in values]
            # True, 1 and 1.0 are equal to Python, and not to a database.
            typed = Counter(zip(map(type, values), values, strict=True))
            counted = [(value, count) for (_, value), count in typed.items()]
        else:
            counted = Counter(values).items()
        hashed = list(map(hash, values))
        if len(self.hashes) < _MAX_REMEMBERED:
            self.hashes.extend(hashed)
        self._note_repeats(hashed)
        for value, count in counted:
            if value is None:
                self.nulls += count
            elif value == "" and type(value) is str:
                self.empty += count
            else:
                self._add(value, count, kinds_of)

    def _add(self, value: Any, count: int, kinds_of: Callable[[Any], frozenset[Kind]]) -> None:
        self.values += count
        found = kinds_of(value)
        if type(value) is str:
            self.longest = max(self.longest, len(value))
            if len(value) == 2 and value.isupper() and value.isalpha() and len(self.alike) < _SOME:
                self.alike.add(value)
            if len(found) > 1:
                self.dated += count if any(kind.name in ("date", "timestamp", "timestamptz") for kind in found) else 0
            elif "\0" in value:
                self.nuls += count
            if len(self.words) < 3:
                self.words.add(value[:_LONGEST_FLAG].lower())
            if value in kinds.NULL_TOKENS:
                self.tokens[value] += count
            if len(self.shapes) < 2 and (shape := kinds.shape_of(value, found)) is not None:
                self.shapes.add(shape)
            if value != (stripped := value.strip()):
                self.padded += count
                for kind in kinds_of(stripped) if stripped else ():
                    self.padded_counts[kind] += count
                if not stripped:
                    self.tokens[value] += count
        for kind in found:
            self.counts[kind] += count
        if kinds.INTEGER in found:
            number = int(value)
            self.low, self.high = min(self.low, number), max(self.high, number)
        for kind in self.counts:
            if kind not in found and kind not in self.misfits and value not in self.tokens:
                self.misfits[kind] = value

    def _note_repeats(self, hashed: Iterable[int]) -> None:
        if self.seen is None:
            return
        before = len(self.seen)
        added = list(hashed)
        self.seen.update(added)
        if len(self.seen) < before + len(added):
            self.seen = None

    @property
    def blank(self) -> int:
        """Values of blanks alone."""
        return sum(count for value, count in self.tokens.items() if not value.strip())

    @property
    def is_unique(self) -> bool:
        """Whether every row has a value here, and no two the same."""
        return self.seen is not None and not self.nulls and not self.empty and self.values > 0


def _json(value: Any) -> str:
    return dumps_item(value).text or repr(value)


@dataclass(frozen=True, slots=True)
class Guess:
    """What a column of the table is to be.

    Attributes:
        column: what it was guessed from.
        kind: how its values are written in the source.
        sql: the type.
        tokens: what stands for "no value", apart from empty cells.
        agree: values that are of this kind, or stand for "no value".
        remark: what a person should know.
        remedy: what they can do about it.
        strip: blanks around the values have to go.
    """

    column: Column
    kind: Kind
    sql: str
    tokens: frozenset[str] = frozenset()
    remark: str = ""
    strip: bool = False
    remedy: str = ""

    @property
    def name(self) -> str:
        return self.column.name

    @property
    def may_be_equal(self) -> bool:
        """Different values of the source may be one in the table: `1.5` and `1.50`, or two spellings of a day."""
        return len(self.column.shapes) > 1 or self.strip or self.kind in (kinds.DECIMAL, kinds.COMMA, kinds.BOOLEAN)

    @property
    def has_nulls(self) -> bool:
        return bool(
            self.column.nulls
            or self.column.empty
            or self.column.blank
            or any(self.column.tokens[each] for each in self.tokens)
        )


@dataclass(frozen=True, slots=True)
class Habits:
    """What columns of a source are certainly written in, for those that could be read in two ways.

    Attributes:
        days: orders of day, month and year, such as `%d.%m.%Y`.
        has_comma: numbers have a decimal comma.
    """

    days: frozenset[str] = frozenset()
    has_comma: bool = False


def guess(column: Column, habits: Habits) -> Guess:
    """The narrowest type that takes every value of the column and gives it back as it was; text where none does."""
    if column.values == 0:
        return Guess(column, kinds.TEXT, "text", remark="no value in any row")
    chosen, tokens, strip = _chosen(column, habits)
    remark = remedy = ""
    if chosen is kinds.TEXT:
        remark, remedy = _why_text(column)
    elif chosen is kinds.JSON and column.counts[kinds.TEXT]:
        remark = (
            f"texts beside {'lists or objects' if _has_nested(column) else 'true and false'}; each stays what it is"
        )
    elif chosen.name in ("integer", "decimal") and _ALWAYS_TEXT.search(column.name) and not column.has_own_types:
        chosen, tokens, strip = kinds.TEXT, frozenset(), False
        remark = "digits that are no number, by the column's name"
    elif chosen is kinds.DECIMAL and not column.has_own_types and _has_three_decimals(column):
        remark = "three digits after each point, which is taken for a decimal point"
        remedy = f'if it stands between thousands, declare decimal_comma = ("{column.name}",)'
    return Guess(column, chosen, _sql(column, chosen), tokens, remark, strip, remedy)


def day_order(kind: Kind) -> str | None:
    """How day, month and year follow each other in a date that is not ISO 8601."""
    return kind.form[:8] if kind.form else None


def habits_of(columns: Iterable[Column]) -> Habits:
    """What those columns say that can be read in one way only."""
    days, has_comma = set(), False
    for column in columns:
        found = _fitting(column, column.counts, column.values - _tokens_total(column)) if column.values else []
        if len(found) == 1:
            days.add(day_order(found[0]) or "")
            has_comma = has_comma or found[0] is kinds.COMMA
    return Habits(frozenset(days - {""}), has_comma)


def ambiguous_days(column: Column) -> bool:
    """Whether all values are dates, and nothing says which of the numbers is the day."""
    return len(_fitting(column, column.counts, column.values - _tokens_total(column))) > 1


def _chosen(column: Column, habits: Habits) -> tuple[Kind, frozenset[str], bool]:
    for strip in (False, True) if column.padded else (False,):
        counts = column.counts
        if strip:
            counts = Counter(column.counts)
            for kind, count in column.padded_counts.items():
                counts[kind] += count if kind is not kinds.TEXT else 0
        for tokens in (frozenset[str](), frozenset(column.tokens)):
            wanted = column.values - sum(column.tokens[each] for each in tokens)
            if not wanted or (tokens and not column.tokens):
                continue
            fitting = _fitting(column, counts, wanted, has_comma=habits.has_comma)
            if len(fitting) > 1:
                fitting = [kind for kind in fitting if day_order(kind) in habits.days] or fitting
            if len(fitting) == 1:
                return fitting[0], tokens, strip
    return _fallback(column), frozenset(), False


def _fitting(column: Column, counts: Counter[Kind], wanted: int, *, has_comma: bool = False) -> list[Kind]:
    """Kinds of which all values are, the best ones only: several are dates in different orders."""
    all_of = [kind for kind, count in counts.items() if count == wanted and kind not in (kinds.TEXT, kinds.JSON)]
    if counts[kinds.EXPONENT] and counts[kinds.DECIMAL] > counts[kinds.INTEGER]:
        all_of += [kinds.DECIMAL] if counts[kinds.DECIMAL] + counts[kinds.EXPONENT] == wanted else []
    names = list(_PREFERRED)
    if kinds.COMMA in all_of and kinds.INTEGER not in all_of:
        if has_comma:
            names.remove("decimal")  # `1.234` has a point between thousands
        elif kinds.THOUSANDS in all_of or (kinds.DECIMAL in all_of and _may_be_grouped(column)):
            return []  # nobody knows what `1,234` is
    for name in names:
        found = [kind for kind in all_of if kind.name == name]
        if name == "bytes" and not column.has_own_types:
            continue
        if found:
            return found
    if column.has_own_types:
        mixed = counts[kinds.DATE] + counts[kinds.TIMESTAMP]
        if mixed == wanted and counts[kinds.TIMESTAMP]:
            return [kinds.TIMESTAMP]
    return []


def _fallback(column: Column) -> Kind:
    # Numbers and texts are texts; what no text stands for, true and false, a list or an object, makes all of them JSON.
    has_flags = column.has_own_types and column.counts[kinds.BOOLEAN]
    return kinds.JSON if has_flags or _has_nested(column) else kinds.TEXT


def _has_nested(column: Column) -> bool:
    numbers = column.counts[kinds.DECIMAL] if column.has_own_types else 0
    flags = column.counts[kinds.BOOLEAN] if column.has_own_types else 0
    return column.counts[kinds.JSON] > numbers + flags


def _may_be_grouped(column: Column) -> bool:
    """Whether the points of `1.234` may stand between thousands: beside them are whole numbers, and none has more."""
    return column.counts[kinds.INTEGER] > 0 and column.low > -1000 and column.high < 1000


def _has_three_decimals(column: Column) -> bool:
    """Whether every number that is no whole one could be read as `1.234` with a point between thousands."""
    counts = column.counts
    return counts[kinds.COMMA] == counts[kinds.DECIMAL] > counts[kinds.INTEGER]


def _tokens_total(column: Column) -> int:
    return sum(column.tokens.values())


_IN_TO_ROW = "for {what}, make the column {sql} and rewrite the text in to_row, before super().to_row reads it"
_ONE_FORM = {
    kinds.PERCENTAGE: ("percentages", _IN_TO_ROW.format(sql="numeric", what="numbers")),
    kinds.MONEY: ("amounts with a currency", _IN_TO_ROW.format(sql="numeric", what="numbers")),
    kinds.GROUPED: ("digits in groups of three", _IN_TO_ROW.format(sql="numeric", what="numbers")),
    kinds.BRACKETS: (
        "numbers in brackets, or with the sign behind them",
        _IN_TO_ROW.format(sql="numeric", what="numbers"),
    ),
    kinds.WORDY: ("dates with the month in words", _IN_TO_ROW.format(sql="date", what="dates")),
    kinds.FORMULA: ('texts as formulas of a spreadsheet, such as ="007"', "to have the texts, rewrite them in to_row"),
    kinds.THOUSANDS: (
        "numbers with commas, perhaps between thousands",
        _IN_TO_ROW.format(sql="numeric", what="numbers"),
    ),
}
"""What all values of a column may be, and what turns them into that."""
_READ_AS_FLAGS = frozenset({"yes", "no", "y", "n", "on", "off", "t", "f"})
"""What a column of type boolean takes beside true and false."""
_WORDS_OF_FLAGS = _READ_AS_FLAGS | {"ja", "nein", "j", "wahr", "falsch", "oui", "non", "vrai", "faux", "si", "s\u00ed"}


def _values(number: int) -> str:
    return "1 value" if number == 1 else f"{number:,} values"


def _why_text(column: Column) -> tuple[str, str]:
    """What kept a column from being something narrower, if its values look like that; and what a person can do."""
    if column.has_own_types and column.counts[kinds.DECIMAL]:
        return f"{column.counts[kinds.DECIMAL]:,} numbers beside texts, which become texts too", ""
    without = column.values - _tokens_total(column)
    counts = column.counts
    if column.nuls:
        return (
            f"{_values(column.nuls)} with a NUL character, which no text of PostgreSQL has; such items will fail",
            "",
        )
    # Beside plain numbers, each of which may be among those with commas, too.
    unlike = {kind: counts[kind] - (counts[kinds.INTEGER] if kind is kinds.THOUSANDS else 0) for kind in _ONE_FORM}
    if without and counts[kinds.DECIMAL] + sum(unlike.values()) == without and any(unlike.values()):
        said = [_ONE_FORM[kind] for kind, number in unlike.items() if number]
        return ", ".join(what for what, _ in said), said[0][1]
    if without and counts[kinds.SHORT_YEAR] == without:
        return (
            "perhaps dates with a year of two digits",
            f'if so, make the column date and declare dates = {{"{column.name}": "%d.%m.%y"}}, with the order and the '
            "signs of these; %y takes 69 to 99 for the last century",
        )
    if without and column.dated == without and not ambiguous_days(column):
        return (
            "dates written in several ways",
            f'make the column date and declare dates = {{"{column.name}": ("%d.%m.%Y", "%Y-%m-%d")}}, with all of them',
        )
    if ambiguous_days(column):
        return (
            "dates whose order of day and month no value tells",
            f'make the column date, and declare dates = {{"{column.name}": "%d/%m/%Y"}} or "%m/%d/%Y", with the signs '
            "of these",
        )
    if without and counts[kinds.COMMA] == counts[kinds.DECIMAL] == without > counts[kinds.INTEGER] > 0:
        return (
            "points before three digits, perhaps between thousands",
            f'if so, make the column numeric and declare decimal_comma = ("{column.name}",); if not, only numeric',
        )
    if len(column.words) == 2 and column.words <= _WORDS_OF_FLAGS:
        is_read = column.words <= _READ_AS_FLAGS
        remedy = "make the column boolean" if is_read else _IN_TO_ROW.format(sql="boolean", what="true and false")
        return f"words for yes and no: {', '.join(sorted(column.words))}", remedy
    best = max(
        ((count, kind) for kind, count in counts.items() if kind not in (kinds.TEXT, kinds.JSON)),
        default=(0, kinds.TEXT),
        key=lambda each: each[0],
    )
    count, kind = best
    if without and count >= _NEARLY_ALL * without and count < without:
        other = column.misfits.get(kind)
        told = f", but not {str(other)[:30]!r}" if other is not None else ""
        return f"{count:,} of {without:,} values are of type {kind.name}{told}", ""
    if column.padded:
        return f"{_values(column.padded)} with blanks around", "to have them without, declare strip = True"
    return "", ""


def _sql(column: Column, kind: Kind) -> str:
    match kind.name:
        case "integer":
            if column.low >= -(2**31) and column.high < 2**31:
                return "integer"
            return "bigint" if column.low >= -(2**63) and column.high < 2**63 else "numeric"
        case "decimal" | "decimal comma":
            return "numeric"
        case "json":
            return "jsonb"
        case "bytes":
            return "bytea"
    return kind.name
