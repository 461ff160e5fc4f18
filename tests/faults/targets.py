"""What the workers of this suite import: one row for each item, in a table that shows doubles."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any

from reliable_imports import BaseProcessor, ImportBatchItem, ImportContext

TABLES = """
-- Without any key: a write that is done twice shows as two rows.
CREATE TABLE written (
    batch_id     bigint NOT NULL,
    item_number  bigint NOT NULL,
    item_id      bigint NOT NULL,
    note         text NOT NULL CONSTRAINT written_note_allowed CHECK (note NOT LIKE 'refused%')
);
CREATE TABLE locked (id integer PRIMARY KEY);
INSERT INTO locked SELECT generate_series(1, 6);
"""

SECRET = "hunter2-personal-datum"
"""Part of every refused item's data; it must never be found outside the source data."""


_FIRST = {"ask": "SELECT 1", "misspell": "SELECT FROM WHERE"}


def items(count: int, *, first_id: int = 1, do: Mapping[int, str] | None = None, **more: Any) -> list[dict[str, Any]]:
    """Items whose ids are unique in the test; *do* says by item number what else an item does."""
    doing = do or {}
    made = []
    for number in range(1, count + 1):
        item = {"id": first_id + number - 1, "note": "fine", **more}
        if number in doing:
            item["do"] = doing[number]
        if item.get("do") == "be_refused":
            item["note"] = f"refused {SECRET}"
        if item.get("do") in _FIRST:
            item["sql"] = _FIRST[item["do"]]
        made.append(item)
    return made


class _TargetProcessor(BaseProcessor):
    """Writes one row, before and after which it may do what the item asks for."""

    sensitive = ("note",)

    def process_item(self, item: ImportBatchItem, ctx: ImportContext) -> Mapping[str, Any] | None:
        data = item.source_data
        stops = item.item_number == STOP_AT.get("item")
        if stops:
            ctx.fetch_value("SELECT 1")  # an item that is tried ahead has no transaction before
        if "seconds" in data:
            time.sleep(data["seconds"])
        if "locks" in data:
            for key in data["locks"]:
                ctx.execute("SELECT FROM locked WHERE id = %s FOR UPDATE", [key])
        if "sql" in data:
            ctx.execute(data["sql"])
        row = {"batch_id": item.batch_id, "item_number": item.item_number, "item_id": data["id"], "note": data["note"]}
        self.write(row, ctx)
        if "do" in data:
            ACTIONS[data["do"]](item, ctx)
        if stops:
            print("reached", flush=True)
            sys.stdin.readline()
        return {"target_table": "written", "target_id": data["id"]}

    def write(self, row: Mapping[str, Any], ctx: ImportContext) -> None:
        raise NotImplementedError


class DeclaredProcessor(_TargetProcessor):
    """Declares its write: the framework sends it with those of other items."""

    def write(self, row: Mapping[str, Any], ctx: ImportContext) -> None:
        ctx.insert("written", row)


class OwnStatementProcessor(_TargetProcessor):
    """Sends its write as a statement of its own."""

    def write(self, row: Mapping[str, Any], ctx: ImportContext) -> None:
        ctx.execute("INSERT INTO written VALUES (%s, %s, %s, %s)", list(row.values()))


class MixedProcessor(_TargetProcessor):
    """Both, by turns."""

    def write(self, row: Mapping[str, Any], ctx: ImportContext) -> None:
        other = DeclaredProcessor if row["item_number"] % 3 else OwnStatementProcessor
        other.write(self, row, ctx)  # type: ignore[arg-type]


PROCESSORS: tuple[type[BaseProcessor], ...] = (DeclaredProcessor, OwnStatementProcessor, MixedProcessor)
BATCH_TYPES = ("declared", "own_statement", "mixed")

STOP_AT: dict[str, int] = {}
"""The item at which a worker of this process says `reached` and waits, in the middle of its transaction."""


def _raise(item: ImportBatchItem, ctx: ImportContext) -> None:
    raise ValueError("this item does not want to")


def _exit(item: ImportBatchItem, ctx: ImportContext) -> None:
    os._exit(0)


def _read_address_zero(item: ImportBatchItem, ctx: ImportContext) -> None:
    ctypes.string_at(0)


def _kill_itself(item: ImportBatchItem, ctx: ImportContext) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _hide_the_attempts(item: ImportBatchItem, ctx: ImportContext) -> None:
    ctx.execute("CREATE TEMP TABLE import_attempts (LIKE reliable_imports.import_attempts INCLUDING DEFAULTS)")


def _raise_no_exception(item: ImportBatchItem, ctx: ImportContext) -> None:
    if not os.environ.get("FAULTS_UNINTERRUPTED"):
        raise KeyboardInterrupt


def _quit(item: ImportBatchItem, ctx: ImportContext) -> None:
    sys.exit("enough")


def _nothing(item: ImportBatchItem, ctx: ImportContext) -> None:
    pass


ACTIONS: dict[str, Callable[[ImportBatchItem, ImportContext], None]] = {
    "raise": _raise,
    "ask": _nothing,  # it has done so before it wrote
    "misspell": _nothing,
    "be_refused": _nothing,  # its note is one that the table refuses
    "exit": _exit,
    "segfault": _read_address_zero,
    "kill": _kill_itself,
    "hide": _hide_the_attempts,
    "quit": _quit,
    "interrupt": _raise_no_exception,
}
FAILING = ("raise", "be_refused")
KILLING = ("exit", "segfault", "kill")
