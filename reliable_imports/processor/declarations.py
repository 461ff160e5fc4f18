"""What a processor's attributes may be: one table of them, and the mistakes that are told at registration.

The classes have the defaults, and say of each attribute what it does. docs/reference.md is made from both.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NamedTuple, get_args

from reliable_imports.processor.base import DUPLICATES, PARTITIONS, BaseProcessor
from reliable_imports.processor.facts import facts_of
from reliable_imports.processor.table import TableProcessor
from reliable_imports.sources import SourceOptions
from reliable_imports.sources.stored.location import is_url
from reliable_imports.writes.request import Existing, NullKeys, UniqueIndex

_NEARLY = 0.8
_ROUGHLY = 0.6


class Attribute(NamedTuple):
    """One attribute that a processor may declare.

    Attributes:
        is_valid: whether a value can be what was meant.
        words: what it must be, to follow "it must be".
        default: what holds without it, for the documentation, where its value does not tell.
    """

    name: str
    is_valid: Callable[[Any], bool]
    words: str
    default: str | None = None


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip()) and value.isprintable()


def _are_names(value: Any) -> bool:
    return isinstance(value, Collection) and not isinstance(value, str | Mapping) and all(map(_is_name, value))


def _are_texts(value: Any) -> bool:
    return (
        isinstance(value, Collection)
        and not isinstance(value, str | Mapping)
        and all(isinstance(each, str) for each in value)
    )


def _is_renaming(value: Any) -> bool:
    return isinstance(value, Mapping) and _are_texts(list(value)) and _are_names(list(value.values()))


def _is_date_format(value: Any) -> bool:
    if not isinstance(value, str) or "%" not in value or "\0" in value:
        return False
    try:
        datetime.strptime(datetime(2001, 2, 3, 4, 5, 6).strftime(value), value)
    except ValueError:
        return False
    return True


def _are_date_formats(value: Any) -> bool:
    if isinstance(value, Mapping):
        return _are_names(list(value)) and all(bool(each) and _are_date_formats(each) for each in value.values())
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return all(map(_is_date_format, value))
    return _is_date_format(value)


def _are_errors(value: Any) -> bool:
    return isinstance(value, tuple) and all(isinstance(each, type) and issubclass(each, Exception) for each in value)


def _is_number_from(least: int) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, int) and not isinstance(value, bool) and value >= least


def _is_duration(value: Any) -> bool:
    return isinstance(value, timedelta) and value >= timedelta(0)


def _is_limit(value: Any) -> bool:
    return isinstance(value, timedelta) and value > timedelta(0)


def _is_share(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1


def _is_model(value: Any) -> bool:
    return isinstance(value, type) and hasattr(value, "model_validate")


def _is_cron(value: Any) -> bool:
    from croniter import croniter  # only for those who declare a schedule

    # Dagster knows no sixth field.
    return isinstance(value, str) and croniter.is_valid(value) and len(croniter.expand(value)[0]) == 5


def _are_partitions(value: Any) -> bool:
    found = PARTITIONS.fullmatch(value) if isinstance(value, str) else None
    try:
        return found is not None and bool(date.fromisoformat(found[2]))
    except ValueError:
        return False


def _or_none(is_valid: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: value is None or is_valid(value)


ATTRIBUTES: Mapping[type, tuple[Attribute, ...]] = {
    BaseProcessor: (
        Attribute(
            "batch_type",
            _is_name,
            "a printable text that is not empty",
            "from the class name: `CustomerDataProcessor` is `customer_data`",
        ),
        Attribute(
            "source",
            _or_none(lambda value: isinstance(value, Path) or is_url(value)),
            "a pathlib.Path, or a text with a URL in it",
        ),
        Attribute(
            "source_options",
            lambda value: isinstance(value, SourceOptions),
            "a SourceOptions",
            "by the file's name, UTF-8",
        ),
        Attribute("skip_unchanged", lambda value: isinstance(value, bool), "True or False"),
        Attribute("rename", _is_renaming, 'a mapping of source names to names, such as {"Order No.": "order_no"}'),
        Attribute("strip", lambda value: isinstance(value, bool), "True or False"),
        Attribute("null_tokens", _are_texts, 'a set of texts, such as frozenset({"NA"})'),
        Attribute(
            "decimal_comma",
            lambda value: isinstance(value, bool) or _are_names(value),
            'True, False, or a collection of field names, such as ("price",)',
        ),
        Attribute(
            "dates",
            _are_date_formats,
            'a format of strptime, a sequence of them, or a mapping of fields to them, such as "%d.%m.%Y"',
            "ISO 8601",
        ),
        Attribute("sensitive", _are_names, 'a collection of field names, such as ("iban",)'),
        Attribute("decimals", lambda value: isinstance(value, bool), "True or False"),
        Attribute("setup_sql", _or_none(lambda value: isinstance(value, Path)), "a pathlib.Path"),
        Attribute("depends_on", _are_names, 'a sequence of batch types, such as ("orders",)'),
        Attribute("schedule", _or_none(_is_cron), 'a cron expression of five fields, such as "0 6 * * *"'),
        Attribute("transient_errors", _are_errors, "a tuple of exception classes"),
        Attribute("max_tries", _is_number_from(1), "a whole number from 1"),
        Attribute("retry_pause", _is_duration, "a datetime.timedelta from 0"),
        Attribute("max_attempts", _is_number_from(1), "a whole number from 1"),
        Attribute("retry_backoff", _is_duration, "a datetime.timedelta from 0"),
        Attribute("item_timeout", _or_none(_is_limit), "a datetime.timedelta above 0, or None"),
        Attribute("statement_timeout", _or_none(_is_limit), "a datetime.timedelta above 0, or None"),
        Attribute("max_failed_items", _or_none(_is_number_from(0)), "a whole number from 0, or None"),
        Attribute("max_failed_share", _or_none(_is_share), "a number from 0 to 1, or None"),
        Attribute("breaker_after", _or_none(_is_number_from(1)), "a whole number from 1, or None"),
        Attribute(
            "natural_key",
            _are_names,
            'a sequence of field names, such as ("id",)',
            "none; of a TableProcessor its `key`",
        ),
        Attribute(
            "duplicates",
            lambda value: value in DUPLICATES,
            f"one of {', '.join(DUPLICATES)}",
            '`last_wins`; with `existing = "keep"` it is `first_wins`',
        ),
        Attribute("has_effects", lambda value: isinstance(value, bool), "True or False"),
        Attribute("prepare_concurrency", _is_number_from(1), "a whole number from 1"),
        Attribute("Params", _or_none(_is_model), "a pydantic model"),
        Attribute("partitions", _or_none(_are_partitions), 'like "daily from 2024-01-01"'),
    ),
    TableProcessor: (
        Attribute("table", _is_name, 'the name of a table, such as "shop.orders"', "it must be given"),
        Attribute(
            "key",
            _or_none(lambda value: isinstance(value, UniqueIndex) or _is_name(value) or _are_names(value)),
            'a UniqueIndex, or a sequence of columns, such as ("id",)',
            "the table's own",
        ),
        Attribute(
            "model",
            _or_none(lambda value: isinstance(value, type)),
            "a pydantic model or a dataclass",
            "the table's columns",
        ),
        Attribute("existing", lambda value: value in get_args(Existing), f"one of {', '.join(get_args(Existing))}"),
        Attribute("never_updated", _are_names, 'a sequence of columns, such as ("created_at",)'),
        Attribute("null_keys", lambda value: value in get_args(NullKeys), f"one of {', '.join(get_args(NullKeys))}"),
    ),
}
"""The attributes that each class of ours adds; a subclass has those of all its bases."""


def mistakes_of(processor: type[BaseProcessor]) -> list[str]:
    """What is wrong with the declarations of a class that has all its parts; each names its attribute."""
    attributes = [each for base, declared in ATTRIBUTES.items() if issubclass(processor, base) for each in declared]
    found = [*misspellings_of(processor), *_never_run(processor)]
    for each in attributes:
        if not each.is_valid(value := getattr(processor, each.name)):
            found.append(f"{each.name} is {_shown(value)}; it must be {each.words}")
    # What follows relies on what was checked above.
    return found or [
        *_unknown_key_fields(processor),
        *_unnamed_fields(processor),
        *_renamed_away(processor),
        *_rejecting_validation(processor),
    ]


def _never_run(processor: type[BaseProcessor]) -> Iterator[str]:
    """Methods that a call only begins: it returns something to await or to iterate, and the engine does neither."""
    for name in (
        "validate_item",
        "prepare_item",
        "process_item",
        "on_batch_start",
        "on_item_error",
        "on_batch_complete",
    ):
        method = inspect.unwrap(getattr(processor, name))
        if inspect.isgeneratorfunction(method) or inspect.isasyncgenfunction(method):
            yield f"{name} has a yield in it, so that a call runs none of it; use return"
        elif inspect.iscoroutinefunction(method) and name != "prepare_item":
            yield f"{name} is an async def, which nobody would await; only prepare_item may be one"


def misspellings_of(processor: type[BaseProcessor]) -> list[str]:
    """Public names of a team's classes that are nearly, and not quite, the name of something that a processor has.

    Values are compared with attributes, functions with methods, and nested classes with `Params`. What the class also
    has under the right name is not asked about.
    """
    known = {
        name: _kind(base, name)
        for base in ATTRIBUTES
        if issubclass(processor, base)
        for name in [*vars(base), *vars(base).get("__annotations__", {})]
        if not name.startswith("_")
    }
    own = {
        name: base
        for base in reversed(processor.__mro__)
        if issubclass(base, BaseProcessor) and base not in ATTRIBUTES
        for name in vars(base)
        if not name.startswith("_")
    }
    missing = [*facts_of(processor).missing_parts(), *facts_of(processor).parts_left_open()]
    found = []
    for name, base in own.items():
        if name in known:
            continue
        kind = _kind(base, name)
        candidates = [each for each, its_kind in known.items() if its_kind == kind and each not in own]
        unset = [each for each in candidates if each in missing]
        for meant in get_close_matches(name, candidates, 1, _NEARLY) or get_close_matches(name, unset, 1, _ROUGHLY):
            found.append(
                f"{base.__qualname__}.{name} is not known to a processor; did you mean {meant}? "
                f"(if it is your own, call it _{name})"
            )
    return found


def _kind(base: type, name: str) -> str:
    value = vars(base).get(name)
    if name == "Params" or (isinstance(value, type) and value.__qualname__.startswith(f"{base.__qualname__}.")):
        return "nested class"
    if isinstance(value, property):
        return "property"
    return "method" if inspect.isfunction(value) or isinstance(value, classmethod | staticmethod) else "attribute"


def nearest(name: str, names: Collection[str]) -> str | None:
    """The one of *names* that *name* is a misspelling of, if it looks like one."""
    return next(iter(get_close_matches(name, list(names), 1, _NEARLY)), None)


def _unknown_key_fields(processor: type[BaseProcessor]) -> Iterator[str]:
    """Fields of the natural key that no item can have, if a declared model says what items have."""
    if not processor.natural_key:
        return
    try:
        fields = facts_of(processor).source_fields()
    except Exception as error:  # whatever pydantic, or a team's own code in the model, raises
        yield f"model cannot be used: {type(error).__name__}: {error}"
        return
    names = {name for field in fields or () for name in field.source_names}
    for name in processor.natural_key if names else ():
        if name not in names:
            hint = nearest(name, names)
            yield f"natural_key names {name!r}, which the model does not read; " + (
                f"did you mean {hint!r}?" if hint else f"it reads {', '.join(sorted(names))}"
            )


def _unnamed_fields(processor: type[BaseProcessor]) -> Iterator[str]:
    """Ways of writing numbers and dates of which nothing says in which fields they are."""
    if issubclass(processor, TableProcessor):
        return
    if processor.decimal_comma is True:
        yield 'decimal_comma is True, and no model says which fields are numbers; name them, as in ("price",)'
    if processor.dates and not isinstance(processor.dates, Mapping):
        yield 'dates names no fields, and no model says which are dates; name them, as in {"day": "%d.%m.%Y"}'


def _renamed_away(processor: type[BaseProcessor]) -> Iterator[str]:
    """Fields that are named as the source names them, though they have another name by then."""
    new = set(processor.rename.values())
    named = {
        "natural_key": processor.natural_key,
        "decimal_comma": () if isinstance(processor.decimal_comma, bool) else processor.decimal_comma,
        "dates": processor.dates if isinstance(processor.dates, Mapping) else (),
    }
    for attribute, names in named.items():
        for name in names:
            if name in processor.rename and name not in new:
                yield f"{attribute} names {name!r}, which rename calls {processor.rename[name]!r}"


def _rejecting_validation(processor: type[BaseProcessor]) -> Iterator[str]:
    """A `validate_item` whose code has no way to accept an item, mostly because a `return` was forgotten."""
    if processor.validate_item is BaseProcessor.validate_item:
        return
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(processor.validate_item))).body[0]
    except (OSError, TypeError, SyntaxError, IndexError):  # no source to look at
        return
    if not isinstance(tree, ast.FunctionDef) or tree.decorator_list or isinstance(tree.body[-1], ast.Raise):
        return
    nodes = list(_own_nodes(tree.body))
    if any(isinstance(node, ast.Yield | ast.YieldFrom) for node in nodes):
        return
    returned = [node.value for node in nodes if isinstance(node, ast.Return)]
    if all(value is None or (isinstance(value, ast.Constant) and not value.value) for value in returned):
        yield "validate_item never returns anything true, so it rejects every item; is a `return` missing?"


def _own_nodes(nodes: Collection[ast.AST]) -> Iterator[ast.AST]:
    """Everything below *nodes* but what is in functions and classes of their own."""
    for node in nodes:
        yield node
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | ast.ClassDef):
            yield from _own_nodes(list(ast.iter_child_nodes(node)))


def _shown(value: object) -> str:
    """A value within a sentence; a text that may hold a password is not shown."""
    if value is None or isinstance(value, int | float) or (isinstance(value, str) and "@" not in value):
        return repr(value) if len(repr(value)) <= 80 else f"{repr(value)[:79]}…"
    return f"the class {value.__name__}" if isinstance(value, type) else f"of type {type(value).__name__}"
