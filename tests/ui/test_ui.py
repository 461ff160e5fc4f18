"""What people see and do in Dagster's UI, and what PostgreSQL says of it."""

from __future__ import annotations

import re

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.running import until
from tests.ui import project
from tests.ui.browser import NoChromium, browser
from tests.ui.conftest import ITEMS
from tests.ui.dagster_ui import DagsterUi


def value_of(page: Page, key: str) -> Locator:
    """The value of one entry of the asset page's metadata."""
    named = page.get_by_role("cell", name=key, exact=True)
    return page.get_by_role("row").filter(has=named).first.locator(":scope > td").last


def open_asset(page: Page, ui: DagsterUi, key: str) -> int:
    """Open an asset's page, and return the batch that it shows."""
    page.goto(ui.asset(key))
    expect(value_of(page, "batch_id")).to_be_visible()
    return int(value_of(page, "batch_id").inner_text())


def write_config(page: Page, lines: str) -> None:
    """Replace what is in the launchpad's editor, which is no field that could be filled in."""
    page.locator(".CodeMirror-lines").click()
    page.keyboard.press("ControlOrMeta+A")
    page.keyboard.insert_text(lines)


def expect_runs(page: Page, expected: set[str]) -> None:
    """A list of runs shows these, by their short ids."""
    expect(page.get_by_role("link", name="View", exact=True).first).to_be_visible()
    links = page.get_by_role("link", name=re.compile(r"[0-9a-f]{8}$"))
    until(lambda: {text[-8:] for text in links.all_inner_texts()} == expected or None)


def runs_in_postgres(ui: DagsterUi, condition: str, batch_id: int) -> set[str]:
    runs = ui.select(
        "SELECT left(run.dagster_run_id, 8) FROM reliable_imports.import_runs AS run"
        f" JOIN reliable_imports.import_batches AS batch ON batch.id = run.batch_id WHERE {condition} = %s",
        batch_id,
    )
    return {run for (run,) in runs}


def status_in_dagster(ui: DagsterUi, run_id: str) -> str:
    [(status,)] = ui.select("SELECT status FROM dagster.runs WHERE run_id = %s", run_id)
    return str(status)


def statuses_of_items(ui: DagsterUi, batch_id: int) -> dict[str, int]:
    counts = ui.select(
        "SELECT status, count(*) FROM reliable_imports.import_batch_items WHERE batch_id = %s GROUP BY status", batch_id
    )
    return dict(counts)  # type: ignore[arg-type]


def test_the_asset_page_tells_how_the_last_batch_went_and_why(ui: DagsterUi, page: Page) -> None:
    batch_id = open_asset(page, ui, "flights")

    [(status, total, completed, failed)] = ui.select(
        "SELECT status, total_items, completed_items, failed_items FROM reliable_imports.import_batches WHERE id = %s",
        batch_id,
    )
    assert failed > 0
    for key, value in [
        ("status", status),
        ("total_items", total),
        ("completed_items", completed),
        ("failed_items", failed),
        ("outstanding_failures", failed),
    ]:
        expect(value_of(page, key)).to_have_text(str(value))
    [(rows,)] = ui.select("SELECT count(*) FROM example.flights")
    expect(page.get_by_text(f"{rows:,}", exact=True)).to_be_visible()

    reasons = ui.select(
        "SELECT items, reason, title FROM reliable_imports.failure_reason_counts WHERE batch_id = %s", batch_id
    )
    for items, reason, title in reasons:
        shown = value_of(page, "reasons").get_by_role("row").filter(has_text=reason)
        assert shown.get_by_role("cell").all_inner_texts()[:3] == [str(items), reason, title]


def test_numbers_are_plotted_over_the_batches(ui: DagsterUi, page: Page) -> None:
    open_asset(page, ui, "flights")
    page.get_by_role("button", name="Plots").click()

    for key in ("total_items", "failed_items", "items_per_second", "dagster/row_count"):
        expect(page.get_by_text(key, exact=True)).to_be_visible()
    expect(page.locator("canvas").first).to_be_visible()
    expect(page.locator("canvas").nth(7)).to_be_attached()
    [(points,)] = ui.select(
        "SELECT count(*) FROM dagster.event_logs"
        " WHERE dagster_event_type = 'ASSET_MATERIALIZATION' AND asset_key = '[\"flights\"]'"
    )
    assert points >= 2


def test_links_lead_to_the_runs_of_the_batch_and_of_its_line(ui: DagsterUi, page: Page) -> None:
    batch_id = open_asset(page, ui, "flights")
    page.get_by_role("link", name=f"runs of batch {batch_id}").click()
    expect_runs(page, runs_in_postgres(ui, "batch.id", batch_id))

    page.go_back()
    [(first,)] = ui.select("SELECT first_batch_id FROM reliable_imports.import_batches WHERE id = %s", batch_id)
    page.get_by_role("link", name=f"runs of its lineage, from batch {first} on").click()
    line = runs_in_postgres(ui, "batch.first_batch_id", first)
    assert len(line) > 1
    expect_runs(page, line)


def test_a_check_warns_of_items_that_failed(ui: DagsterUi, page: Page) -> None:
    batch_id = open_asset(page, ui, "flights")
    page.get_by_role("tab", name="Checks").click()
    page.get_by_text("no_failed_items", exact=True).first.click()

    [(total, failed)] = ui.select(
        "SELECT total_items, failed_items FROM reliable_imports.import_batches WHERE id = %s", batch_id
    )
    expect(page.get_by_text(f"{failed:,} of {total:,} items failed for 1 reason")).to_be_visible()
    expect(page.get_by_role("img", name="warning_outline").first).to_be_visible()
    expect(page.get_by_text("Succeeded", exact=True)).to_have_count(1)  # counted again, all of it adds up


def test_lineage_shows_what_the_foreign_keys_say(ui: DagsterUi, page: Page) -> None:
    referenced = ui.select(
        "SELECT DISTINCT table_of.relname FROM pg_catalog.pg_constraint AS reference"
        " JOIN pg_catalog.pg_class AS table_of ON table_of.oid = reference.confrelid"
        " WHERE reference.conrelid = 'example.flights'::regclass AND reference.contype = 'f'"
    )
    open_asset(page, ui, "flights")
    page.get_by_role("tab", name="Lineage").click()

    assert len(referenced) == 3
    for (parent,) in referenced:
        expect(
            page.get_by_role("link", name=str(parent)).or_(page.get_by_text(str(parent), exact=True)).first
        ).to_be_visible()
    expect(page.get_by_text("3 / 3 Passed")).to_have_count(3)


def test_the_launchpad_documents_params_and_refuses_what_they_are_not(ui: DagsterUi, page: Page) -> None:
    page.goto(ui.launchpad("import_readings", project.__name__))
    expect(page.get_by_text("No errors")).to_be_visible()
    expect(page.locator(".CodeMirror-lines")).to_contain_text("factor: '1.0'")
    page.get_by_text("kWh").click()
    schema = page.locator("code")
    expect(schema).to_contain_text("/* What the meter counts. */")
    expect(schema).to_contain_text("/* What every reading is multiplied by. (decimal number, in quotes; above 0) */")
    expect(schema).to_contain_text("readings_unit (kWh or MJ)")

    write_config(page, "ops:\n  readings:\n    config:\n      params:\n        unit: horses\n        colour: red\n")
    expect(page.get_by_text("not in enum type readings_unit (kWh or MJ) got horses")).to_be_visible()
    expect(page.get_by_text('Received unexpected config entry "colour"')).to_be_visible()
    expect(page.get_by_role("button", name="Launch Run")).to_be_disabled()

    write_config(page, "ops:\n  readings:\n    config:\n      params:\n        factor: '-1'\n")
    expect(page.get_by_text("No errors")).to_be_visible()
    page.get_by_role("button", name="Launch Run").click()
    refusal = "the params of readings do not fit: factor: Input should be greater than 0"
    expect(page.get_by_text(refusal).first).to_be_visible()
    page.wait_for_url("**/runs/*")
    run_id = page.url.rpartition("/")[2]
    assert until(lambda: status_in_dagster(ui, run_id) if "FAIL" in status_in_dagster(ui, run_id) else None)
    assert ui.select("SELECT id FROM reliable_imports.import_batches WHERE batch_type = 'readings'") == []


def test_materialize_makes_a_batch_terminate_tears_nothing_and_re_execute_works_what_is_left(
    ui: DagsterUi, page: Page
) -> None:
    [(newest,)] = ui.select("SELECT max(id) FROM reliable_imports.import_batches")
    [(last_run,)] = ui.select("SELECT max(id) FROM dagster.runs")
    page.goto(ui.asset("readings"))
    page.get_by_role("button", name="Materialize").first.click()
    [(run_id,)] = until(lambda: ui.select("SELECT run_id FROM dagster.runs WHERE id > %s", last_run) or None)

    def batch_at_work() -> int | None:
        batches = ui.select(
            "SELECT batch_id FROM reliable_imports.batch_summaries JOIN reliable_imports.import_runs USING (batch_id)"
            " WHERE dagster_run_id = %s AND completed_items >= 100",
            run_id,
        )
        return int(batches[0][0]) if batches else None

    batch_id = until(batch_at_work)
    assert batch_id > newest
    page.goto(f"{ui.url}/runs/{run_id}")
    page.get_by_role("button", name="Terminate").click()
    page.get_by_role("dialog").get_by_role("button", name="Terminate 1 run").click()
    expect(page.get_by_text("Canceled", exact=True).first).to_be_visible()
    expect(page.get_by_text(f"batch {batch_id} is not finished: re-execute this run")).to_be_visible()

    assert status_in_dagster(ui, run_id) == "CANCELED"
    items = statuses_of_items(ui, batch_id)
    assert set(items) == {"completed", "pending"}
    assert sum(items.values()) == ITEMS
    assert ui.select("SELECT count(*), count(DISTINCT number) FROM readings") == [(items["completed"],) * 2]

    (ui.folder / project.HURRY).touch()
    page.get_by_role("button", name="Re-execute all").click()
    page.wait_for_url(re.compile(rf"/runs/(?!{run_id})"))
    expect(page.get_by_text("Success", exact=True).first).to_be_visible()
    expect(
        page.get_by_text(f"resuming batch {batch_id}: {items['pending']:,} of {ITEMS:,} readings are left")
    ).to_be_visible()

    assert statuses_of_items(ui, batch_id) == {"completed": ITEMS}
    assert ui.select("SELECT count(*), count(DISTINCT number) FROM readings") == [(ITEMS, ITEMS)]
    assert open_asset(page, ui, "readings") == batch_id
    expect(value_of(page, "completed_items")).to_have_text(str(ITEMS))
    page.get_by_role("link", name=f"runs of batch {batch_id}").click()
    runs = {run_id[:8], *runs_in_postgres(ui, "batch.id", batch_id)}
    assert len(runs) == 2
    expect_runs(page, runs)


def test_a_sensor_says_what_it_is_for_and_why_it_did_nothing(ui: DagsterUi, page: Page) -> None:
    page.goto(f"{ui.url}/automation")
    page.get_by_role("link", name="import_waiting_batches_sensor").click()
    expect(page.get_by_text("Works batches that an application has created.")).to_be_visible()
    page.get_by_role("button", name="0 runs requested").first.click()
    expect(page.get_by_role("dialog")).to_contain_text("Skip reason: no batch is waiting that nobody has begun to work")
    assert ui.select("SELECT id FROM reliable_imports.import_batches WHERE status = 'pending'") == []


def test_failed_items_are_run_again_by_the_launchpad_or_the_command_that_the_page_shows(
    ui: DagsterUi, page: Page
) -> None:
    batch_id = open_asset(page, ui, "flights")
    command = value_of(page, "reprocess").locator("pre").first.inner_text()

    page.get_by_role("link", name="in the launchpad").click()
    expect(page.locator(".CodeMirror-lines")).to_contain_text(f"batch_id: {batch_id}")
    expect(page.get_by_text("No errors")).to_be_visible()
    expect(page.get_by_role("button", name="Launch Run")).to_be_enabled()

    assert ui.shell(command).returncode == 1  # nobody has mended anything
    assert ui.select(
        "SELECT repeat.status, repeat.failed_items = batch.failed_items FROM reliable_imports.import_batches AS repeat"
        " JOIN reliable_imports.import_batches AS batch ON batch.id = repeat.reprocess_of WHERE batch.id = %s",
        batch_id,
    ) == [("failed", True)]


def test_a_machine_without_chromium_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(NoChromium, match="apt-get install chromium"), browser():
        pass
