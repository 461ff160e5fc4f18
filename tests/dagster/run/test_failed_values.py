"""What Dagster's events say of the data of failed items: nothing, unless the team wants it, and then a little."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import dagster as dg
import pytest
from pydantic import BaseModel, Field

from reliable_imports import BaseProcessor, ImportBatchItem, ImportContext, ProcessorRegistry, TableProcessor
from reliable_imports_dagster import ReliableImportsResource, build_import_assets
from tests.dagster.conftest import Query

TABLES = """
CREATE TABLE towns (name text PRIMARY KEY);
CREATE TABLE accounts (number integer PRIMARY KEY, town text REFERENCES towns, iban text, size smallint);
INSERT INTO towns VALUES ('Ulm');
"""


class Account(BaseModel):
    number: int
    town: str = Field(alias="city")
    iban: str = Field(alias="account", max_length=22)
    size: int = 1


class AccountsProcessor(TableProcessor):
    table = "accounts"
    key = ("number",)
    model = Account
    sensitive: ClassVar[Sequence[str]] = ()


class PayersProcessor(BaseProcessor):
    rename: ClassVar[Mapping[str, str]] = {"Town": "town"}

    def process_item(self, item: ImportBatchItem, ctx: ImportContext) -> None:
        ctx.insert("accounts", {"number": item.source_data["id"], "town": item.source_data["town"]})


def _account(number: int, **others: object) -> dict[str, object]:
    return {"number": number, "city": "Ulm", "account": "DE1", **others}


GOOD = _account(1)
BAD = [
    *[_account(number, city="Atlantis") for number in range(2, 5)],
    *[_account(number, city="Utopia") for number in range(5, 7)],
    *[_account(number, account="IBAN-of-one-person-and-far-too-long") for number in range(7, 9)],
    _account(9, account=None),
    _account(10, size=70_000),
]


@pytest.fixture
def assets(dsn: str, query: Query) -> Any:
    query(TABLES)
    registry = ProcessorRegistry()
    registry.register(AccountsProcessor)
    registry.register(PayersProcessor)
    return build_import_assets(registry)


def _import(
    assets: Any, instance: dg.DagsterInstance, items: Sequence[object], key: str = "accounts", **options: Any
) -> dict[str, list[str]]:
    """The values that are shown for each reason, by how its title begins."""
    result = dg.materialize(
        [asset for asset in assets if asset.key == dg.AssetKey(key)],
        instance=instance,
        resources={"reliable_imports": ReliableImportsResource(**options)},
        run_config={"ops": {key: {"config": {"items": items, "fail_run_on": "never"}}}},
    )
    [metadata] = [
        event.step_materialization_data.materialization.metadata
        for event in result.all_events
        if event.is_step_materialization
    ]
    titles = {record.data["reason"]: str(record.data["title"]) for record in metadata["reasons"].records}  # type: ignore[attr-defined]
    shown: dict[str, list[str]] = {}
    if "commonest_values" in metadata:
        for record in metadata["commonest_values"].records:  # type: ignore[attr-defined]
            shown.setdefault(titles[record.data["reason"]].split(" ")[0], []).append(str(record.data["values"]))
    return shown


def _all_that_dagster_keeps(instance: dg.DagsterInstance) -> str:
    """Apart from the runs' config, in which these tests give the items."""
    [run] = instance.get_runs()
    return " ".join(str(entry) for entry in instance.all_logs(run.run_id)) + str(run.tags)


def test_no_event_holds_what_an_item_held(assets: Any, instance: dg.DagsterInstance) -> None:
    assert _import(assets, instance, [GOOD, *BAD]) == {}

    kept = _all_that_dagster_keeps(instance)
    assert "ForeignKeyViolation" in kept
    for value in ("Atlantis", "Utopia", "IBAN-of-one-person", "70000"):
        assert value not in kept


def test_the_commonest_values_of_the_field_at_fault_are_shown_where_the_team_wants_it(
    assets: Any, instance: dg.DagsterInstance
) -> None:
    shown = _import(assets, instance, [GOOD, *BAD], show_failed_values=True)

    assert shown["ForeignKeyViolation"] == ["city: 'Atlantis' (3), 'Utopia' (2)"]  # by its name in the source
    assert sorted(shown["InvalidRow:"]) == ["account: 'IBAN-of-one-person-and-far-too-long' (2)", "account: none (1)"]


def test_what_is_sensitive_is_masked_by_whichever_of_its_names(
    assets: Any, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    for names in (["account", "city"], ["iban", "town"]):
        monkeypatch.setattr(AccountsProcessor, "sensitive", names)
        with dg.instance_for_test() as another:
            shown = _import(assets, another, [GOOD, *BAD], show_failed_values=True)

            assert shown["ForeignKeyViolation"] == ["city: ***"]
            assert set(shown["InvalidRow:"]) == {"account: ***"}
            kept = _all_that_dagster_keeps(another)
            assert "Atlantis" not in kept
            assert "IBAN-of-one-person" not in kept


def test_no_more_than_three_values_are_shown_each_on_one_line_and_cut(
    assets: Any, instance: dg.DagsterInstance
) -> None:
    bad = [_account(number, city=f"Town\n{number} " + "x" * 100) for number in range(2, 10)]

    [values] = _import(assets, instance, [GOOD, *bad], show_failed_values=True)["ForeignKeyViolation"]

    assert values.count("(1)") == 3
    assert "\\n" not in values
    assert len(values) < 160


def test_a_processor_without_a_model_shows_the_field_that_the_column_is_named_after(
    assets: Any, instance: dg.DagsterInstance
) -> None:
    items = [{"id": 1, "Town": "Ulm"}, {"id": 2, "Town": "Atlantis"}, {"id": 3, "Town": None}]

    shown = _import(assets, instance, [*items, {"id": 2, "Town": "Atlantis"}], "payers", show_failed_values=True)

    assert shown == {"ForeignKeyViolation": ["Town: 'Atlantis' (2)"]}
