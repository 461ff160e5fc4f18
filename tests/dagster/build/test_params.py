from __future__ import annotations

import enum
from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal

import dagster as dg
import pytest
from pydantic import BaseModel, Field

from reliable_imports import BaseProcessor, ImportBatchItem, ImportContext, InvalidProcessor, ProcessorRegistry
from reliable_imports_dagster import build_import_schedule, build_reliable_imports_defs
from tests.dagster.conftest import Query, problem


class Mode(enum.Enum):
    FULL = "full"
    DELTA = "delta"


class Window(BaseModel):
    """Which prices are wanted."""

    start: date = Field(default=date(2024, 1, 1), description="The first day.")
    days: Annotated[int, Field(ge=1, le=366)] = 7


class PricesProcessor(BaseProcessor):
    class Params(BaseModel):
        currency: Literal["EUR", "USD"] = "EUR"
        mode: Mode = Mode.DELTA
        rate: Decimal = Field(default=Decimal("1.10"), gt=0)
        window: Window = Window(days=30)
        folder: Path | None = None
        shops: set[str] = set()
        today: date = Field(default_factory=date.today)

    params: Params

    def process_item(self, item: ImportBatchItem, ctx: ImportContext) -> Mapping[str, Any] | None:
        return {"told": repr(self.params)}


class DemandingProcessor(PricesProcessor):
    class Params(PricesProcessor.Params):
        until: date

    params: Params


class NightlyProcessor(DemandingProcessor):
    source = Path("prices.csv")
    schedule = "0 6 * * *"


def _defs() -> dg.Definitions:
    registry = ProcessorRegistry()
    registry.register(PricesProcessor)
    registry.register(DemandingProcessor)
    return build_reliable_imports_defs(registry)


def _launch(batch_type: str, instance: dg.DagsterInstance, **config: object) -> dg.ExecuteInProcessResult:
    return (
        _defs()
        .resolve_job_def(f"import_{batch_type}")
        .execute_in_process(
            instance=instance,
            run_config={"ops": {batch_type: {"config": {"items": [{"id": 1}], **config}}}},
            raise_on_error=False,
        )
    )


def _told(query: Query) -> str:
    [(told,)] = query("SELECT result ->> 'told' FROM reliable_imports.import_attempts")
    return str(told)


def test_what_is_set_in_the_launchpad_reaches_the_processor(
    dsn: str, instance: dg.DagsterInstance, query: Query
) -> None:
    params = {"rate": "1.25", "mode": "full", "window": {"start": "2024-02-29"}, "folder": "/data", "shops": ["a"]}

    assert _launch("prices", instance, params=params).success

    expected = PricesProcessor.Params(
        rate=Decimal("1.25"),
        mode=Mode.FULL,
        window=Window(start=date(2024, 2, 29), days=7),
        folder=Path("/data"),
        shops={"a"},
    )
    assert _told(query) == repr(expected)


def test_without_config_the_defaults_hold(dsn: str, instance: dg.DagsterInstance, query: Query) -> None:
    assert _launch("prices", instance).success
    assert _told(query) == repr(PricesProcessor.Params())


def test_the_launchpad_shows_types_defaults_and_descriptions() -> None:
    op = _defs().resolve_job_def("import_prices").get_subset().graph.node_defs[0]
    assert isinstance(op, dg.OpDefinition)
    params = op.config_schema.as_field().config_type.fields["params"]
    fields = params.config_type.fields

    assert not params.is_required
    assert fields["rate"].default_value == "1.10"
    assert fields["rate"].description == "decimal number, in quotes; above 0"
    assert fields["mode"].default_value == "delta"
    assert [value.config_value for value in fields["mode"].config_type.enum_values] == ["full", "delta"]
    assert fields["window"].default_value == {"start": "2024-01-01", "days": 30}
    inner = fields["window"].config_type.fields
    assert inner["start"].description == "The first day. (date, as 2024-01-31)"
    assert inner["days"].description == "at least 1; at most 366"
    assert not fields["today"].is_required
    assert not fields["today"].default_provided  # the day of the run, not of the deployment


def test_a_wrong_type_is_refused_before_the_run(dsn: str, instance: dg.DagsterInstance, query: Query) -> None:
    with pytest.raises(dg.DagsterInvalidConfigError, match="days"):
        _launch("prices", instance, params={"window": {"days": "many"}})
    with pytest.raises(dg.DagsterInvalidConfigError, match="GBP"):
        _launch("prices", instance, params={"currency": "GBP"})


def test_a_wrong_value_is_refused_in_one_line(dsn: str, instance: dg.DagsterInstance, query: Query) -> None:
    result = _launch("prices", instance, params={"rate": "-1", "window": {"days": 400}})

    assert problem(result) == (
        "the params of prices do not fit: rate: Input should be greater than 0; "
        "window.days: Input should be less than or equal to 366"
    )
    assert query("SELECT * FROM reliable_imports.import_batches") == []


def test_params_without_a_default_must_be_given(dsn: str, instance: dg.DagsterInstance, query: Query) -> None:
    with pytest.raises(dg.DagsterInvalidConfigError, match="until"):
        _launch("demanding", instance)

    assert _launch("demanding", instance, params={"until": "2024-03-01"}).success


def test_a_schedule_cannot_start_what_must_be_told() -> None:
    with pytest.raises(InvalidProcessor, match="no default for until"):
        build_import_schedule(NightlyProcessor)
