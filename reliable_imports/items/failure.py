"""What is kept of an error: enough to find its cause, nothing of the item's values."""

from __future__ import annotations

import hashlib
import linecache
import os
import re
import traceback
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import CodeType, TracebackType

import psycopg2
import psycopg2.errors

from reliable_imports.errors import (
    ContextMisuse,
    DuplicateKey,
    InvalidRow,
    ItemTimeout,
    KilledWorker,
    NullInKey,
    UnusableTarget,
)
from reliable_imports.items.message_values import without_values
from reliable_imports.items.model_fields import invalid_row, is_refusal_of_pydantic
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
_QUOTED = re.compile(r'".*"', re.DOTALL)
_VARIES = re.compile(r"\"[^\"]*\"|'[^']*'|\d+")


@dataclass(frozen=True, slots=True)
class Failure:
    """One failed attempt, as it is stored.

    Attributes:
        stage: where in the item's life it arose.
        error_type: the exception's class; for errors of the server the name of its SQLSTATE, as psycopg2 has it.
        field: the model's fields or the column that it is about, if it is about any.
        message: what was wrong; the item's values are replaced by their field names in braces.
        detail: the server's DETAIL, values replaced.
        missing_key: the value that a foreign key did not find, as the server writes it; of several columns, the values
            with a comma and a space between them. To look for it again, not to be shown.
        traceback: the calls that led to it, without the message; None where no user code ran.
        reason: the fingerprint, the same for all failures with this cause.
        heading: how its title begins, the same for all of them too.
        retryable: another try later may succeed without anybody's help.
    """

    stage: Stage
    error_type: str
    message: str
    reason: str
    heading: str
    sqlstate: str | None = None
    constraint: str | None = None
    field: str | None = None
    detail: str | None = None
    missing_key: str | None = None
    traceback: str | None = None
    retryable: bool = False

    @property
    def title(self) -> str:
        """The failure in words; the view `failure_reason_counts` puts it together in the same way."""
        return f"{self.heading}: {self.detail or self.message}"


def read_failure(batch_type: str, kind: str, problem: str) -> Failure:
    """An item that was stored unread: its line could not be made out when the batch was created."""
    return Failure(
        stage=Stage.READ,
        error_type="UnreadableItem",
        field=kind,
        message=_clean(problem),
        reason=_fingerprint(batch_type, Stage.READ, "UnreadableItem", kind),
        heading=f"UnreadableItem ({kind})",
    )


def rejection(batch_type: str, returned_none_from: str | None = None) -> Failure:
    """`validate_item` returned something falsy; if that was None, the class is named, for a `return` may be missing."""
    message = "validate_item rejected the item"
    if returned_none_from is not None:
        message = f"{returned_none_from}.validate_item returned None, which rejects the item; is a `return` missing?"
    return Failure(
        stage=Stage.VALIDATE,
        error_type="ItemRejected",
        message=message,
        reason=_fingerprint(batch_type, Stage.VALIDATE, "ItemRejected"),
        heading="ItemRejected",
    )


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
    source_data: object = None,
    retryable: bool = False,
    frames: str | None = None,
) -> Failure:
    """An error that PostgreSQL raised for one statement."""
    name = _sqlstate_name(sqlstate)
    message = without_values(message, source_data, (table, column, constraint))
    if sqlstate.startswith("22"):  # a data exception quotes the value at fault
        message = _QUOTED.sub('"…"', message)
    missing_key = _missing_key(sqlstate, detail)
    detail = _key_detail(sqlstate, detail)
    # Without a constraint or column to name it by, the message (what varies left out) tells causes apart.
    about = constraint or column or _VARIES.sub("…", message)
    return Failure(
        stage=stage,
        error_type=name,
        sqlstate=sqlstate,
        constraint=constraint or None,
        field=column or None,
        message=_clean(message),
        detail=detail,
        missing_key=missing_key,
        traceback=frames,
        reason=_fingerprint(batch_type, stage, name, sqlstate, table or "", about),
        heading=_clean(" ".join(filter(None, [name, constraint]))),
        retryable=retryable,
    )


def exception_failure(
    batch_type: str,
    stage: Stage,
    error: BaseException,
    *,
    source_data: object = None,
    user_file: str | None = None,
    retryable: bool = False,
) -> Failure:
    """An exception of user code, or of the server through user code. Never raises, whatever *error* does."""
    frames = _frames(error.__traceback__)
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
            source_data=source_data,
            retryable=retryable,
            frames=frames,
        )
    name = type(error).__name__
    if isinstance(error, InvalidRow):
        fields = _clean(", ".join(error.kinds))
        return Failure(
            stage=Stage.VALIDATE,
            error_type=name,
            field=fields,
            message=_clean(str(error)),
            reason=_fingerprint(batch_type, Stage.VALIDATE, name, *sorted(map("=".join, error.kinds.items()))),
            heading=name,
        )
    message = _clean(_words_of(error, source_data)) or name
    where, code = _raise_site(error.__traceback__, user_file)
    return Failure(
        stage=stage,
        error_type=name,
        message=message,
        traceback=frames,
        # Errors of our own have no line of the processor's, but their words name the cause.
        reason=_fingerprint(batch_type, stage, name, where, code or _VARIES.sub("…", message)),
        heading=f"{name} in {where}" if where else name,
        retryable=retryable,
    )


# These are remembered, for thousands of items fail in one way.


@lru_cache(maxsize=256)
def _fingerprint(*facts: str) -> str:
    return hashlib.sha256("\0".join(facts).encode("utf-8", "surrogatepass")).hexdigest()[:8]


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


def _words_of(error: BaseException, source_data: object) -> str:
    """What *error* says, without values."""
    try:
        if isinstance(error, _OWN_WORDS):  # its words are ours, and name no value
            return str(error)
        if is_refusal_of_pydantic(error):  # as text it quotes the input
            return str(invalid_row(error))
        return without_values(str(error), source_data)
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
        calls.append((trace.tb_frame.f_code, trace.tb_lineno))
        trace = trace.tb_next
    return _format_calls(tuple(calls[-_MAX_FRAMES:]))


@lru_cache(maxsize=256)
def _format_calls(calls: tuple[tuple[CodeType, int], ...]) -> str | None:
    """The calls as text."""
    # The engine's own frames come first and help nobody; the processor's and its libraries' follow.
    frames = [
        traceback.FrameSummary(code.co_filename, line, code.co_name)
        for code, line in calls
        if not code.co_filename.startswith(_OWN_CODE)
    ]
    if not frames:
        return None
    text = "".join(traceback.format_list(frames)).replace("\0", "")
    return text[-_MAX_TRACEBACK:].encode("utf-8", "replace").decode("utf-8")


def _raise_site(trace: TracebackType | None, user_file: str | None) -> tuple[str, str]:
    """The innermost function of the processor's own file and its line of code; stable when lines above it move."""
    site = ("", "")
    while trace is not None:
        code = trace.tb_frame.f_code
        if user_file is None or code.co_filename == user_file:
            site = (code.co_name, linecache.getline(code.co_filename, trace.tb_lineno).strip())
        trace = trace.tb_next
    return site
