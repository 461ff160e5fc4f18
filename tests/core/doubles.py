"""Real processors that misbehave on demand, and the table they write."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Mapping
from typing import Any

from reliable_imports import BaseProcessor, ImportBatchItem, ImportContext, TransientError

NOTES = """
CREATE TABLE places (id integer PRIMARY KEY);
INSERT INTO places SELECT generate_series(1, 3);
-- Without a unique key on item: a write that is done twice shows.
CREATE TABLE writes (batch bigint NOT NULL, item bigint NOT NULL);
CREATE TABLE notes (
    id     integer PRIMARY KEY,
    text   text NOT NULL CONSTRAINT notes_text_not_bad CHECK (text <> 'bad'),
    place  integer CONSTRAINT notes_place_fkey REFERENCES places,
    later  integer CONSTRAINT notes_later_fkey REFERENCES places DEFERRABLE INITIALLY DEFERRED
);
"""

Action = Callable[[ImportBatchItem, ImportContext], Any]


class NotesProcessor(BaseProcessor):
    """Declares one upsert and one insert for each item, and does before whatever the item's `do` says."""

    columns = ("id", "text", "place", "later")
    fixed = False
    """Set by a test to say that the cause of the failures was repaired."""

    def validate_item(self, item: ImportBatchItem, ctx: ImportContext) -> bool:
        return bool(item.source_data.get("valid", True))

    def process_item(self, item: ImportBatchItem, ctx: ImportContext) -> Mapping[str, Any] | None:
        data = item.source_data
        if "do" in data and not type(self).fixed:
            answer = ACTIONS[data["do"]](item, ctx)
            if answer is not None:
                return answer  # type: ignore[no-any-return]
        ctx.upsert("notes", {name: data[name] for name in self.columns if name in data}, key="id")
        ctx.insert("writes", {"batch": item.batch_id, "item": item.item_number})
        return {"target_table": "notes", "target_id": data["id"]}


class PlainProcessor(BaseProcessor):
    """Writes one row, and nothing else."""

    def process_item(self, item: ImportBatchItem, ctx: ImportContext) -> Mapping[str, Any] | None:
        ctx.upsert("notes", item.source_data, key="id")
        return None


class ImmediateProcessor(BaseProcessor):
    """Runs statements of its own instead of declaring them."""

    def process_item(self, item: ImportBatchItem, ctx: ImportContext) -> Mapping[str, Any] | None:
        data = item.source_data
        ctx.execute("INSERT INTO writes (batch, item) VALUES (%s, %s)", [item.batch_id, item.item_number])
        if "do" in data:
            ACTIONS[data["do"]](item, ctx)
        note = ctx.upsert("notes", {"id": data["id"], "text": data.get("text", "ok")}, key=["id"], returning="id")
        return {"target_table": "notes", "target_id": note}


class FlakyProcessor(NotesProcessor):
    """Fails every item as transient until told otherwise."""

    max_attempts = 3
    max_tries = 1
    failing = True

    def process_item(self, item: ImportBatchItem, ctx: ImportContext) -> Mapping[str, Any] | None:
        if type(self).failing:
            raise TransientError("the rate limit is used up")
        return super().process_item(item, ctx)


def _raise(error: BaseException) -> Action:
    def action(item: ImportBatchItem, ctx: ImportContext) -> None:
        raise error

    return action


def _run(statement: str) -> Action:
    def action(item: ImportBatchItem, ctx: ImportContext) -> None:
        ctx.execute(statement)

    return action


def _swallow(item: ImportBatchItem, ctx: ImportContext) -> None:
    with contextlib.suppress(Exception):
        ctx.execute("INSERT INTO notes (id, text) VALUES (999, 'bad')")


def _recurse(item: ImportBatchItem, ctx: ImportContext) -> None:
    _recurse(item, ctx)


def _use_from_thread(item: ImportBatchItem, ctx: ImportContext) -> None:
    errors: list[BaseException] = []

    def write() -> None:
        try:
            ctx.execute("SELECT 1")
        except Exception as error:
            errors.append(error)

    thread = threading.Thread(target=write)
    thread.start()
    thread.join(120)
    raise errors[0]


def _use_from_fork(item: ImportBatchItem, ctx: ImportContext) -> None:
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        try:
            ctx.execute("INSERT INTO places VALUES (77)")
        except BaseException as error:
            os.write(writer, f"{type(error).__name__}: {error}".encode())
        os._exit(0)
    os.waitpid(child, 0)
    os.close(writer)
    with os.fdopen(reader) as told:
        if told.read().startswith("ContextMisuse: an ImportContext can only be used in the process"):
            raise RuntimeError("the fork was refused")


class _Unprintable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text for you")


class _LibraryTimeout(BaseException):
    """As some libraries have it, so that `except Exception` lets it pass."""


def _come_back_twice(item: ImportBatchItem, ctx: ImportContext) -> None:
    child = os.fork()
    if child:
        os.waitpid(child, 0)
        raise ValueError("it has forked")


ACTIONS: dict[str, Action] = {
    "raise": _raise(ValueError("it is broken")),
    "raise unprintable": _raise(_Unprintable()),
    "exit": _raise(SystemExit(3)),
    "generator exit": _raise(GeneratorExit()),
    "library timeout": _raise(_LibraryTimeout("too long")),
    "fork": _come_back_twice,
    "return too much": lambda item, ctx: {"text": "x" * 17_000_000},
    "recurse": _recurse,
    "commit": _run("COMMIT"),
    "hidden commit": _run("SELECT 1; /* tidy up */ commit; begin"),
    "rollback": _run("ROLLBACK"),
    "savepoint": _run("SAVEPOINT mine"),
    "syntax error": _run("SELEKT 1"),
    "bad statement": _run("INSERT INTO nowhere VALUES (1)"),
    "cast": lambda item, ctx: ctx.fetch_value("SELECT %s::integer", ["not a number"]),
    "swallow": _swallow,
    "nul": lambda item, ctx: ctx.execute("SELECT %s", ["a\0b"]),
    "surrogate": lambda item, ctx: ctx.execute("SELECT %s", ["\ud800"]),
    "unadaptable": lambda item, ctx: ctx.execute("SELECT %s", [object()]),
    "thread": _use_from_thread,
    "forked context": _use_from_fork,
    "set search_path": _run("SET search_path = nowhere"),
    "set role": _run("SET SESSION AUTHORIZATION DEFAULT; SET ROLE pg_read_all_stats"),
    "set read only": _run("SET default_transaction_read_only = on"),
    "temporary table": _run("CREATE TEMPORARY TABLE import_items (x integer)"),
    "return text": lambda item, ctx: "done",
    "return set": lambda item, ctx: {"target_id": {1, 2}},
    "skip": lambda item, ctx: ctx.skip("nothing to do"),
    "write and skip": lambda item, ctx: (ctx.execute("INSERT INTO places VALUES (77)"), ctx.skip("not now")),
    "log": lambda item, ctx: ctx.log("looked at it", level="warning", colour="red"),
    "log and raise": lambda item, ctx: (ctx.log("about to fail"), _raise(ValueError("it is broken"))(item, ctx)),
}
