"""Causes of failures over all batches, and what people say of them."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence
from datetime import date, datetime, timezone
from typing import Any

from psycopg2.extensions import connection as Connection  # noqa: N812 - the class has a lower-case name

from reliable_imports.batches.read import get_batch
from reliable_imports.causes import CommonValue, FailedSample, ReasonAction, ReasonBatch, ReasonDetails, ReasonSummary
from reliable_imports.errors import AmbiguousReason, ConfigurationError, UnknownReason
from reliable_imports.items.given import as_numbers, require_texts
from reliable_imports.items.redaction import shown_text, with_field_first
from reliable_imports.postgres.connect import rows, transaction
from reliable_imports.postgres.queries import load
from reliable_imports.statuses import BatchStatus, ReasonState, Stage

_FAILURES = load("failures.sql")
_MAX_VALUES = 10

# For samples.
_MAX_BATCHES_SEARCHED = 50


@dataclasses.dataclass(frozen=True, slots=True)
class Scope:
    """Which batches are asked about: one, those of a type, or all."""

    batch_id: int | None = None
    batch_type: str | None = None

    def __post_init__(self) -> None:
        if self.batch_id is not None and self.batch_type is not None:
            raise ConfigurationError("give a batch or a batch type, not both")
        require_texts(batch_type=self.batch_type)


def list_reasons(connection: Connection, scope: Scope, *, with_closed: bool) -> list[ReasonSummary]:
    if scope.batch_id is not None:
        get_batch(connection, scope.batch_id)
    found = _summaries(connection, scope, None)
    return [each for each in found if with_closed or each.state is not ReasonState.CLOSED]


def find_reason(connection: Connection, prefix: str, scope: Scope) -> str:
    """The reason that begins so.

    Raises:
        UnknownReason: none does.
        AmbiguousReason: several do.
    """
    require_texts(reason=prefix)
    if scope.batch_id is not None:
        get_batch(connection, scope.batch_id)
    found = [
        row["fingerprint"]
        for row in _select(
            connection,
            "find_reason",
            {"prefix": prefix, "batch_id": scope.batch_id, "batch_type": scope.batch_type},
        )
    ]
    if not found or not prefix:
        raise UnknownReason(prefix, scope.batch_id, scope.batch_type)
    if len(found) > 1 and found[0] != prefix:
        raise AmbiguousReason(prefix, found)
    return str(found[0])


def get_details(connection: Connection, prefix: str, scope: Scope, *, samples: int) -> ReasonDetails:
    reason = find_reason(connection, prefix, scope)
    [summary] = _summaries(connection, scope, reason) or _summaries(connection, Scope(), reason)
    parameters = {"reason": reason, "batch_id": scope.batch_id, "batch_type": scope.batch_type}
    batches = [
        ReasonBatch(**{**row, "status": BatchStatus(row["status"])})
        for row in _select(connection, "groups_of_reason", parameters)
    ]
    shown = _samples(connection, reason, batches, samples)
    due = _select(connection, "due", {"reason": reason, "batches": [each.batch_id for each in batches]})
    actions = [ReasonAction(**row) for row in _select(connection, "actions", {"reason": reason})]
    return ReasonDetails(
        summary=summary,
        samples=tuple(sample for sample, _ in shown),
        days=_by_day(batches),
        batches=tuple(batches),
        actions=tuple(actions),
        due_at=due[0]["due"],
        traceback=next((trace for _, trace in shown if trace), None),
    )


def note(connection: Connection, prefix: str, text: str, made_by: str | None) -> str:
    return _add(connection, prefix, "note", text, None, made_by)


def ignore(connection: Connection, prefix: str, why: str, until: datetime | None, made_by: str | None) -> str:
    if until is not None and until.tzinfo is None:
        until = until.astimezone()
    if until is not None and until <= datetime.now(timezone.utc):
        raise ConfigurationError(f"until {until.isoformat()} is over already")
    return _add(connection, prefix, "ignore", why, until, made_by)


def end_ignore(connection: Connection, prefix: str, made_by: str | None) -> str:
    return _add(connection, prefix, "end_ignore", None, None, made_by)


def _add(
    connection: Connection, prefix: str, kind: str, text: str | None, until: datetime | None, made_by: str | None
) -> str:
    require_texts(text=text, made_by=made_by)
    if text is not None and not text.strip():
        raise ConfigurationError("say something; the text is empty")
    reason = find_reason(connection, prefix, Scope())
    with transaction(connection) as cursor:
        cursor.execute(
            _FAILURES["add_note"],
            {"reason": reason, "kind": kind, "text": text, "until": until, "made_by": made_by},
        )
    return reason


def _summaries(connection: Connection, scope: Scope, reason: str | None) -> list[ReasonSummary]:
    found = _select(
        connection,
        "summarize",
        {"batch_id": scope.batch_id, "batch_type": scope.batch_type, "reason": reason, "values": _MAX_VALUES},
    )
    return [
        ReasonSummary(
            **{
                **row,
                "state": ReasonState(row["state"]),
                "values": tuple(CommonValue(each["value"], each["items"]) for each in row["values"]),
            }
        )
        for row in found
    ]


def _samples(
    connection: Connection, reason: str, batches: Sequence[ReasonBatch], limit: int
) -> list[tuple[FailedSample, str | None]]:
    """Items of the batches that have outstanding ones, the newest batch's first; each with its traceback."""
    shown: list[tuple[FailedSample, str | None]] = []
    searched = sorted(batches, key=lambda each: (each.outstanding == 0, -each.batch_id))[:_MAX_BATCHES_SEARCHED]
    for batch in searched:
        if len(shown) >= limit:
            break
        masked = _select(connection, "sensitive_fields_of_batches", {"batches": [batch.batch_id]})
        sensitive = [row["field"] for row in masked]
        parameters = {
            "reason": reason,
            "batch_id": batch.batch_id,
            "limit": limit - len(shown),
            "sensitive": sensitive,
        }
        shown += [_sample(row, sensitive) for row in _select(connection, "samples_of_reason", parameters)]
    return shown


def _sample(row: dict[str, Any], sensitive: Sequence[str]) -> tuple[FailedSample, str | None]:
    trace = row.pop("traceback")
    raw = row.pop("source_raw")
    text = row["source_data"] if raw is None else bytes(raw).decode("utf-8", "backslashreplace")
    text = "data erased" if text is None else with_field_first(shown_text(text, frozenset(sensitive)), row["field"])
    return FailedSample(
        **{**row, "reasons": tuple(row["reasons"]), "stage": Stage(row["stage"]), "source_data": text}
    ), trace


def _by_day(batches: Sequence[ReasonBatch]) -> tuple[tuple[date, int], ...]:
    days: Counter[date] = Counter()
    for batch in batches:
        days[batch.first_seen.astimezone(timezone.utc).date()] += batch.items
    return tuple(sorted(days.items()))


def _select(connection: Connection, query: str, parameters: dict[str, Any]) -> list[dict[str, Any]]:
    with transaction(connection) as cursor:
        cursor.execute(_FAILURES[query], as_numbers(parameters))
        return rows(cursor)
