"""The examples whose pages cannot run them: one needs a server, one an instance of Dagster's. Pages run the others."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import dagster as dg
import pytest

from reliable_imports_dagster import ReliableImportsResource
from tests.conftest import Sql
from tests.running import ROOT, environment_of

EXAMPLES = ROOT / "examples"


class Contacts(BaseHTTPRequestHandler):
    """Three contacts, two on a page."""

    def do_GET(self) -> None:
        page = int(self.path.partition("?page=")[2] or 1)
        found = [{"id": each, "email": f"{each}@example.com", "name": f"No. {each}"} for each in (1, 2, 3)]
        host = f"http://127.0.0.1:{self.server.server_port}"  # type: ignore[attr-defined]
        answer = {"results": found[2 * page - 2 : 2 * page], "next": f"{host}/contacts?page=2" if page == 1 else None}
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps(answer).encode())

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def api() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Contacts) as server:
        threading.Thread(target=server.serve_forever).start()
        yield f"http://127.0.0.1:{server.server_port}/contacts"
        server.shutdown()


def test_an_api_is_imported_page_by_page_and_once_a_day(api: str, database: str, tmp_path: Path, sql: Sql) -> None:
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, EXAMPLES / "api_with_pages.py", api],
            env=environment_of(database, tmp_path),
            capture_output=True,
            text=True,
        )
        assert (done.returncode, done.stdout) == (0, "completed: 3 of 3\n"), done.stderr
    assert sql("SELECT id, email FROM crm.contacts ORDER BY id") == [(n, f"{n}@example.com") for n in (1, 2, 3)]
    assert sql("SELECT count(*) FROM reliable_imports.import_batches") == [(1,)]


def test_a_file_that_arrives_is_seen_by_the_sensor_and_imported_by_its_job(
    database: str, tmp_path: Path, sql: Sql, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("INBOX", str(tmp_path))
    monkeypatch.setenv("RELIABLE_IMPORTS_DSN", database)
    monkeypatch.syspath_prepend(ROOT)
    from examples.files_that_arrive_sensor import defs

    file = tmp_path / "monday.csv"
    file.write_text("number,name\n7,pencil\n")
    (sensor,) = (each for each in defs.sensors or () if "products" in each.name)
    resources = {"reliable_imports": ReliableImportsResource()}
    with dg.DagsterInstance.ephemeral() as instance:
        with dg.build_sensor_context(
            instance=instance, definitions=defs, sensor_name=sensor.name, resources=resources
        ) as context:
            found = sensor(context)
        # It came just now, so somebody may be writing it yet.
        assert "monday.csv" in str(getattr(found, "skip_reason", found)) + caplog.text
        config = {"ops": {"products": {"config": {"path": str(file)}}}}
        assert defs.resolve_job_def("import_products").execute_in_process(instance=instance, run_config=config).success
    assert sql("SELECT number, name FROM shop.products") == [("7", "pencil")]


def test_every_example_has_a_page_that_shows_it_or_is_the_script() -> None:
    pages = "".join(page.read_text() for page in (ROOT / "docs" / "how-to").glob("*.md"))
    shown = set(re.findall(r"literalinclude\} \.\./\.\./examples/(\w+\.py)", pages))
    assert shown | {"customer_import_example.py"} == {path.name for path in EXAMPLES.glob("*.py")}
    named = (EXAMPLES / "README.md").read_text()
    assert all(f"`{path.name}`" in named for path in EXAMPLES.glob("*.py"))
