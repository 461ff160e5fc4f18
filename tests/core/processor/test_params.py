from __future__ import annotations

import enum
import re
from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, Field

from reliable_imports import (
    BaseProcessor,
    BatchManager,
    ImportBatchItem,
    ImportContext,
    InvalidParams,
    InvalidProcessor,
    ProcessorRegistry,
)
from reliable_imports.cli.accept import params_of


class Mode(enum.Enum):
    FULL = "full"
    DELTA = "delta"


class Limits(BaseModel):
    low: Decimal = Decimal("0.10")
    high: int = Field(default=9, ge=0)


class PricesProcessor(BaseProcessor):
    class Params(BaseModel):
        since: date
        mode: Mode = Mode.DELTA
        limits: Limits = Limits()
        folder: Path | None = None
        tags: list[str] = []

    source = Path("prices-{partition}.csv")
    partitions = "monthly from 2024-01-01"

    def process_item(self, item: ImportBatchItem, ctx: ImportContext) -> Mapping[str, Any] | None:
        if item.source_data.get("bad"):
            raise ValueError("no price")
        return {"told": [repr(self.params), self.partition]}


@pytest.fixture
def manager(database: str) -> BatchManager:
    registry = ProcessorRegistry()
    registry.register(PricesProcessor)
    return BatchManager(database, registry=registry)


def _told(manager: BatchManager, batch_id: int) -> Any:
    result = manager.list_items(batch_id)[0].result
    assert result is not None
    return result["told"]


def test_params_reach_the_processor_and_are_kept_with_the_batch(manager: BatchManager) -> None:
    batch_id = manager.create_batch(
        "prices", [{"id": 1}], params={"since": "2024-01-31", "limits": {"low": "0.05"}}, partition="2024-01-01"
    )
    manager.process_batch(batch_id)

    expected = PricesProcessor.Params(since=date(2024, 1, 31), limits=Limits(low=Decimal("0.05")))
    assert _told(manager, batch_id) == [repr(expected), "2024-01-01"]
    assert manager.get_batch(batch_id).metadata["params"] == {
        "since": "2024-01-31",
        "mode": "delta",
        "limits": {"low": "0.05", "high": 9},
        "folder": None,
        "tags": [],
    }


def test_a_reprocess_batch_has_the_params_of_the_batch_it_repeats(manager: BatchManager) -> None:
    given = PricesProcessor.Params(since=date(2024, 1, 31), mode=Mode.FULL)
    batch_id = manager.create_batch("prices", [{"id": 1}, {"id": 2, "bad": True}], params=given)
    manager.process_batch(batch_id)
    again = manager.create_reprocess_batch(batch_id)

    assert again is not None
    assert manager.get_batch(again).metadata["params"] == manager.get_batch(batch_id).metadata["params"]


def test_wrong_params_are_refused_with_every_problem_and_without_their_values(manager: BatchManager) -> None:
    with pytest.raises(InvalidParams) as refused:
        manager.create_batch("prices", [{"id": 1}], params={"since": "secret", "limits": {"high": -5}})

    assert set(refused.value.problems) == {"since", "limits.high"}
    assert "secret" not in str(refused.value)
    assert manager.list_batches() == []


@pytest.mark.parametrize(
    ("partitions", "partition", "problem"),
    [
        (None, "2024-01-31", "partition: DaysProcessor declares no partitions"),
        (
            "daily from 2024-01-01",
            "2024-01-32",
            "partition: '2024-01-32' is none of those that are daily; write it like 2024-01-31",
        ),
        ("hourly from 2024-01-01", "2024-01-31", "write it like 2024-01-31-00:00"),
        ("daily from 2024-01-01", "2024-01-31", None),
        ("hourly from 2024-01-01", "2024-01-31-23:00", None),
    ],
)
def test_a_partition_that_the_processor_does_not_have_is_refused(
    manager: BatchManager, partitions: str | None, partition: str, problem: str | None
) -> None:
    days = type("DaysProcessor", (PricesProcessor,), {"partitions": partitions, "Params": None})
    manager.registry.register(days)
    if problem is None:
        assert manager.create_batch("days", [{"id": 1}], partition=partition)
        return
    with pytest.raises(InvalidParams, match=re.escape(problem)):
        manager.create_batch("days", [{"id": 1}], partition=partition)
    assert manager.list_batches() == []


def test_missing_params_are_refused(manager: BatchManager) -> None:
    with pytest.raises(InvalidParams, match="since: Field required"):
        manager.create_batch("prices", [{"id": 1}])


def test_params_for_a_processor_that_takes_none_are_refused(database: str) -> None:
    class Plain(PricesProcessor):
        Params = None

    registry = ProcessorRegistry()
    registry.register(Plain)

    with pytest.raises(InvalidParams, match="declares no Params"):
        BatchManager(database, registry=registry).create_batch("plain", [{"id": 1}], params={"since": "2024-01-31"})


def test_what_is_no_model_or_no_partition_is_told_when_registered() -> None:
    class Wrong(PricesProcessor):
        Params = dict
        partitions = "every day"

    with pytest.raises(InvalidProcessor, match=r"Params is the class dict; .*partitions is 'every day'"):
        ProcessorRegistry().register(Wrong)


def test_a_partition_has_a_source_of_its_own() -> None:
    assert PricesProcessor.source_for("2024-01-31") == Path("prices-2024-01-31.csv")


def test_the_command_lines_params_nest_by_dots_and_take_json_lists() -> None:
    assert params_of(["since=2024-01-31", "limits.low=0.05", "limits.high=3", 'tags=["a"]']) == {
        "since": "2024-01-31",
        "limits": {"low": "0.05", "high": "3"},
        "tags": ["a"],
    }
