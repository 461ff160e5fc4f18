"""Wrong use is told before anything is touched."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from reliable_imports import (
    BatchManager,
    ConfigurationError,
    ReprocessRequest,
    SetupFailed,
    SourceError,
    UnknownBatch,
    UnknownReason,
)
from tests.core.conftest import Sql
from tests.core.doubles import PlainProcessor


@pytest.mark.parametrize("items", ["flights.csv", b"x", {"id": 1}])
def test_what_is_no_list_of_items_is_refused(manager: BatchManager, items: object) -> None:
    with pytest.raises(ConfigurationError, match=r"not an iterable of items; for a file pass manager\.open_source"):
        manager.create_batch("plain", items)  # type: ignore[arg-type]
    assert manager.list_batches() == []


@pytest.mark.parametrize("key", ["", "  ", "a\0b", "\ud800", "x" * 20_000])
def test_what_names_no_delivery_is_refused(manager: BatchManager, key: str) -> None:
    with pytest.raises(ConfigurationError, match="is no idempotency key"):
        manager.create_batch("plain", [], idempotency_key=key)


def test_an_unknown_reason_is_refused(manager: BatchManager) -> None:
    batch_id = manager.create_batch("plain", [{"id": 1, "text": "bad"}])
    manager.process_batch(batch_id)
    with pytest.raises(UnknownReason, match=f"no item of batch {batch_id} failed for reason 'zzz'"):
        manager.reprocess_batch(batch_id, ReprocessRequest(reasons=["zzz"]))


@pytest.mark.parametrize("script", ["CREATE TABBLE x (y integer)", None])
def test_a_set_up_that_fails_names_its_file_and_leaves_the_batch_pending(
    manager: BatchManager, sql: Sql, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str | None
) -> None:
    path = tmp_path / "tables.sql"
    if script is not None:
        path.write_text(script)
    monkeypatch.setattr(PlainProcessor, "setup_sql", path)
    batch_id = manager.create_batch("plain", [{"id": 1, "text": "ok"}])
    with pytest.raises(SetupFailed, match=rf"{path}, failed: .*; batch {batch_id} stays pending"):
        manager.process_batch(batch_id)

    path.write_text("CREATE TABLE IF NOT EXISTS made (x integer); SET search_path = nowhere")
    assert manager.process_batch(batch_id).completed_items == 1


BEYOND = 2**70
_OTHERS: dict[str, Any] = {"batch_type": "plain", "reason": "x", "key": {"id": 1}, "reasons": ["x"], "warning": "x"}


def _with_numbers(manager: BatchManager) -> Iterator[tuple[Callable[..., Any], str]]:
    """Every public method with every number that it takes."""
    for of in (manager, manager.orchestration):
        for name, method in inspect.getmembers(of, inspect.ismethod):
            for parameter in inspect.signature(method).parameters.values():
                if not name.startswith("_") and str(parameter.annotation) in ("int", "int | None"):
                    yield method, parameter.name


def test_a_number_that_no_column_holds_is_the_number_of_nothing(manager: BatchManager, tmp_path: Path) -> None:
    batch_id = manager.create_batch("plain", [{"id": 1, "text": "bad"}, {"id": 2, "text": "ok"}])
    manager.process_batch(batch_id)
    reason = manager.failures()[0].reason
    others = {**_OTHERS, "batch_id": batch_id, "reason": reason, "path": tmp_path / "x.csv", "batch_types": ["plain"]}

    asked = set()
    for method, number in _with_numbers(manager):
        asked.add(number)
        needed = [each.name for each in inspect.signature(method).parameters.values() if each.default is each.empty]
        given = {name: others.get(name, "x") for name in needed} | {number: BEYOND}
        given |= {"items_or_batch": BEYOND} if "items_or_batch" in needed else {}
        try:
            method(**given)
        except UnknownBatch as error:
            assert error.batch_id == BEYOND  # noqa: PT017 - most methods answer, and raise nothing
        except SourceError as error:
            assert "x.csv: there is no such file" in str(error)  # noqa: PT017
    assert {"batch_id", "limit", "after", "item_number", "samples", "sample", "lineage", "max_attempts"} <= asked


@pytest.mark.parametrize("name", ["limit", "max_attempts", "from_item", "to_item", "canary"])
def test_a_request_may_have_any_number(manager: BatchManager, name: str) -> None:
    batch_id = manager.create_batch("plain", [{"id": 1, "text": "bad"}])
    manager.process_batch(batch_id)

    found = manager.create_reprocess_batch(batch_id, ReprocessRequest(**{name: BEYOND}))
    assert (found is None) is (name == "from_item")


def test_a_negative_limit_is_refused(manager: BatchManager) -> None:
    for ask in (manager.list_batches, manager.orchestration.waiting_batches):
        with pytest.raises(ConfigurationError, match="limit is -1"):
            ask(limit=-1)
