"""What a try came to, as `import` and `reprocess` tell it."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import TYPE_CHECKING, Any, TypeVar

import click

from reliable_imports.cli.exit_status import ExitStatus
from reliable_imports.cli.output import Column, Output, as_json_value
from reliable_imports.cli.text import count, number

if TYPE_CHECKING:
    from reliable_imports.manager import BatchManager
    from reliable_imports.tried import TriedItem, TryReport

F = TypeVar("F", bound=Callable[..., Any])

_SHORTLY = 5
_MOST_CHANGES = 10


def try_options(command: F) -> F:
    """`--try`, `--sample` and `--with-effects`."""
    for option in (
        click.option(
            "--with-effects",
            is_flag=True,
            callback=_only_with_try,
            help="With --try: also try a type whose items do something outside the database.",
        ),
        click.option(
            "--sample",
            metavar="N",
            type=click.IntRange(min=1),
            callback=_only_with_try,
            help="With --try: only so many items; of failures, so many for each reason.",
        ),
        click.option(
            "--try",
            "only_try",
            is_flag=True,
            is_eager=True,
            help="Only say what would come of it, and keep nothing.",
        ),
    ):
        command = option(command)
    return command


def _only_with_try(context: click.Context, option: click.Parameter, value: Any) -> Any:
    if value and not context.params.get("only_try"):
        raise click.UsageError(f"--{(option.name or '').replace('_', '-')} is for --try alone")
    return value


def tell_try(output: Output, manager: BatchManager, report: TryReport, what: str) -> None:
    """Say what a try came to, and end the command with the status that tells the same.

    Args:
        what: where the items come from, to follow "of people".
    """
    from reliable_imports.processor.facts import facts_of  # `--help` does without it

    sensitive = facts_of(manager.registry.get(report.batch_type)).sensitive_names()
    output.document(_document(report, sensitive))
    tried = count(len(report.items), "item")
    if report.total_items > len(report.items):
        tried = f"{number(len(report.items))} of {count(report.total_items, 'item')}"
    output.say(f"tried {tried} of {report.batch_type} {what}; nothing was kept")
    for warning in report.warnings:
        output.say(f"warning: {warning}")
    output.say(_counts(report))
    again = sum(item.failed_before is not None for item in report.items)
    if again:
        output.headline(
            f"+{number(report.would_complete)} would complete, {number(report.same_reason)} fail for the same reason, "
            f"{number(report.failed - report.same_reason)} have another reason"
        )
    _tell_changes(output, report, sensitive)
    if not report.failed:
        return
    output.say()
    output.headline(f"{count(report.failed, 'item')} would fail for {count(len(report.reasons), 'reason')}")
    output.table(
        [
            Column("items", is_number=True),
            *([Column("as before", is_number=True)] if again else []),
            Column("reason", is_whole=True),
            Column("what"),
            Column("sample", dispensable=1),
        ],
        [
            [
                number(reason.items),
                *([number(reason.same)] if again else []),
                reason.reason,
                reason.title,
                f"item {number(reason.sample_item_number)}",
            ]
            for reason in report.reasons[:_SHORTLY]
        ],
    )
    if len(report.reasons) > _SHORTLY:
        output.say(f"and {count(len(report.reasons) - _SHORTLY, 'more reason')}")
    if lacking := sum(item.may_lack_rows for item in report.items):
        output.say(
            f"{count(lacking, 'item')} may fail only because rows of earlier items were rolled back by then; an import "
            "finds those"
        )
    raise click.exceptions.Exit(ExitStatus.DONE_WITH_FAILURES)


def _counts(report: TryReport) -> str:
    counts = [
        f"{number(report.created)} created",
        f"{number(report.changed)} changed",
        f"{number(report.unchanged)} unchanged",
        *([f"{number(report.completed)} completed by statements of their own"] if report.completed else []),
        f"{number(report.skipped)} skipped",
        f"{number(report.failed)} failed",
    ]
    return ", ".join(counts)


def _tell_changes(output: Output, report: TryReport, sensitive: Collection[str]) -> None:
    """The first rows that would be changed, field by field."""
    from reliable_imports.items.redaction import MASKED  # `--help` does without it

    changes = [
        [number(item.item_number), row.table, name, *(MASKED if name in sensitive else _shown(each) for each in change)]
        for item in report.items
        for row in item.rows
        if row.before is not None
        for name, change in row.changes.items()
    ]
    if not changes:
        return
    output.say()
    output.table(
        [
            Column("item", is_number=True),
            Column("table", is_name=True),
            Column("field", is_name=True),
            Column("before"),
            Column("after"),
        ],
        changes[:_MOST_CHANGES],
    )
    if len(changes) > _MOST_CHANGES:
        output.say(f"and {count(len(changes) - _MOST_CHANGES, 'more field')}; --json has all")


def _shown(value: object) -> str:
    return "-" if value is None else str(as_json_value(value))


def _document(report: TryReport, sensitive: Collection[str]) -> dict[str, Any]:
    from reliable_imports.items.redaction import shown  # `--help` does without it

    return {
        "batch_type": report.batch_type,
        "total_items": report.total_items,
        "tried_items": len(report.items),
        **report.counts,
        "would_complete": report.would_complete,
        "same_reason": report.same_reason,
        "warnings": list(report.warnings),
        "reasons": as_json_value(report.reasons),
        "items": [shown(_item_document(item), sensitive) for item in report.items],
    }


def _item_document(item: TriedItem) -> dict[str, Any]:
    rows = [
        {
            **as_json_value(row),
            "changes": {
                name: {"before": as_json_value(before), "after": as_json_value(after)}
                for name, (before, after) in row.changes.items()
            },
        }
        for row in item.rows
    ]
    return {**as_json_value(item), "rows": rows}
