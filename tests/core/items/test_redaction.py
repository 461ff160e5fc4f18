"""What a processor calls sensitive is shown nowhere, and no value of an item gets into a title or a log."""

from __future__ import annotations

import logging
from collections.abc import Collection
from typing import Any, ClassVar

import pytest
from click.testing import CliRunner
from pydantic import BaseModel, Field, field_validator

from reliable_imports import BaseProcessor, BatchManager, ImportBatchItem, ImportContext, TableProcessor
from reliable_imports.cli.main import cli
from reliable_imports.items.failure import Failure
from reliable_imports.items.redaction import MASKED, shown_text
from tests.conftest import Sql

pytestmark = pytest.mark.promise(9)

IBAN = "DE89370400440532013000"
TABLES = """
CREATE TABLE payments (id integer PRIMARY KEY, iban_no varchar(22), note varchar(5));
CREATE FUNCTION refuse_payment() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.id < 0 THEN
        RAISE EXCEPTION 'account % is closed', lower(NEW.iban_no);
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER refuse_payment BEFORE INSERT ON payments FOR EACH ROW EXECUTE FUNCTION refuse_payment();
"""


class Payment(BaseModel):
    id: int
    iban_no: str = Field(validation_alias="IBAN")
    note: str = ""

    @field_validator("iban_no")
    @classmethod
    def _known(cls, value: str) -> str:
        if "X" in value:
            raise ValueError(f"account {value[2:]} is unknown")
        return value


class PaymentsProcessor(TableProcessor):
    table = "payments"
    key = ("id",)
    model = Payment
    sensitive: ClassVar[Collection[str]] = ("iban_no",)


class TransfersProcessor(BaseProcessor):
    sensitive: ClassVar[Collection[str]] = ("iban",)

    def process_item(self, item: ImportBatchItem, ctx: ImportContext) -> dict[str, Any] | None:
        data: dict[str, Any] = item.source_data
        match data["how"]:
            case "copied":
                ctx.insert("payments", {"id": 1, "note": data["iban"]})
            case "closed":
                ctx.insert("payments", {"id": -1, "iban_no": data["iban"]})
            case "said":
                raise LookupError(f"nobody has {data['iban'][::-1]} or {data['iban'].lower()}")
            case "looked up":
                {}[data["iban"]]
            case "rejected":
                ctx.reject("the account is of another bank", field="iban")
            case "skipped":
                ctx.skip(f"{data['iban'].lower()} is closed")
            case "told":
                ctx.log(f"looking at {data['iban']}", account=data["iban"].lower(), seen=[{"iban": "another"}])
                return {"account": data["iban"], "by": {"iban": "another"}, "tries": 1}
            case "converted":
                int(data["iban"])
        return None

    def on_item_error(self, item: ImportBatchItem, failure: Failure, ctx: ImportContext) -> None:
        ctx.log(f"{item.source_data['iban']} was refused", level="warning")


@pytest.fixture
def payments(manager: BatchManager, sql: Sql) -> BatchManager:
    sql(TABLES)
    manager.registry.register(PaymentsProcessor)
    manager.registry.register(TransfersProcessor)
    return manager


def _fail_in_all_ways(manager: BatchManager) -> list[int]:
    payments = [
        {"id": 1, "IBAN": f"X{IBAN}"},
        {"id": 2, "IBAN": f"{IBAN}0"},
        {"id": "x", "IBAN": IBAN},
        {"id": 4, "IBAN": IBAN, "note": "far too long"},
        {"id": -1, "IBAN": IBAN},
        {"id": 6, "IBAN": [IBAN]},
    ]
    ways = ("copied", "closed", "said", "looked up", "rejected", "converted")
    transfers = [{"how": how, "iban": IBAN} for how in ways]
    batches = [manager.create_batch("payments", payments), manager.create_batch("transfers", transfers)]
    for batch_id in batches:
        assert manager.process_batch(batch_id).completed_items == 0
    return batches


def _holds_it(text: str) -> bool:
    return any(each in text for each in (IBAN[2:], IBAN[::-1][:20], IBAN.lower()))


def test_what_is_sensitive_stays_in_the_item_alone(
    payments: BatchManager, sql: Sql, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    _fail_in_all_ways(payments)
    for table in ("import_attempts", "import_failure_reasons", "import_logs", "import_runs", "failure_reason_counts"):
        for (row,) in sql(f"SELECT told::text FROM reliable_imports.{table} AS told"):
            assert not _holds_it(row), (table, row)
    assert not _holds_it(caplog.text)


def test_what_a_processor_tells_of_an_item_is_masked(
    payments: BatchManager, sql: Sql, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    batch_id = payments.create_batch("transfers", [{"how": how, "iban": IBAN} for how in ("told", "skipped", "said")])
    payments.process_batch(batch_id)

    told, skipped, _ = payments.list_items(batch_id)
    assert told.result == {"account": "***", "by": {"iban": "***"}, "tries": 1}
    assert skipped.skip_reason == "*** is closed"
    logs = sql("SELECT message, details FROM reliable_imports.import_logs WHERE item_number IS NOT NULL ORDER BY id")
    assert ("looking at ***", {"account": "***", "seen": [{"iban": "***"}]}) in logs
    assert ("*** was refused", None) in logs
    assert {"looking at ***", "*** was refused"} <= set(caplog.messages)
    assert not _holds_it(caplog.text)


def test_the_command_line_masks_it(payments: BatchManager) -> None:
    for batch_id in _fail_in_all_ways(payments):
        reasons = [word for each in payments.failure_reasons(batch_id) for word in ("--reason", each.reason)]
        for arguments in ([], reasons, ["--json"], [*reasons, "--json"]):
            told = CliRunner().invoke(cli, ["failures", str(batch_id), "--dsn", payments.dsn, *arguments])
            assert told.exit_code == 0, told.output
            assert not _holds_it(told.output)
            assert MASKED in told.output


def test_what_is_not_sensitive_is_kept_with_the_fault(payments: BatchManager, sql: Sql) -> None:
    batch_id = payments.create_batch("payments", [{"id": "x", "IBAN": f"X{IBAN}", "note": "fine"}])
    payments.process_batch(batch_id)
    [(faults, reasons)] = sql("SELECT faults, reasons FROM reliable_imports.import_attempts")
    assert [(each["field"], each["rule"], each["value"]) for each in faults] == [
        ("id", "int_parsing", "x"),
        ("IBAN", "value_error", None),
    ]
    assert reasons == [each["reason"] for each in faults]
    assert sql("SELECT reason FROM reliable_imports.item_reasons ORDER BY reason") == [
        (each,) for each in sorted(reasons)
    ]


def test_fields_are_masked_at_any_depth_and_numbers_stay_as_they_are() -> None:
    text = '{"a":1.10,"iban":"x","who":[{"iban":["y"],"b":1e2}],"none":{"iban":null}}'
    assert shown_text(text, {"iban"}) == (
        '{"a":1.10,"iban":"***","who":[{"iban":"***","b":1E+2}],"none":{"iban":null}}'
    )
    assert shown_text(text, set()) == text
    assert shown_text('{"iban": "x', {"iban"}) == MASKED
