"""The audit log: what a run says, and what was said of its items."""

from __future__ import annotations

from collections.abc import Iterator
from json.encoder import encode_basestring
from typing import Any

from reliable_imports.engine.work.attempt import Attempt
from reliable_imports.items.log_details import details_json
from reliable_imports.log import LEVELS, logger
from reliable_imports.postgres.queries import load

_WORK = load("work.sql")


class AuditLog:
    """What one run says of itself and of its batch."""

    def __init__(self, batch_id: int, run_id: int) -> None:
        self.batch_id = batch_id
        self.run_id = run_id

    def say(self, cursor: Any, level: str, message: str, details: dict[str, Any]) -> None:
        """Add a line to the audit log, and forward the message to Python's logging."""
        self.add(cursor, level, message, details_json(details))
        logger.log(LEVELS[level], message, extra={"batch_id": self.batch_id, "run_id": self.run_id})

    def add(self, cursor: Any, level: str, message: str, details: str | None = None) -> None:
        """Add a line to the audit log that has been logged already; *details* as `details_json` gives them."""
        cursor.execute(
            _WORK["insert_log"],
            {
                "batch_id": self.batch_id,
                "run_id": self.run_id,
                "level": level,
                "message": clean_text(message),
                "details": details,
            },
        )


def log_json(attempt: Attempt) -> Iterator[str]:
    """The rows of import_logs for one item, as JSON texts: what was said of it, and that it waits for another try.

    That it failed or was skipped, and why, is in its attempt.
    """
    lines = [_line_json(line.level, line.message, line.details) for line in attempt.logs]
    failure, retry = attempt.failure, attempt.retry
    if failure is not None and retry is not None:
        details: dict[str, Any] = {"reason": failure.reason, "stage": failure.stage.value}
        if retry.waits_for_others:
            lines.append(_line_json("info", f"waits for other items: {failure.title}", details_json(details)))
        else:
            details["pause_seconds"] = round(retry.pause.total_seconds(), 3)
            lines.append(_line_json("warning", f"tried again: {failure.title}", details_json(details)))
    for line in lines:
        yield f'{{"item_number":{attempt.stored.item_number},{line}'


def _line_json(level: str, message: str, details: str | None) -> str:
    """A row of import_logs as JSON, from after its item number."""
    text = encode_basestring(clean_text(message))
    return f'"level":"{level}","message":{text},"details":{details or "null"}}}'


def clean_text(text: str) -> str:
    """What PostgreSQL can store of any text."""
    return text.replace("\0", "").encode("utf-8", "replace").decode("utf-8")
