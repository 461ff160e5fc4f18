"""Wrong use is told before anything is touched."""

from __future__ import annotations

from pathlib import Path

import pytest

from reliable_imports import (
    BatchManager,
    ConfigurationError,
    ReprocessRequest,
    SetupFailed,
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
