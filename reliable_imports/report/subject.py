"""What a page tells, asked of the database."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from typing import Any, NamedTuple

from reliable_imports.errors import UnknownBatchType
from reliable_imports.items.redaction import shown, without_secrets
from reliable_imports.manager import BatchManager
from reliable_imports.models import Batch, BatchSummary, RunRecord
from reliable_imports.postgres.connect import connect, rows, transaction
from reliable_imports.postgres.queries import load
from reliable_imports.processor.base import BaseProcessor
from reliable_imports.processor.facts import facts_of
from reliable_imports.report.words import field_names, in_words

_REPORT = load("report.sql")

_MAX_REASONS = 20
_MAX_SAMPLES = 3
_MAX_FIELDS_AT_FAULT = 3
_MAX_FIELDS = 8
_MAX_VALUES = 5
_MAX_SKIPS = 5
_MAX_SLOW = 3
_MAX_BATCHES = 20
_LOOKED_AT = 10_000
_MAX_TIMED = 200_000
"""Items of a batch in which the slowest are looked for: sorting more takes seconds."""


@dataclass(frozen=True, slots=True)
class Showing:
    """Which data of items a page may show.

    Attributes:
        values: whether any may be shown; if not, a page has counts and words alone.
        sensitive: the fields whose values are masked, wherever they stand, under all of their names. Where there are
            such fields, a line that could not be read is masked as a whole.
        source_names: the names in the source of a field or column, the likeliest first.
    """

    values: bool = True
    sensitive: frozenset[str] = frozenset()
    source_names: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @classmethod
    def of(cls, processor: type[BaseProcessor] | None) -> Showing:
        """As the processor says; nothing where there is none, for nobody knows what is sensitive then."""
        if processor is None:
            return cls(values=False)
        names: dict[str, Sequence[str]] = {}
        for each in facts_of(processor).source_fields() or ():
            for name in (each.name, *each.source_names):
                names.setdefault(name, each.source_names)
        spelling = facts_of(processor).spelling
        for name in spelling.rename.values():
            names.setdefault(name, spelling.source_names(name))
        return cls(sensitive=facts_of(processor).sensitive_names(), source_names=names)

    def in_source(self, name: str) -> str:
        return next(iter(self.source_names.get(name, ())), name)


class Value(NamedTuple):
    """A value of a field; None where it is masked."""

    text: str | None
    items: int = 0


@dataclass(frozen=True, slots=True)
class FieldValues:
    field: str
    values: Sequence[Value]


@dataclass(frozen=True, slots=True)
class Sample:
    """A failed item: its fields, those at fault first; or a text, if it has none."""

    item_number: int
    line: int | None
    fields: Sequence[tuple[str, Value, bool]]
    left_out: int
    text: Value | None


@dataclass(frozen=True, slots=True)
class Fate:
    """What became of the failures of a reason."""

    repaired: int = 0
    skipped: int = 0
    outstanding: int = 0
    erased: int = 0
    waiting: int = 0


@dataclass(frozen=True, slots=True)
class Cause:
    """A reason why items failed."""

    reason: str
    words: str
    title: str
    note: str | None
    items: int
    batches: int
    batch_id: int
    first_seen: datetime
    last_seen: datetime
    fate: Fate
    values: Sequence[FieldValues]
    samples: Sequence[Sample]


@dataclass(frozen=True, slots=True)
class Stretch:
    """Neighbouring items that were committed together, and how long they took."""

    first_item: int
    last_item: int
    items: int
    seconds: float


@dataclass(frozen=True, slots=True)
class Subject:
    """All that a page tells.

    Attributes:
        batch, summary: None on a page of a whole type.
        repaired: failures that were run again since, and are in; on a page of a type those that are settled somehow.
        lineage: the batches of its lineage; on a page of a type the newest batches.
        more_causes: causes beyond those that are shown.
        shows_values: whether data of items are on the page.
        looked_at: of so many items of a cause the commonest values are told.
    """

    batch_type: str
    batch: Batch | None
    summary: BatchSummary | None
    counts: Mapping[str, int]
    outstanding: int
    repaired: int
    causes: Sequence[Cause]
    more_causes: int
    skips: Sequence[tuple[str | None, int]]
    lineage: Sequence[Mapping[str, Any]]
    runs: Sequence[RunRecord]
    slowest: Sequence[Stretch]
    shows_values: bool
    looked_at: int = _LOOKED_AT
    made_at: datetime = field(default_factory=lambda: datetime.now(timezone.utc))


def report_on_batch(manager: BatchManager, batch_id: int, showing: Showing) -> Subject:
    """What there is to tell of one batch. Raises UnknownBatch."""
    summary = manager.get_summary(batch_id)
    parameters = {"batch_id": batch_id, "first_batch_id": summary.first_batch_id}
    with connect(manager.dsn) as connection, transaction(connection) as cursor:
        ask = _Asker(cursor, showing, summary.batch_type)
        failures = ask("reasons", **parameters)
        fates = {row.pop("reason"): Fate(**row) for row in ask("fates", **parameters)} if failures else {}
        causes = [ask.cause(row, fates.get(row["reason"], Fate())) for row in failures[:_MAX_REASONS]]
        skips = ask("skips", **parameters, limit=_MAX_SKIPS) if summary.skipped_items else []
        lineage = ask("lineage", **parameters)
        slowest = ask("slowest", **parameters, limit=_MAX_SLOW) if summary.total_items <= _MAX_TIMED else []
    return Subject(
        batch_type=summary.batch_type,
        batch=manager.get_batch(batch_id),
        summary=summary,
        counts={
            "total": summary.total_items,
            "completed": summary.completed_items,
            "skipped": summary.skipped_items,
            "failed": summary.failed_items,
            "open": summary.open_items,
        },
        outstanding=manager.count_outstanding(batch_id),
        repaired=fates[None].repaired if None in fates else 0,  # an item may have several reasons
        causes=causes,
        more_causes=len(failures) - len(causes),
        # What a processor says of a skip may name the item.
        skips=[(row["skip_reason"] if showing.values else None, row["items"]) for row in skips],
        lineage=lineage,
        runs=manager.list_runs(lineage=summary.first_batch_id),
        slowest=[Stretch(**row) for row in slowest],
        shows_values=showing.values,
    )


def report_on_type(manager: BatchManager, batch_type: str, showing: Showing) -> Subject:
    """What there is to tell of all batches of a type, without those that repeat others: why items are outstanding.

    Raises UnknownBatchType: there is no batch of it, and no processor.
    """
    newest = manager.list_batches(batch_type=batch_type, limit=_MAX_BATCHES)
    if not newest and batch_type not in manager.registry:
        raise UnknownBatchType(batch_type, (processor.batch_type for processor in manager.registry))
    with connect(manager.dsn) as connection, transaction(connection) as cursor:
        ask = _Asker(cursor, showing, batch_type)
        [totals] = ask("totals_of_type", batch_type=batch_type)
        [outstanding] = ask("outstanding_of_type", batch_type=batch_type)
        failures = ask("open_reasons", batch_type=batch_type)
        causes = [ask.cause(row, Fate(outstanding=row["items"])) for row in failures[:_MAX_REASONS]]
    return Subject(
        batch_type=batch_type,
        batch=None,
        summary=None,
        counts={
            "batches": totals["batches"],
            "open_batches": totals["open_batches"],
            **{name: totals[f"{name}_items"] for name in ("total", "completed", "skipped", "failed", "open")},
        },
        outstanding=outstanding["count"],
        repaired=max(0, totals["failed_items"] - outstanding["count"]),
        causes=causes,
        more_causes=len(failures) - len(causes),
        skips=[],
        lineage=[
            {name: getattr(each, name) for name in each.__dataclass_fields__}
            | {"note": None, "requested_by": None, "corrected_from": None}
            for each in newest
        ],
        runs=[],
        slowest=[],
        shows_values=showing.values,
    )


class _Asker:
    """Asks queries, and puts together what is told of a cause."""

    def __init__(self, cursor: Any, showing: Showing, batch_type: str) -> None:
        self._cursor = cursor
        told = {row["field"] for row in self("sensitive_of_type", batch_type=batch_type)}
        self._showing = replace(showing, sensitive=showing.sensitive | told)

    def __call__(self, query: str, **parameters: Any) -> list[dict[str, Any]]:
        self._cursor.execute(_REPORT[query], parameters)
        return rows(self._cursor)

    def cause(self, failure: Mapping[str, Any], fate: Fate) -> Cause:
        named = [self._showing.in_source(name) for name in field_names(failure)]
        parameters = {"batch_id": failure["batch_id"], "reason": failure["reason"]}
        values = [self._values(name, parameters) for name in named[:_MAX_FIELDS_AT_FAULT] if "." not in name]
        found = self("samples", **parameters, limit=_MAX_SAMPLES) if self._showing.values else []
        return Cause(
            reason=failure["reason"],
            words=in_words(failure),
            title=failure["title"] or failure["error_type"],
            note=failure["note"],
            items=failure["items"],
            batches=failure["batches"],
            batch_id=failure["batch_id"],
            first_seen=failure["first_seen"],
            last_seen=failure["last_seen"],
            fate=fate,
            values=[each for each in values if each.values],
            samples=[self._sample(row, named) for row in found],
        )

    def _values(self, name: str, parameters: Mapping[str, Any]) -> FieldValues:
        if not self._showing.values:
            return FieldValues(name, [])
        if name in self._showing.sensitive:
            return FieldValues(name, [Value(None)])
        found = self("commonest_values", **parameters, field=name, looked_at=_LOOKED_AT, limit=_MAX_VALUES)
        return FieldValues(name, [Value(self._shown(row["value"]), row["items"]) for row in found])

    def _shown(self, text: str) -> str:
        """A field's value as text, with the sensitive fields inside it masked."""
        if not self._showing.sensitive or text[:1] not in ("{", "["):
            return text
        try:
            return _text(shown(json.loads(text), self._showing.sensitive))
        except (ValueError, RecursionError):
            return text

    def _sample(self, row: Mapping[str, Any], at_fault: Sequence[str]) -> Sample:
        number, line, raw = row["item_number"], row["source_line"], row["source_raw"]
        text = row["source_data"] if raw is None else bytes(raw).decode("utf-8", "backslashreplace")
        try:
            data = json.loads(text or "null")
        except (ValueError, RecursionError):
            data = None
        if not isinstance(data, dict):
            return Sample(number, line, [], 0, Value(None if self._showing.sensitive else text))
        masked = without_secrets(data, data, self._showing.sensitive)
        names = [*[name for name in at_fault if name in data], *[name for name in data if name not in at_fault]]
        fields = [
            (name, Value(None if name in self._showing.sensitive else _text(masked[name])), name in at_fault)
            for name in names[:_MAX_FIELDS]
        ]
        return Sample(number, line, fields, max(0, len(names) - _MAX_FIELDS), None)


def _text(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
