"""What is kept of an error: enough to find its cause, nothing of the item's values."""

from __future__ import annotations

import os
import re
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import lru_cache, partial
from pathlib import Path
from types import CodeType, MappingProxyType, TracebackType
from typing import Any, NamedTuple

import psycopg2
import psycopg2.errors

from reliable_imports.errors import (
    ContextMisuse,
    DuplicateKey,
    InvalidRow,
    ItemError,
    ItemTimeout,
    KilledWorker,
    NullInKey,
    UnusableTarget,
)
from reliable_imports.items.code.team import TeamCode
from reliable_imports.items.fingerprint import (
    Located,
    facts_of_error,
    fingerprint,
    identifiers,
    locate,
    locate_timeout,
    raised_by,
    server_places,
    statement_at,
    words_that_are_written,
)
from reliable_imports.items.message_values import is_known, masked, without_values
from reliable_imports.items.model_fields import ModelFault, invalid_row, is_refusal_of_pydantic
from reliable_imports.items.redaction import fields_that_hold, is_secret_key, may_keep, without_secrets
from reliable_imports.items.rejection import Rejected, Rejection
from reliable_imports.models import Fault
from reliable_imports.statuses import Stage

_OWN_CODE = str(Path(__file__).parents[1]) + os.sep
_OWN_WORDS = (ContextMisuse, DuplicateKey, ItemTimeout, KilledWorker, NullInKey, UnusableTarget)
_MAX_MESSAGE = 1_000
_MAX_TRACEBACK = 4_000
_MAX_KEY = 2_000
_MAX_FRAMES = 200
# DETAIL of a unique or foreign key violation: the columns, the values, and what is wrong with them.
_KEY_DETAIL = re.compile(r"^Key \((?P<columns>.*?)\)=\(.*\) (?P<rest>(?:is|already)\b[^=]*?)\.?$", re.DOTALL)
# The same in any language.
_DETAIL_VALUES = re.compile(r"\)=\((.*)\)[^()]*$", re.DOTALL)
_NUMBER = re.compile(r"\d+")
_QUOTED = re.compile(r'".*"', re.DOTALL)
_MAX_VALUE = 200
# Classes in which the server speaks of itself, and has read no row for it.
_OF_THE_SERVER = frozenset({"08", "40", "53", "55", "57", "58", "XX"})
_NOBODYS = TeamCode()
_NO_BODIES: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Failure:
    """One failed attempt, as it is stored.

    Attributes:
        stage: where in the item's life it arose.
        error_type: the exception's class; for errors of the server the name of its SQLSTATE, as psycopg2 has it.
        faults: all that is wrong with the item, as far as one attempt can tell; at least one.
        field: the model's fields or the column that it is about, if it is about any.
        message: what was wrong; the item's values are replaced by their field names in braces.
        detail: the server's DETAIL, values replaced.
        missing_key: the value that a foreign key did not find, as the server writes it; of several columns, the values
            with a comma and a space between them. To look for it again, not to be shown.
        missing_fields: instead of it, where it is what sensitive fields hold: the fields of the item that hold it.
        traceback: the calls that led to it, without the message; None where no user code ran.
        retryable: another try later may succeed without anybody's help.
    """

    stage: Stage
    error_type: str
    message: str
    faults: tuple[Fault, ...]
    sqlstate: str | None = None
    constraint: str | None = None
    field: str | None = None
    detail: str | None = None
    missing_key: str | None = None
    missing_fields: tuple[str, ...] | None = None
    traceback: str | None = None
    retryable: bool = False

    @property
    def wants_row(self) -> bool:
        """Whether it failed for want of a row that can be looked for."""
        return self.missing_key is not None or self.missing_fields is not None

    @property
    def reason(self) -> str:
        """The fingerprint of the first cause."""
        return self.faults[0].reason

    @property
    def reasons(self) -> tuple[str, ...]:
        """The fingerprints of all causes, each once."""
        return tuple(dict.fromkeys(fault.reason for fault in self.faults))

    def without_values_of(self, sensitive: frozenset[str], source_data: object) -> Failure:
        """The same, without what fields hold that must be shown nowhere."""
        if not sensitive:
            return self
        hidden = partial(without_secrets, source_data=source_data, sensitive=sensitive)
        faults = [
            fault._replace(
                title=hidden(fault.title),
                value=fault.value if may_keep(fault.field, fault.value, source_data, sensitive) else None,
            )
            for fault in self.faults
        ]
        shown = replace(self, message=hidden(self.message), detail=hidden(self.detail), faults=tuple(faults))
        if self.missing_key is None or not is_secret_key(self.missing_key, source_data, sensitive):
            return shown
        return replace(
            shown, missing_key=None, missing_fields=fields_that_hold(self.missing_key, source_data, sensitive)
        )

    @property
    def title(self) -> str:
        """The first cause in words, without values."""
        return self.faults[0].title


def read_failure(batch_type: str, kind: str, problem: str) -> Failure:
    """An item that was stored unread: its line could not be made out when the batch was created."""
    message = _clean(problem)
    heading = f"UnreadableItem ({kind})"
    reason = fingerprint(batch_type, "UnreadableItem", kind)
    return Failure(
        stage=Stage.READ,
        error_type="UnreadableItem",
        field=kind,
        message=message,
        faults=(Fault(reason, f"{heading}: {message}", None, kind),),
    )


def rejection(batch_type: str, rejected: Rejected | Rejection, source_data: object = None) -> Failure:
    """An item that the processor does not want: `validate_item` returned something falsy, or called `ctx.reject`."""
    message = _clean(rejected.words)
    return Failure(
        stage=Stage.VALIDATE,
        error_type="ItemRejected",
        message=message,
        field=rejected.field,
        faults=(
            Fault(
                fingerprint(batch_type, "ItemRejected", *rejected.facts),
                f"ItemRejected: {message}",
                rejected.field,
                "rejected",
                _value_of(rejected.field, source_data),
            ),
        ),
    )


class Refused(NamedTuple):
    """A column that refuses its value.

    Attributes:
        sqlstate: what it says of it.
    """

    table: str
    column: str
    sqlstate: str
    value: str | None


class Named(NamedTuple):
    """What an error of the server is about, by the names that do not vary.

    Attributes:
        table: of a partition, the table that it belongs to; with its schema.
        constraint: likewise, that of this table.
        columns: those that the constraint is over.
    """

    table: str | None = None
    constraint: str | None = None
    columns: tuple[str, ...] = ()


def server_failure(
    batch_type: str,
    stage: Stage,
    *,
    sqlstate: str,
    message: str,
    detail: str | None,
    table: str | None,
    column: str | None,
    constraint: str | None,
    context: str | None = None,
    named: Named | None = None,
    refused: Sequence[Refused] = (),
    bodies: Mapping[str, str] = _NO_BODIES,
    located: Located | None = None,
    source_data: object = None,
    retryable: bool = False,
    frames: str | None = None,
) -> Failure:
    """An error that PostgreSQL raised for one statement.

    Args:
        named: what the table and the constraint are called where partitions are not told apart; as the error has it
            if that was not asked for.
        refused: the columns that refuse their values, where the error names none.
        bodies: the text of the database's functions that *context* names, by their names in it.
        located: where the team's code sent the statement, if it did.
    """
    name = _sqlstate_name(sqlstate)
    named = named or Named(table, constraint)
    places = server_places(context)
    where = f"{name} in {located.function}" if located is not None and located.function else name
    is_of_the_server = sqlstate[:2] in _OF_THE_SERVER
    is_raised = not is_known(message) and not is_of_the_server and (bool(places) or sqlstate.startswith("P0"))
    if is_raised:  # in words of the team's, with whatever a trigger has read
        message = f"raised by {places[0].function}" if places else "raised in the database"
    if is_of_the_server:
        message = masked(message, source_data)
    message = without_values(message, source_data, (table, column, constraint))
    if sqlstate.startswith("22"):  # a data exception quotes the value at fault
        message = _QUOTED.sub('"…"', message)
    missing = _missing_key(sqlstate, detail)
    detail = None if is_raised else _key_detail(sqlstate, detail)
    message = _clean(_of_root(message, [(table, named.table), (constraint, named.constraint)]))
    heading = " ".join(filter(None, [name, named.constraint]))
    if constraint and not (refused and table is None):
        field = column or (named.columns[0] if len(named.columns) == 1 else None)
        facts = [named.table or "", named.constraint or constraint]
        title = f"{heading}: {detail or message}"
        faults = [_fault(batch_type, [sqlstate, *facts], title, field, named.constraint or constraint, source_data)]
    elif column:
        title = f"{heading}: {detail or message}"
        faults = [_fault(batch_type, [sqlstate, named.table or "", column], title, column, name, source_data)]
    elif refused:
        ordered = sorted(refused, key=lambda each: each.sqlstate != sqlstate)
        faults = [_refused_fault(batch_type, each, constraint, message, sqlstate) for each in ordered]
        message = "; ".join(f"{fault.field}: {fault.title.partition(': ')[2]}" for fault in faults)
    else:
        facts = [sqlstate, named.table or ""]
        if sqlstate.startswith("42"):
            facts += identifiers(message)
        facts += [f"{place.function} {statement_at(place, bodies)}" for place in places] or (
            located.facts if located is not None else ()
        )
        title = f"{heading if named.constraint or places else where}: {detail or message}"
        faults = [_fault(batch_type, facts, title, None, name, source_data)]
    return Failure(
        stage=stage,
        error_type=name,
        sqlstate=sqlstate,
        constraint=constraint or None,
        field=column or faults[0].field,
        message=message,
        detail=detail,
        missing_key=missing,
        traceback=frames,
        faults=tuple(faults),
        retryable=retryable,
    )


def _of_root(message: str, names: Sequence[tuple[str | None, str | None]]) -> str:
    """A message with the names of a partition's parent, so that it is the same for all partitions."""
    for given, root in names:
        if given and root:
            message = message.replace(f'"{given}"', f'"{root.rpartition(".")[2]}"')
    return message


def _fault(
    batch_type: str, facts: Sequence[str], title: str, field: str | None, rule: str, source_data: object
) -> Fault:
    return Fault(*_cause(batch_type, tuple(facts), title, field, rule), _value_of(field, source_data))


@lru_cache(maxsize=1024)
def _cause(
    batch_type: str, facts: tuple[str, ...], title: str, field: str | None, rule: str
) -> tuple[str, str, str | None, str]:
    """All of a fault but the value, which is the same for thousands of items."""
    return fingerprint(batch_type, *facts), _clean(title), field and _clean(field), _clean(rule)


def _refused_fault(batch_type: str, refused: Refused, constraint: str | None, message: str, sqlstate: str) -> Fault:
    name = _sqlstate_name(refused.sqlstate)
    facts = [refused.sqlstate, refused.table, constraint or "", refused.column]
    words = message if refused.sqlstate == sqlstate else "the column does not take its value"
    title = _clean(f"{name} {refused.column}: {words}")
    return Fault(fingerprint(batch_type, *facts), title, refused.column, constraint or name, _cut(refused.value))


def exception_failure(
    batch_type: str,
    stage: Stage,
    error: BaseException,
    *,
    source_data: object = None,
    team: TeamCode = _NOBODYS,
    named: Named | None = None,
    refused: Sequence[Refused] = (),
    bodies: Mapping[str, str] = _NO_BODIES,
    is_declared: bool = False,
    retryable: bool = False,
) -> Failure:
    """An exception of user code, or of the server through user code. Never raises, whatever *error* does.

    Args:
        team: which code is that of the processor's team.
        named, refused, bodies: see `server_failure`.
        is_declared: it is about a write that was only declared, so where that was sent says nothing.
    """
    frames = _frames(error.__traceback__)
    if isinstance(error, Rejection):
        return replace(rejection(batch_type, error, source_data), traceback=frames)
    if isinstance(error, psycopg2.Error) and error.pgcode:
        return server_failure(
            batch_type,
            stage,
            sqlstate=error.pgcode,
            message=error.diag.message_primary or type(error).__name__,
            detail=error.diag.message_detail,
            table=error.diag.table_name,
            column=error.diag.column_name,
            constraint=error.diag.constraint_name,
            context=error.diag.context,
            named=named,
            refused=refused,
            bodies=bodies,
            located=None if is_declared else locate(error, team),
            source_data=source_data,
            retryable=retryable,
            frames=frames,
        )
    if isinstance(error, InvalidRow):
        return _invalid_row(batch_type, error, "", team, frames)
    if is_refusal_of_pydantic(error):
        return replace(
            _invalid_row(batch_type, invalid_row(error), error.title, team, frames),  # type: ignore[attr-defined]
            stage=stage,
            retryable=retryable,
        )
    name = type(error).__name__
    if isinstance(error, _OWN_WORDS) or _is_said_here(error):
        located = locate_timeout(error, team) if isinstance(error, ItemTimeout) else locate(error, team)
        words = str(error)
        # A statement of ours that nobody can see says what it is about.
        facts = [name, *located.facts, *_about(error)]
    else:
        located = locate(error, team)
        facts = facts_of_error(error, located, team, source_data)
        words = _words_of(error, located, team, source_data, facts)
    heading = f"{name} in {located.function}" if located.function else name
    message = _clean(words) or (f"`{located.code}`" if located.code else name)
    return Failure(
        stage=stage,
        error_type=name,
        message=message,
        traceback=frames,
        field=None,
        faults=(_fault(batch_type, facts, f"{heading}: {message}", located.field, name, source_data),),
        retryable=retryable,
    )


def _invalid_row(batch_type: str, error: InvalidRow, title: str, team: TeamCode, frames: str | None) -> Failure:
    """A fault for each thing that a model says."""
    name = type(error).__name__
    told: list[ModelFault] = list(error.faults) or [
        ModelFault(field, error.kinds.get(field, ""), problem, None, True, None)
        for field, problem in error.problems.items()
    ]
    faults: dict[str, Fault] = {}
    for each in told:
        facts: tuple[str, ...] = (name, title, each.field, each.kind)
        problem = each.problem
        if each.raised is not None:
            located = locate(each.raised, team)
            facts += located.facts
            if located.words is not None:
                problem = located.words
            elif located.facts:
                problem = words_that_are_written(problem, team.files)
        cause = _cause(batch_type, facts, f"{name}: {each.field}: {problem}", each.field, each.kind)
        faults.setdefault(cause[0], Fault(*cause, None if each.is_missing else _cut(each.value)))
    message = "; ".join(fault.title.partition(": ")[2] for fault in faults.values())
    return Failure(
        stage=Stage.VALIDATE,
        error_type=name,
        field=_clean(", ".join(error.kinds)),
        message=_clean(message),
        traceback=frames,
        faults=tuple(faults.values()) or (Fault(fingerprint(batch_type, name), name, None, name),),
    )


def _is_said_here(error: BaseException) -> bool:
    """Whether a plain ItemError is ours; a team may raise it too."""
    return type(error) is ItemError and (raised_by(error.__traceback__) or "").startswith(_OWN_CODE)


def _about(error: BaseException) -> Sequence[str]:
    match error:
        case NullInKey(table=table, missing=missing):
            return [table, *missing]
        case UnusableTarget():
            return [str(error).partition(";")[0]]
        case ContextMisuse(about=str(about)):
            return [about]
        case ItemError() if type(error) is ItemError:
            return [_NUMBER.sub("", str(error))]
    return []


def _value_of(field: str | None, source_data: object) -> str | None:
    if field is None or not isinstance(source_data, dict) or field not in source_data:
        return None
    return _cut(source_data[field])


def _cut(value: Any) -> str | None:
    """A single value as text that can be stored, and no longer than a person reads."""
    if value is None or isinstance(value, dict | list | tuple):
        return None
    return _clean(_as_text(value), _MAX_VALUE)


def _as_text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, str | int | float | Decimal) else ""


# These are remembered, for thousands of items fail in one way.


@lru_cache(maxsize=256)
def _sqlstate_name(sqlstate: str) -> str:
    try:
        return str(psycopg2.errors.lookup(sqlstate).__name__)
    except KeyError:
        return f"SqlState{sqlstate}"


def _key_detail(sqlstate: str, detail: str | None) -> str | None:
    """The DETAIL of a unique or foreign key violation without its values; others hold values in many shapes."""
    if detail is None or sqlstate not in {"23503", "23505"}:
        return None
    found = _KEY_DETAIL.match(detail)
    return _clean(f"({found['columns']}) {found['rest']}") if found else None


def _missing_key(sqlstate: str, detail: str | None) -> str | None:
    """In whichever language the server's DETAIL is; a row that is still referenced is not missing."""
    if detail is None or sqlstate != "23503" or "still referenced" in detail:
        return None
    found = _DETAIL_VALUES.search(detail)
    return found[1] if found and len(found[1]) <= _MAX_KEY else None


def _words_of(error: BaseException, located: Located, team: TeamCode, source_data: object, facts: Sequence[str]) -> str:
    """What *error* says, without values: the words of its `raise` as they are written, if it has one."""
    try:
        if located.words is not None:
            return located.words
        if isinstance(error, KeyError):
            return next((repr(fact.removeprefix("key ")) for fact in facts if fact.startswith("key ")), "")
        said = str(error)
        if not said:
            return ""
        raised = raised_by(error.__traceback__)
        if raised is None:
            return masked(said, source_data, located.code)
        if located.facts or team is _NOBODYS:
            return words_that_are_written(without_values(said, source_data), {raised, *team.files})
        return ""
    except Exception:  # a broken __str__ must not keep the failure from being recorded
        return ""


def _clean(text: str, limit: int = _MAX_MESSAGE) -> str:
    """Text that PostgreSQL can store and a terminal can show, on one line."""
    return _on_one_line(text[: limit * 2], limit)


@lru_cache(maxsize=256)
def _on_one_line(text: str, limit: int) -> str:
    text = text.encode("utf-8", "replace").decode("utf-8")
    if not text.isprintable():
        text = "".join(character if character.isprintable() else " " for character in text)
    text = " ".join(text.split())
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _frames(trace: TracebackType | None) -> str | None:
    calls = []
    while trace is not None:
        code = trace.tb_frame.f_code
        # The engine's own frames come first and help nobody; the processor's and its libraries' follow.
        if not code.co_filename.startswith(_OWN_CODE):
            calls.append((code, trace.tb_lineno))
        trace = trace.tb_next
    return _format_calls(tuple(calls[-_MAX_FRAMES:]))


@lru_cache(maxsize=256)
def _format_calls(calls: tuple[tuple[CodeType, int], ...]) -> str | None:
    """The calls as text."""
    if not calls:
        return None
    frames = [traceback.FrameSummary(code.co_filename, line, code.co_name) for code, line in calls]
    text = "".join(traceback.format_list(frames)).replace("\0", "")
    return text[-_MAX_TRACEBACK:].encode("utf-8", "replace").decode("utf-8")
