"""Repeats made, worked and told: those of a lineage, and those of an edited file, for `reprocess --from`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from reliable_imports.cli.exit_status import ExitStatus
from reliable_imports.cli.invocation import Invocation, requester
from reliable_imports.cli.outcome import outcome_line
from reliable_imports.cli.output import Output, as_json_value
from reliable_imports.cli.progress import process_with_progress
from reliable_imports.cli.text import count, number
from reliable_imports.cli.trying import tell_try
from reliable_imports.statuses import BatchStatus

if TYPE_CHECKING:
    from reliable_imports.batches.corrections.edits import Corrections
    from reliable_imports.batches.repeats.request import ReprocessRequest
    from reliable_imports.manager import BatchManager
    from reliable_imports.models import BatchSummary

_SHORTLY = 20


def reprocess_file(
    invocation: Invocation,
    file: Path,
    batch_id: int | None,
    batch_type: str | None,
    *,
    only_try: bool,
    with_effects: bool,
    options: Mapping[str, Any],
) -> None:
    """Make the corrections of a file, or only try them.

    Args:
        batch_id: all items have to be of its lineage.
        batch_type: they have to be of this type.
        options: others of a request.
    """
    from reliable_imports.batches.repeats.request import ReprocessRequest  # `--help` does without it

    output = invocation.output
    manager = invocation.manager_for_work()
    corrections = manager.read_corrections(file, batch_id=batch_id, batch_type=batch_type)
    manager.registry.get(corrections.batch_type)
    _tell(output, corrections, file)
    refused = corrections.found.refused
    if only_try and corrections.found.to_make:
        report = manager.try_corrections(corrections, with_effects=with_effects)
        tell_try(output, manager, report, "as corrected")
        end_with_status((), has_refused=bool(refused))
        return
    summaries = []
    for begun in () if options.get("hold") else corrections.found.under_way:
        output.say(f"batch {begun} was made from this file before, and has not ended; it goes on")
        summaries.append(process_with_progress(manager, begun))
        output.say(outcome_line(summaries[-1]))
    for data in corrections.found.to_make.values():
        request = ReprocessRequest(
            corrections=data, corrected_from=corrections.source, requested_by=requester(), **options
        )
        summary = repeat_lineage(output, manager, max(item.batch_id for item in data), request)
        if summary is not None:  # else another process has just made the same
            summaries.append(summary)
    output.document(
        {
            "file": str(file),
            "batch_type": corrections.batch_type,
            "rows": corrections.rows,
            "unchanged": corrections.unchanged,
            "corrected": sum(map(len, corrections.found.to_make.values())),
            "corrected_before": {str(item): str(by) for item, by in corrections.found.made.items()},
            "refused": {str(item): why for item, why in refused.items()},
            "reshown": list(corrections.reshown),
            "batches": [as_json_value(summary) for summary in summaries],
        }
    )
    output.commands(
        [
            (f"reliable-imports failures {summary.batch_id}", "see why items failed again")
            for summary in summaries
            if summary.failed_items
        ]
    )
    end_with_status(summaries, has_refused=bool(refused))


def _tell(output: Output, corrections: Corrections, file: Path) -> None:
    found = corrections.found
    to_make = sum(map(len, found.to_make.values()))
    counts = [f"{number(to_make)} of {count(corrections.rows, 'item')} corrected in {file}"]
    if found.made:
        counts.append(f"{number(len(found.made))} corrected so before")
    output.say("; ".join(counts))
    if corrections.reshown:
        output.say(corrections.told_reshown)
    for item, why in list(found.refused.items())[:_SHORTLY]:
        output.say(f"refused: item {item} {why}")
    if len(found.refused) > _SHORTLY:
        output.say(f"and {count(len(found.refused) - _SHORTLY, 'more item')} refused; --json has all")
    for held in found.held:
        output.say(f"batch {held} holds corrections of this file back; `reliable-imports process {held}` begins it")
    if not to_make and not found.under_way:
        output.say("nothing to reprocess: no correction is left to be made")


def repeat_lineage(
    output: Output, manager: BatchManager, batch_id: int, request: ReprocessRequest
) -> BatchSummary | None:
    """Make the repeats of one lineage, work them unless they are to wait, and tell of it; None if there are none."""
    new_batch_id = manager.create_reprocess_batch(batch_id, request)
    if new_batch_id is None:
        return None
    output.say(f"batch {new_batch_id} {verb_of(request)} {of_batches(manager.repeated_items(new_batch_id))}")
    if request.hold:
        return manager.get_summary(new_batch_id)
    summary = process_with_progress(manager, new_batch_id)
    output.say(outcome_line(summary))
    for warning in summary.warnings:
        output.say(f"warning: {warning}")
    return summary


def end_with_status(summaries: Iterable[BatchSummary], *, has_refused: bool = False) -> None:
    """End the command with the status that tells the same as the batches."""
    found = list(summaries)
    if has_refused or any(summary.failed_items for summary in found):
        raise click.exceptions.Exit(ExitStatus.DONE_WITH_FAILURES)
    if any(summary.status in (BatchStatus.PAUSED, BatchStatus.CANCELLED) for summary in found):
        raise click.exceptions.Exit(ExitStatus.COULD_NOT)


def verb_of(request: ReprocessRequest) -> str:
    """What a batch of the request does with items."""
    if request.skip is not None:
        return "skips"
    if request.corrections is not None:
        return "corrects and holds back" if request.hold else "corrects"
    return "holds back" if request.hold else "repeats"


def of_batches(repeated: Mapping[int, int]) -> str:
    """`5 items of batch 1`, or `5 items: 3 of batch 1, 2 of batch 8`."""
    items = count(sum(repeated.values()), "item")
    if len(repeated) == 1:
        return f"{items} of batch {next(iter(repeated))}"
    return f"{items}: {', '.join(f'{number(each)} of batch {batch_id}' for batch_id, each in repeated.items())}"
