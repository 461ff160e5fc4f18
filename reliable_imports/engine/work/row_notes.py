"""What a completed item says of rows that are not as it meant them."""

from __future__ import annotations

import json
from typing import Any

from reliable_imports.engine.isolation.item_record import RowFate, RowNote
from reliable_imports.engine.work.attempt import Attempt
from reliable_imports.processor.context import LogLine
from reliable_imports.processor.result import dumps_result


def tell_of_rows(attempt: Attempt) -> None:
    """Say in result and log which rows were moved or left. An item that has left all of its rows is skipped."""
    notes = attempt.writes.notes
    moved = [note.table for note in notes if note.fate is RowFate.MOVED]
    for table in dict.fromkeys(moved):
        _tell_of_moved(attempt, table)
    left = [note for note in notes if note.fate is not RowFate.MOVED]
    if left:
        _tell_of_left(attempt, left)


def _tell_of_moved(attempt: Attempt, table: str) -> None:
    """Take a `target_id` out of the result that names no row, because a trigger has given the row another key."""
    result = _result(attempt)
    if result.get("target_table") == table and result.pop("target_id", None) is not None:
        attempt.result = dumps_result(result)
    attempt.logs.append(LogLine("info", f"a trigger of {table} gave the row another key than the item has"))


def _tell_of_left(attempt: Attempt, left: list[RowNote]) -> None:
    writes = attempt.writes
    reasons = list(dict.fromkeys(map(_why_left, left)))
    if not (writes.written or writes.row_keys or writes.ran_statements):
        attempt.skip("; ".join(reasons))
        return
    kept = [{"table": note.table, "why": note.fate.value, **_named(note)} for note in left]
    attempt.result = dumps_result({**_result(attempt), "kept": kept})
    attempt.logs.extend(LogLine("info", reason) for reason in reasons)


def _result(attempt: Attempt) -> dict[str, Any]:
    return {} if attempt.result is None else json.loads(attempt.result)


def _why_left(note: RowNote) -> str:
    if note.newer is not None:
        return (
            f"the row of {note.table} was left as it is: item {note.newer.item_number} of batch "
            f"{note.newer.batch_id}, which is newer, has written it"
        )
    if note.fate is RowFate.THERE:
        return f"the row of {note.table} was left as it is: it is there already, and existing rows are kept"
    return f"the row of {note.table} was left out by a trigger or a rule of the table"


def _named(note: RowNote) -> dict[str, int]:
    if note.newer is None:
        return {}
    return {"newer_batch": note.newer.batch_id, "newer_item": note.newer.item_number}
