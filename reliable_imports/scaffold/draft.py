"""What is to be written for a batch type: guessed from a sample, or read from a table that exists."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from reliable_imports.errors import ConfigurationError
from reliable_imports.scaffold import kinds
from reliable_imports.scaffold.columns import Guess, Habits, guess, habits_of
from reliable_imports.scaffold.keys import Key, find_key
from reliable_imports.scaffold.names import class_name, sql_name
from reliable_imports.scaffold.samples import Sample, Watch, read_sample, rows_of, unwatched
from reliable_imports.sources import SourceOptions, locate
from reliable_imports.sources.hints import plain_name
from reliable_imports.sources.stored.location import file_name

_CODES = re.compile(r"[A-Z]{2}")
_PART = re.compile(r'"((?:[^"\0]|"")+)"|([^\s".\\{}\0]+)')
_TABLE = re.compile(rf"(?:{_PART.pattern})(?:\.(?:{_PART.pattern}))?")
_FEWEST_CODES = 10
_LONGEST_NAME = 63
_PADDED_EVERYWHERE = 0.9


@dataclass(frozen=True, slots=True)
class Draft:
    """
    Attributes:
        batch_type: what is imported.
        class_name: of the processor.
        table: as SQL writes it, the schema before it if one was named.
        file: the sample's name.
        columns: of the table, in the order of the sample.
        key: None for a table that exists: it has its own.
        null_tokens: what stands for "no value", the empty cell too.
        strip: blanks around values are taken off.
        first: rows of the sample, for the test.
        sample: None where there was none.
    """

    batch_type: str
    class_name: str
    table: str
    file: str | None
    columns: tuple[Guess, ...]
    key: Key | None
    options: SourceOptions = field(default_factory=SourceOptions)
    null_tokens: frozenset[str] = frozenset()
    strip: bool = False
    first: tuple[dict[str, Any], ...] = ()
    sample: Sample | None = None
    rename: dict[str, str] = field(default_factory=dict)


def draft_from_file(
    batch_type: str, path: str, table: str | None = None, *, may_use_all: bool = True, watch: Watch = unwatched
) -> Draft:
    """
    Args:
        table: `name` or `schema.name`; the batch type if not given.
        may_use_all: the server can have unique constraints in which nulls are equal: PostgreSQL 15 or newer.
        watch: shows how far the sample is read.

    Raises:
        ConfigurationError: no class can have this batch type, or no table this name.
        SourceError: the file cannot be read, or holds no rows of named values.
    """
    made_name = class_name(batch_type)
    target = table_name(table or batch_type)
    location = locate(path)
    sample = read_sample(location, watch)
    habits = habits_of(sample.columns)
    guesses = [guess(column, habits) for column in sample.columns]
    guesses, strip = _settled_blanks(guesses)
    guesses, tokens = _settled_tokens(guesses, habits, strip=strip)
    key = _proven_key(sample, guesses, tokens, strip=strip, may_use_all=may_use_all, watch=watch)
    return Draft(
        batch_type,
        made_name,
        target,
        file_name(location),
        tuple(guesses),
        key,
        sample.options,
        tokens,
        strip,
        tuple(sample.first),
        sample,
        {each.column.source: each.name for each in guesses if each.column.source != each.name},
    )


def _proven_key(
    sample: Sample,
    guesses: Sequence[Guess],
    tokens: frozenset[str],
    *,
    strip: bool,
    may_use_all: bool,
    watch: Watch,
) -> Key:
    """A key under which no two rows of the sample are one, also where different texts are equal to the database."""
    usable, equal_rows = list(guesses), sample.equal_rows
    while True:
        key = find_key(usable, sample.rows, equal_rows=equal_rows, may_use_all=may_use_all)
        chosen = [each for each in guesses if each.name in key.columns]
        if key.basis == "place" or not (strip or any(each.may_be_equal for each in chosen)):
            return key
        equal = _equal_rows(sample, chosen, tokens, strip=strip, watch=watch)
        if not equal:
            return key
        if len(chosen) > 1:
            equal_rows = equal  # no rarer key is looked for
        usable = [
            replace(each, column=replace(each.column, seen=None)) if each.name in key.columns else each
            for each in usable
        ]


def _equal_rows(sample: Sample, columns: Sequence[Guess], tokens: frozenset[str], *, strip: bool, watch: Watch) -> int:
    """How many rows are equal to an earlier one in the columns, as the database has them."""
    seen, count = set(), 0
    for row in rows_of(sample, watch):
        count += 1
        seen.add(tuple(_as_stored(row.get(each.column.source), each, tokens, strip=strip) for each in columns))
    return count - len(seen)


def _as_stored(value: Any, each: Guess, tokens: frozenset[str], *, strip: bool) -> Any:
    if isinstance(value, str):
        value = value.strip() if strip else value
        if value in tokens:
            return None
    found = kinds.python_value(value, each.kind)
    return repr(found) if isinstance(found, (dict, list)) else found


def draft_for_table(
    batch_type: str, table: str, columns: Sequence[str], path: str | None = None, *, watch: Watch = unwatched
) -> Draft:
    """A processor for a table that exists.

    Args:
        columns: of the table.
        path: a sample, to see how it is read and which of its names are columns under another one.
        watch: as of `draft_from_file`.

    Raises as `draft_from_file`.
    """
    made_name, target = class_name(batch_type), table_name(table)
    if path is None:
        return Draft(batch_type, made_name, target, None, (), None)
    draft = draft_from_file(batch_type, path, table, watch=watch)
    by_plain = {plain_name(name): name for name in columns}
    rename = {}
    for each in draft.columns:
        source = each.column.source
        column = by_plain.get(plain_name(source)) or by_plain.get(plain_name(each.name))
        if source not in columns and column is not None:
            rename[source] = column
            each.column.name = column
    return replace(draft, key=None, rename=rename)


def table_name(text: str) -> str:
    """A table's name as it stands in SQL and in a processor, each part in quotes where it needs them.

    Raises:
        ConfigurationError: it is none.
    """
    if not _TABLE.fullmatch(text):
        raise ConfigurationError(f"{text!r} is no name of a table; give one like orders or shop.orders")
    names = [inside.replace('""', '"') or plain for inside, plain in _PART.findall(text)]
    if any(len(name.encode()) > _LONGEST_NAME for name in names):
        raise ConfigurationError(f"{text!r} is no name of a table: PostgreSQL takes {_LONGEST_NAME} bytes at most")
    return ".".join(map(sql_name, names))


def _settled_blanks(guesses: Sequence[Guess]) -> tuple[list[Guess], bool]:
    """Blanks around values are taken off all columns or none: off none if a text has them now and then."""
    wanted = any(each.strip for each in guesses)
    padded = [each for each in guesses if each.column.padded and not each.strip]
    is_layout = all(each.column.padded >= _PADDED_EVERYWHERE * each.column.values for each in padded)
    if not wanted or is_layout:
        return list(guesses), wanted
    return [
        replace(each, kind=kinds.TEXT, sql="text", strip=False, tokens=frozenset(), remark="blanks around its values")
        if each.strip
        else each
        for each in guesses
    ], False


def _settled_tokens(guesses: Sequence[Guess], habits: Habits, *, strip: bool) -> tuple[list[Guess], frozenset[str]]:
    """What stands for "no value" is one set for the source: a token that is a value elsewhere is none."""
    found = frozenset().union(*[each.tokens for each in guesses])
    values = {token for token in found for each in guesses if each.sql == "text" and _is_value(token, each)}
    settled = []
    for each in guesses:
        if each.tokens & values:
            told = f"{', '.join(sorted(each.tokens & values))} is a value of another column, and so no NULL"
            each = replace(each, kind=kinds.TEXT, sql="text", tokens=frozenset(), remark=told)
        settled.append(each)
    tokens = frozenset().union(*[each.tokens for each in settled])
    settled = [
        replace(each, tokens=frozenset(token for token in tokens if each.column.tokens[token])) for each in settled
    ]
    if any(
        each.column.empty or (strip and each.column.blank)
        for each in settled
        if not each.column.has_own_types or each.sql != "text"
    ):
        tokens |= {""}
    return settled, tokens


def _is_value(token: str, each: Guess) -> bool:
    """Whether a text column means what another column has for "no value": NA among codes of two letters."""
    if not each.column.tokens[token] or not _CODES.fullmatch(token):
        return False
    return each.column.longest <= 3 and len(each.column.alike) >= _FEWEST_CODES


def counted_tokens(draft: Draft) -> Counter[str]:
    """How often each token stands for "no value" in the sample."""
    total: Counter[str] = Counter()
    for each in draft.columns:
        total.update({token: each.column.tokens[token] for token in each.tokens})
        total[""] += each.column.empty
    return total
