"""One reason, or several, as `failures --reason` tells them; and what the list of all has in common with that."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from reliable_imports.cli.output import Column, Output, as_json_value, stored_value
from reliable_imports.cli.text import count, moment, number, optional
from reliable_imports.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reliable_imports.causes import CommonValue, FailedSample, ReasonAction, ReasonDetails, ReasonSummary

_VALUES_IN_TABLE = 3
_BATCHES_IN_TABLE = 20
_DAYS = 14


def show_details(output: Output, found: Sequence[ReasonDetails]) -> None:
    output.document(
        {
            "reasons": [
                {
                    **summary_document(each.summary),
                    "days": [{"day": day.isoformat(), "items": items} for day, items in each.days],
                    "in_batches": as_json_value(each.batches),
                    "actions": as_json_value(each.actions),
                    "due_at": as_json_value(each.due_at),
                    "traceback": each.traceback,
                }
                for each in found
            ],
            "items": [
                {**as_json_value(item), "source_data": stored_value(item.source_data, item.stage)}
                for each in found
                for item in each.samples
            ],
        }
    )
    for place, details in enumerate(found):
        if place:
            output.say()
        _show_one(output, details)


def _show_one(output: Output, details: ReasonDetails) -> None:
    summary = details.summary
    output.headline(summary.title)
    output.facts(_facts(details))
    if summary.values:
        output.say()
        output.table(
            [Column("items", is_number=True), Column(summary.field or "value")],
            [[number(each.items), value_in_words(each.value)] for each in summary.values],
        )
    if details.samples:
        output.say()
        _samples_table(output, details)
    if len(details.days) > 1:
        output.say()
        output.table(
            [Column("day", is_whole=True), Column("failed", is_number=True)],
            [[day.isoformat(), number(items)] for day, items in details.days[-_DAYS:]],
        )
    if len(details.batches) > 1:
        output.say()
        output.table(
            [
                Column("batch", is_number=True),
                Column("status", is_name=True),
                Column("failed", is_number=True),
                Column("outstanding", is_number=True),
                Column("source", dispensable=1),
            ],
            [
                [
                    str(each.batch_id),
                    each.status.value,
                    number(each.items),
                    number(each.outstanding),
                    optional(each.source),
                ]
                for each in details.batches[:_BATCHES_IN_TABLE]
            ],
        )
        if len(details.batches) > _BATCHES_IN_TABLE:
            output.say(f"and {count(len(details.batches) - _BATCHES_IN_TABLE, 'earlier batch', 'earlier batches')}")
    if details.actions:
        output.say()
        output.table(
            [Column("when", is_whole=True), Column("who", is_name=True), Column("what")],
            [[moment(each.at), optional(each.by), _action_in_words(each)] for each in details.actions],
        )
    if details.traceback:
        output.say()
        output.say("traceback of the first sample:")
        for line in details.traceback.rstrip().splitlines():
            output.verbatim(line)
    show_next(output, summary)


def _facts(details: ReasonDetails) -> list[tuple[str, str]]:
    summary = details.summary
    facts = [
        ("reason", summary.reason),
        ("state", summary.state.value + (", ignored before it surged" if summary.has_surged else "")),
        ("type", summary.batch_type),
        ("field", optional(summary.field)),
        (
            "failed",
            f"{count(summary.items, 'item')} of {count(summary.batches, 'batch', 'batches')}, "
            f"{number(summary.only)} for nothing else",
        ),
        ("outstanding", f"{count(summary.outstanding, 'item')}, {number(summary.outstanding_only)} for nothing else"),
        ("first seen", moment(summary.first_seen)),
        ("last seen", moment(summary.last_seen)),
    ]
    if summary.continues is not None:
        facts.append(("before", f"{summary.continues}, the same under the code before"))
    if summary.waiting:
        facts.append(("being repeated", count(summary.waiting, "item")))
    if summary.retryable_items:
        due = f", due {moment(details.due_at)}" if details.due_at is not None else ""
        facts.append(("retryable", f"{count(summary.retryable_items, 'item')}{due}"))
    if summary.ignored_why is not None:
        until = f" (until {moment(summary.ignored_until)})" if summary.ignored_until is not None else ""
        facts.append(("ignored", f"{summary.ignored_why}{until}"))
    if summary.note is not None:
        facts.append(("note", summary.note))
    return facts


def _samples_table(output: Output, details: ReasonDetails) -> None:
    field = details.summary.field
    output.table(
        [
            Column("batch", is_number=True, dispensable=3),
            Column("item", is_number=True),
            Column("line", is_number=True, dispensable=1),
            *([Column(field)] if field else []),
            Column("attempts", is_number=True, dispensable=2),
            Column("error"),
            Column("data"),
        ],
        [
            [
                str(item.batch_id),
                str(item.item_number),
                optional(item.source_line),
                *([_sample_value(item)] if field else []),
                number(item.attempts),
                f"{item.error_type}: {item.error_message}",
                item.source_data,
            ]
            for item in details.samples
        ],
    )
    left = details.summary.items - len(details.samples)
    if left > 0:
        output.say(f"and {count(left, 'more item')}; --limit shows them")


def _sample_value(item: FailedSample) -> str:
    if item.value is None:
        return "is empty" if item.is_empty else "-"
    return item.value


def _action_in_words(action: ReasonAction) -> str:
    match action.kind:
        case "note":
            return action.text or ""
        case "ignore":
            return f"ignored{f' until {moment(action.until)}' if action.until else ''}: {action.text}"
        case "end_ignore":
            return "not ignored any more"
        case "repeat":
            again = f", {number(action.failed_again)} failed for it again" if action.failed_again else ""
            why = f": {action.text}" if action.text else ""
            return f"batch {action.batch_id} repeats {count(action.items or 0, 'item')}{again}{why}"
    raise ConfigurationError(f"there is no action {action.kind!r}")


def show_next(output: Output, first: ReasonSummary, batch_id: int | None = None) -> None:
    which = str(first.last_batch_id if batch_id is None else batch_id)
    if batch_id is None and first.batches > 1:
        which = f"--as {first.batch_type}"  # of each lineage that has any
    output.commands(
        [
            (f"reliable-imports failures --reason {first.reason}", "see values and items of one reason"),
            (f"reliable-imports reprocess {which} --reason {first.reason}", "run them again, once the cause is gone"),
        ]
    )


def values_in_words(values: Sequence[CommonValue], limit: int = _VALUES_IN_TABLE) -> str:
    """`is empty (231), 12 (3), ...`."""
    said = [f"{value_in_words(each.value)} ({number(each.items)})" for each in values[:limit]]
    return ", ".join([*said, *(["..."] if len(values) > limit else [])]) or "-"


def value_in_words(value: str | None) -> str:
    return "is empty" if value is None else value


def summary_document(summary: ReasonSummary) -> dict[str, Any]:
    document: dict[str, Any] = as_json_value(summary)
    return document
