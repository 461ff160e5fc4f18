"""A page about each batch, where the team has a folder for it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from reliable_imports import BaseProcessor, ImportBatchItem, ImportContext, ProcessorRegistry
from reliable_imports_dagster import ReliableImportsResource, build_import_assets


class TicketsProcessor(BaseProcessor):
    sensitive = ("holder",)

    def process_item(self, item: ImportBatchItem, ctx: ImportContext) -> None:
        raise LookupError("no such seat")


def _metadata(instance: dg.DagsterInstance, **options: Any) -> dict[str, Any]:
    registry = ProcessorRegistry()
    registry.register(TicketsProcessor)
    result = dg.materialize(
        build_import_assets(registry),
        instance=instance,
        resources={"reliable_imports": ReliableImportsResource(**options)},
        run_config={"ops": {"tickets": {"config": {"items": [{"seat": 7, "holder": "Ann"}], "fail_run_on": "never"}}}},
    )
    [observed] = [
        event.asset_observation_data.asset_observation.metadata
        for event in result.all_events
        if event.event_type is dg.DagsterEventType.ASSET_OBSERVATION
    ]
    return dict(observed)


def test_a_page_is_written_and_linked_where_there_is_a_folder(
    database: str, instance: dg.DagsterInstance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RELIABLE_IMPORTS_DSN", database)
    assert "report" not in _metadata(instance)

    linked = _metadata(instance, report_folder=str(tmp_path / "pages"))["report"]
    assert linked == dg.MetadataValue.path(str(tmp_path / "pages" / "tickets-2.html"))
    page = (tmp_path / "pages" / "tickets-2.html").read_text(encoding="utf-8")
    assert "tickets: none of 1 item went in" in page
    assert "***" in page
    assert "Ann" not in page


def test_a_folder_that_cannot_be_written_fails_nothing(
    database: str, instance: dg.DagsterInstance, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RELIABLE_IMPORTS_DSN", database)
    (tmp_path / "file").touch()

    told = _metadata(instance, report_folder=str(tmp_path / "file" / "pages"))["report"].value
    assert told.endswith("tickets-1.html could not be written: Not a directory")
