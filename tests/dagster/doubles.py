"""Real processors that misbehave on demand, and the table they write."""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field

from reliable_imports import BaseProcessor, ImportBatchItem, ImportContext, TableProcessor, TransientError

NOTES = """
CREATE TABLE notes (id integer PRIMARY KEY, text text);
-- Without a unique key: a write that is done twice shows.
CREATE TABLE writes (batch bigint NOT NULL, id integer NOT NULL);
CREATE TABLE authors (name text PRIMARY KEY, born integer);
"""
AUTHORS = Path(__file__).parent / "authors.csv"


class NotesProcessor(BaseProcessor):
    """Notes, as people
    write them.
    """

    depends_on = ("authors",)
    retry_backoff = timedelta(0)
    max_attempts = 3

    def process_item(self, item: ImportBatchItem, ctx: ImportContext) -> Mapping[str, Any] | None:
        data = item.source_data
        # What an item does ends when the file that it names is there.
        if "do" in data and not Path(data.get("until", "/nowhere")).exists():
            ACTIONS[data["do"]](data)
        ctx.insert("writes", {"batch": item.batch_id, "id": data["id"]})
        ctx.upsert("notes", {"id": data["id"], "text": data.get("text")}, key="id")
        return {"target_table": "notes", "target_id": data["id"]}


def _fail(data: Mapping[str, Any]) -> None:
    raise ValueError("this is no note")


def _fail_otherwise(data: Mapping[str, Any]) -> None:
    raise LookupError("this note has no author")


def _be_busy(data: Mapping[str, Any]) -> None:
    raise TransientError("the library is closed")


def _raise_its_own(data: Mapping[str, Any]) -> None:
    raise type(data["error"], (Exception,), {})("each kind of error is a reason of its own")


def _interrupt(data: Mapping[str, Any]) -> None:
    Path(data["until"]).touch()
    os.kill(os.getpid(), signal.SIGINT)


def _fail_then_interrupt(data: Mapping[str, Any]) -> None:
    failed = Path(f"{data['until']}.failed")
    if failed.exists():
        _interrupt(data)
        return  # the signal is obeyed when this item is done
    failed.touch()
    raise ValueError("this is no note yet")


def _die(data: Mapping[str, Any]) -> None:
    Path(data["until"]).touch()
    os.kill(os.getpid(), signal.SIGKILL)


ACTIONS = {
    "fail": _fail,
    "fail otherwise": _fail_otherwise,
    "raise": _raise_its_own,
    "be busy": _be_busy,
    "interrupt": _interrupt,
    "fail, then interrupt": _fail_then_interrupt,
    "die": _die,
}


class Author(BaseModel):
    name: str = Field(description="As on the title page.")
    born: int | None = None


class AuthorsProcessor(TableProcessor):
    table = "authors"
    key = ("name",)
    model = Author
    source = AUTHORS
    schedule = "0 6 * * *"
