"""The audit log of one run."""

from __future__ import annotations

from typing import Any

from reliable_imports.engine.work.attempt import clean_text, details_json
from reliable_imports.log import LEVELS, logger
from reliable_imports.postgres.queries import load

_WORK = load("work.sql")


class AuditLog:
    def __init__(self, batch_id: int, run_id: int) -> None:
        self.batch_id = batch_id
        self.run_id = run_id

    def say(self, cursor: Any, level: str, message: str, details: dict[str, Any]) -> None:
        """Add a line to the audit log, and forward the message to Python's logging."""
        self.add(cursor, level, message, details)
        logger.log(LEVELS[level], message, extra={"batch_id": self.batch_id, "run_id": self.run_id})

    def add(self, cursor: Any, level: str, message: str, details: dict[str, Any]) -> None:
        """Add a line to the audit log that has been logged already."""
        cursor.execute(
            _WORK["insert_log"],
            {
                "batch_id": self.batch_id,
                "run_id": self.run_id,
                "level": level,
                "message": clean_text(message),
                "details": details_json(details),
            },
        )
