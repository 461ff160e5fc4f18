"""The text of the files that a draft becomes."""

from __future__ import annotations

import dataclasses
import json
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from reliable_imports.processor.base import batch_type_of
from reliable_imports.scaffold import kinds
from reliable_imports.scaffold.columns import Guess
from reliable_imports.scaffold.draft import Draft
from reliable_imports.scaffold.kinds import python_value
from reliable_imports.scaffold.names import sql_name
from reliable_imports.sources import SourceOptions

_WIDTH = 120
_INDENT = 4
_TEST_CELL = 200
"""Characters of a value in the test; a row with a longer one is left out, if another is there."""


@cache
def templates() -> Environment:
    return Environment(
        loader=PackageLoader("reliable_imports.scaffold"),
        autoescape=False,  # Python and SQL; what comes from data is put in as a literal of theirs
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


def processor_code(draft: Draft, sql_file: str | None) -> str:
    """The module of the processor.

    Args:
        sql_file: the name of the file beside it that makes the table, if there is one.
    """
    by_place = draft.key is not None and draft.key.basis == "place"
    names = ["TableProcessor"]
    if by_place:
        names += ["Batch", "ImportBatchItem", "ImportContext"]
    if draft.options != SourceOptions():
        names.append("SourceOptions")
    about = f"Rows of files like {draft.file}" if draft.file else "Rows"
    return (
        templates()
        .get_template("processor.py.jinja")
        .render(
            summary=_in_docstring(f"{about}, for the table {draft.table}."),
            from_typing=by_place,
            setup=sql_file is not None,
            imports=", ".join(sorted(names)),
            name=draft.class_name,
            table=python(draft.table),
            attributes=list(_attributes(draft, sql_file)),
            by_place=by_place,
        )
    )


def _attributes(draft: Draft, sql_file: str | None) -> Iterable[str]:
    if batch_type_of(draft.class_name) != draft.batch_type:
        yield f"batch_type = {python(draft.batch_type)}"
    if sql_file is not None:
        yield f"setup_sql = Path(__file__).with_name({python(sql_file)})"
    if draft.options != SourceOptions():
        yield from _call("source_options = SourceOptions", _options(draft.options))
    if draft.rename:
        yield from _mapping("rename", draft.rename)
    if draft.strip:
        yield "strip = True"
    if draft.null_tokens:
        tokens = ", ".join(map(python, sorted(draft.null_tokens)))
        yield f"null_tokens = frozenset({{{tokens}}})"
    yield from _decimal_comma(draft)
    yield from _dates(draft)


def _options(options: SourceOptions) -> dict[str, Any]:
    default = SourceOptions()
    return {
        each.name: getattr(options, each.name)
        for each in dataclasses.fields(SourceOptions)
        if getattr(options, each.name) != getattr(default, each.name)
    }


def _decimal_comma(draft: Draft) -> Iterable[str]:
    commas = [each.name for each in draft.columns if each.kind is kinds.COMMA]
    points = [each.name for each in draft.columns if each.kind is kinds.DECIMAL]
    if commas and not points:
        yield "decimal_comma = True"
    elif commas:
        yield from _tuple("decimal_comma", commas)


def _dates(draft: Draft) -> Iterable[str]:
    forms = {each.name: each.kind.form for each in draft.columns if each.kind.form}
    if not forms:
        return
    different = list(dict.fromkeys(forms.values()))
    others = [each for each in draft.columns if each.sql in ("date", "timestamp", "timestamptz") and not each.kind.form]
    if len(different) == 1 and not others:
        yield f"dates = {python(different[0])}"
    else:
        yield from _mapping("dates", forms)


def _call(begin: str, members: Mapping[str, Any]) -> Iterable[str]:
    return _enclosed(f"{begin}(", [f"{name}={python(value)}" for name, value in members.items()], ")")


def _mapping(name: str, members: Mapping[str, Any]) -> Iterable[str]:
    return _enclosed(f"{name} = {{", [f"{python(key)}: {python(value)}" for key, value in members.items()], "}")


def _tuple(name: str, members: Iterable[str]) -> Iterable[str]:
    parts = [python(each) for each in members]
    return _enclosed(f"{name} = (", parts, ",)" if len(parts) == 1 else ")")


def _enclosed(begin: str, parts: Sequence[str], end: str) -> Iterable[str]:
    """The parts in one line, or each in a line of its own where that would be too long."""
    one_line = f"{begin}{', '.join(parts)}{end}"
    if len(one_line) + _INDENT <= _WIDTH:
        yield one_line
        return
    yield begin
    for part in parts:
        yield f"    {part},"
    yield end.lstrip(",")


def table_sql(draft: Draft) -> str:
    """The statements that make the table."""
    assert draft.key is not None
    sample = draft.sample
    rows = f"{sample.rows:,} rows of {draft.file}" if sample is not None else str(draft.file)
    lines = [f"{sql_name(each.name)} {each.sql}" for each in draft.columns]
    notes = [_note(each) for each in draft.columns]
    keys = ", ".join(map(sql_name, draft.key.columns))
    match draft.key.basis:
        case "columns":
            lines.append(f"PRIMARY KEY ({keys})")
            note = f"{draft.key.why}; name other columns if a later file may repeat these"
        case "all":
            lines.append(f"UNIQUE NULLS NOT DISTINCT ({keys})")
            note = f"{draft.key.why}; name the columns of a key if there is one (PostgreSQL 15 or newer)"
        case _:
            lines += ["source_file text DEFAULT ''", "source_place bigint DEFAULT 0", f"PRIMARY KEY ({keys})"]
            note = draft.key.why
    notes += [""] * (len(lines) - 1 - len(notes)) + [note]
    commas = [*[","] * (len(lines) - 1), ""]
    lines = [
        part
        for note, line, comma in zip(notes, lines, commas, strict=True)
        for part in [*_comment(note), f"{line}{comma}"]
    ]
    schema, separator, _ = draft.table.rpartition(".")
    return (
        templates()
        .get_template("table.sql.jinja")
        .render(
            summary=_one_line(f"The table {draft.table}, with types that take {rows} as they are."),
            schema=schema if separator else None,
            table=draft.table,
            lines=lines,
        )
    )


def _note(each: Guess) -> str:
    """Why a column has its type, and what a person can do about it, where that is not plain."""
    if not each.remark:
        return ""
    told = f"{each.sql}: {each.remark}"
    return f"{told}; {each.remedy}" if each.remedy else told


def _comment(note: str) -> list[str]:
    return [f"-- {line}" for line in textwrap.wrap(_one_line(note), _WIDTH - _INDENT - len("-- "))]


def test_code(draft: Draft) -> str:
    """A test of the first rows, for pytest."""
    chosen = [row for row in draft.first if all(len(str(value)) <= _TEST_CELL for value in row.values())]
    chosen = chosen or list(draft.first[:1])
    usable = [each for each in draft.columns if each.sql != "bytea"]
    rows = [{each.name: stored_value(draft, each, row.get(each.column.source)) for each in usable} for row in chosen]
    return (
        templates()
        .get_template("test.py.jinja")
        .render(
            file=_in_docstring(draft.file or "the sample"),
            datetime_names=", ".join(_used(rows)),
            has_decimals=any(isinstance(value, Decimal) for row in [*rows, *chosen] for value in _leaves(row)),
            batch_type=draft.batch_type,
            items=[[f"{python(name)}: {python(value)}" for name, value in row.items()] for row in chosen],
            rows=[[f"{python(name)}: {python(value)}" for name, value in row.items()] for row in rows],
            table=draft.table.replace('"', '\\"'),
        )
    )


def stored_value(draft: Draft, each: Guess, value: Any) -> Any:
    """What the database gives back for a value of the source."""
    if isinstance(value, str):
        value = value.strip() if draft.strip else value
        if value in draft.null_tokens:
            return None
    if each.sql == "jsonb":
        return json.loads(json.dumps(value, default=float))
    return python_value(value, each.kind)


def _used(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    found = set()
    for row in rows:
        for value in _leaves(row):
            if isinstance(value, datetime):
                found.add("datetime")
                if value.tzinfo is not None:
                    found |= {"timezone", "timedelta"} if value.utcoffset() else {"timezone"}
            elif isinstance(value, date):
                found.add("date")
            elif isinstance(value, time):
                found.add("time")
    return sorted(found)


def _leaves(value: Any) -> Iterable[Any]:
    if isinstance(value, Mapping):
        for each in value.values():
            yield from _leaves(each)
    elif isinstance(value, list):
        for each in value:
            yield from _leaves(each)
    else:
        yield value


def python(value: Any) -> str:
    """A value as Python source, with double quotes and without anything that a terminal or an editor would obey."""
    match value:
        case str():
            return _string(value)
        case datetime():
            naive = repr(value.replace(tzinfo=None)).removeprefix("datetime.")
            if value.tzinfo is None:
                return naive
            offset = value.utcoffset() or timedelta(0)
            zone = f"timezone(timedelta(seconds={int(offset.total_seconds())}))" if offset else "timezone.utc"
            return f"{naive[:-1]}, tzinfo={zone})"
        case date() | time():
            return repr(value).removeprefix("datetime.")
        case Decimal():
            return f'Decimal("{value}")'
        case Mapping():
            return "{" + ", ".join(f"{python(name)}: {python(each)}" for name, each in value.items()) + "}"
        case list():
            return "[" + ", ".join(map(python, value)) + "]"
        case tuple():
            return "(" + ", ".join(map(python, value)) + ("," if len(value) == 1 else "") + ")"
    return repr(value)


def _string(value: str) -> str:
    text = repr(value)
    if text.startswith("'") and '"' not in value:
        text = '"' + text[1:-1].replace("\\'", "'") + '"'
    return text


def _in_docstring(text: str) -> str:
    return _one_line(text).replace("\\", "/").replace('"""', "'''")


def _one_line(text: str) -> str:
    return " ".join("".join(character if character.isprintable() else " " for character in text).split())
