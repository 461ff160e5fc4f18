"""What is shipped for production: the roles are enough and no more, and the processes run and import."""

from __future__ import annotations

import configparser
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg2
import psycopg2.errors
import pytest
import yaml
from psycopg2 import sql

from example_repo.deploy.__main__ import FOLDER, ROLES, make_roles, prepare
from example_repo.processors.airlines import AirlinesProcessor
from reliable_imports import (
    BaseProcessor,
    BatchManager,
    ImportBatchItem,
    ImportContext,
    ReprocessRequest,
    TransientError,
)
from reliable_imports.postgres.dsn import parse_dsn
from tests.running import ask, processes, until

ROOT = Path(__file__).parents[2]
LAUNCH = """
mutation ($selector: JobOrPipelineSelector!) {
  launchRun(executionParams: {selector: $selector}) {
    __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message }
  }
}
"""
STATUS = "query ($id: ID!) { runOrError(runId: $id) { ... on Run { status } } }"
SELECTOR = {"repositoryLocationName": "imports", "repositoryName": "__repository__"}


class ShakyAirlinesProcessor(AirlinesProcessor):
    """Meets a transient error once, and is told of some airlines twice."""

    natural_key = ("carrier",)
    retry_pause = timedelta(0)
    met: bool

    def validate_item(self, item: ImportBatchItem, ctx: ImportContext) -> bool:
        if not type(self).met and item.source_data["carrier"] == "DL":
            type(self).met = True
            raise TransientError("the network blinked")
        return True


AIRLINES = [
    {"carrier": "UA", "name": "United"},
    {"carrier": "DL", "name": "Delta Air Lines Inc."},
    {"carrier": "none", "name": "No such code"},
    {"carrier": "UA", "name": "United Air Lines Inc."},
]


@dataclass(frozen=True)
class Deployment:
    """A database that was prepared as the README says, and how each role enters it."""

    place: dict[str, str]
    prefix: str
    home: Path

    def environment(self, role: str) -> dict[str, str]:
        """The variables of libpq for one role."""
        return {
            "PGHOST": self.place["host"],
            "PGPORT": self.place["port"],
            "PGDATABASE": self.place["dbname"],
            "PGUSER": f"{self.prefix}_{role}",
            "PGPASSWORD": password_of(role),
        }

    def dsn(self, role: str) -> str:
        given = self.environment(role)
        return (
            f"host={given['PGHOST']} port={given['PGPORT']} dbname={given['PGDATABASE']} "
            f"user={given['PGUSER']} password='{given['PGPASSWORD']}'"
        )


def password_of(role: str) -> str:
    return f"{role}: 50%/@"  # would have to be escaped in a URL


@pytest.fixture
def prefix(server_dsn: str) -> Iterator[str]:
    """Roles belong to the whole server; these go after the database in which they own tables."""
    prefix = f"deploy_{os.getpid()}"
    yield prefix
    with closing(psycopg2.connect(server_dsn)) as connection, connection, connection.cursor() as cursor:
        for role in ROLES:
            cursor.execute(sql.SQL("DROP ROLE IF EXISTS {}").format(sql.Identifier(f"{prefix}_{role}")))


@pytest.fixture
def deployment(prefix: str, empty_database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Deployment:
    place = {"host": "localhost", "port": "5432", **parse_dsn(empty_database)}
    home = tmp_path / "dagster"
    (home / "log").mkdir(parents=True)
    shutil.copy(FOLDER / "dagster.yaml", home)
    made = Deployment(place, prefix, home)
    make_roles(empty_database, {role: password_of(role) for role in ROLES}, prefix=prefix)
    with monkeypatch.context() as patch:
        patch.setenv("DAGSTER_HOME", str(home))
        for name, value in made.environment("owner").items():
            patch.setenv(name, value)
        assert len(prepare("postgresql:///", prefix=prefix)) > 0
    return made


@pytest.fixture
def worker(deployment: Deployment) -> BatchManager:
    manager = BatchManager(deployment.dsn("worker"), migrate=False)
    ShakyAirlinesProcessor.met = False
    manager.registry.register(ShakyAirlinesProcessor)
    return manager


def select(dsn: str, statement: str, *parameters: object) -> list[tuple[Any, ...]]:
    with closing(psycopg2.connect(dsn)) as connection, connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        return cursor.fetchall()


def refused(dsn: str, statements: list[str]) -> list[str]:
    """Those of the statements that the server refuses for want of rights; any other error comes through."""
    found = []
    with closing(psycopg2.connect(dsn)) as connection, connection.cursor() as cursor:
        for statement in statements:
            try:
                cursor.execute(statement)
            except psycopg2.errors.InsufficientPrivilege:
                found.append(statement)
            connection.rollback()
    return found


def test_the_worker_does_all_that_an_import_needs(worker: BatchManager, deployment: Deployment) -> None:
    batch_id = worker.create_batch("shaky_airlines", AIRLINES, idempotency_key="a delivery", requested_by="a person")
    assert worker.create_batch("shaky_airlines", AIRLINES, idempotency_key="a delivery") == batch_id
    assert worker.pause_batch(batch_id, reason="lunch").status == "paused"

    done = worker.process_batch(batch_id)
    assert ShakyAirlinesProcessor.met
    assert (done.completed_items, done.failed_items, done.skipped_items) == (2, 1, 1)
    again = worker.reprocess_batch(batch_id, ReprocessRequest(note="look again"))
    assert (again.completed_items, again.failed_items) == (0, 1)

    cancelled = worker.create_batch("shaky_airlines", AIRLINES)
    assert worker.cancel_batch(cancelled, reason="sent by mistake").status == "cancelled"
    assert worker.reprocess_batch(cancelled).completed_items == 2

    assert [each.problems for each in worker.verify()] == [()] * 4
    verified = subprocess.run(
        [sys.executable, "-m", "reliable_imports", "verify"],
        env={
            **os.environ,
            **deployment.environment("worker"),
            "PYTHONPATH": str(ROOT),
            "RELIABLE_IMPORTS_DSN": "postgresql:///",
        },
    )
    assert verified.returncode == 0
    assert worker.failure_reasons(batch_id)
    assert worker.list_items(batch_id, status="failed")
    assert worker.list_logs(batch_id)
    assert worker.count_outstanding(batch_id) == 1
    assert select(deployment.dsn("worker"), "SELECT carrier, name FROM example.airlines ORDER BY carrier") == [
        ("DL", "Delta Air Lines Inc."),
        ("UA", "United Air Lines Inc."),
    ]


def test_the_worker_finds_out_which_item_kills_its_process(worker: BatchManager, deployment: Deployment) -> None:
    class DeadlyAirlinesProcessor(BaseProcessor):
        item_timeout = timedelta(seconds=60)  # so that only a child dies of it

        def process_item(self, item: ImportBatchItem, ctx: ImportContext) -> None:
            if item.item_number == 2:
                os._exit(1)
            ctx.upsert("example.airlines", item.source_data, key="carrier")

    worker.registry.register(DeadlyAirlinesProcessor)
    items = [{"carrier": carrier, "name": carrier} for carrier in ("AA", "BB", "CC")]
    done = worker.process_batch(worker.create_batch("deadly_airlines", items))

    assert (done.completed_items, done.failed_items) == (2, 1)
    assert [item.error_type for item in worker.list_items(done.batch_id, status="failed")] == ["KilledWorker"]
    found = "SELECT carrier FROM example.airlines ORDER BY carrier"
    assert select(deployment.dsn("worker"), found) == [("AA",), ("CC",)]


def test_the_worker_puts_off_an_item_that_workers_were_lost_with(worker: BatchManager, deployment: Deployment) -> None:
    class PlainAirlinesProcessor(BaseProcessor):
        def process_item(self, item: ImportBatchItem, ctx: ImportContext) -> None:
            ctx.upsert("example.airlines", item.source_data, key="carrier")

    worker.registry.register(PlainAirlinesProcessor)
    items = [{"carrier": carrier, "name": carrier} for carrier in ("AA", "BB", "CC")]
    batch_id = worker.create_batch("plain_airlines", items)
    with closing(psycopg2.connect(deployment.dsn("owner"))) as connection, connection, connection.cursor() as cursor:
        for _ in range(2):  # workers that were lost in a search for a killer, with all that belonged to them
            cursor.execute(
                "INSERT INTO reliable_imports.import_runs "
                "(batch_id, runner, mode, host, process_id, range_number, lone_item) "
                "VALUES (%s, 'python', 'import', 'elsewhere', 1, 1, 1)",
                [batch_id],
            )

    paused = worker.process_batch(batch_id)
    assert (paused.status, paused.completed_items, paused.open_items) == ("paused", 2, 1)
    assert "item 1 was tried alone 2 times" in (paused.pause_reason or "")
    assert worker.process_batch(batch_id).completed_items == 3


def test_the_worker_answers_every_question_of_dagsters_sensors(worker: BatchManager) -> None:
    batch_id = worker.create_batch("shaky_airlines", AIRLINES, partition=None)
    assert [waiting.batch_id for waiting in worker.orchestration.waiting_batches()] == [batch_id]
    worker.process_batch(batch_id, dagster_run_id="a run")
    assert worker.orchestration.claim_report(batch_id, "a run")
    assert worker.orchestration.release_run("a run", error="gone") == []
    assert worker.orchestration.abandoned_batches() == []
    assert worker.orchestration.lineages_due() == []
    assert worker.orchestration.finished_elsewhere() == []
    assert [line.first_batch_id for line in worker.orchestration.permanent_failures(["shaky_airlines"]).lineages] == [
        batch_id
    ]


def test_the_worker_changes_no_history_and_no_table(worker: BatchManager, deployment: Deployment) -> None:
    worker.process_batch(worker.create_batch("shaky_airlines", AIRLINES))
    forbidden = [
        *(
            f"{change} reliable_imports.{table}{rest}"
            for table, column in [
                ("import_items", "source_line"),
                ("import_attempts", "message"),
                ("import_logs", "message"),
            ]
            for change, rest in [
                ("UPDATE", f" SET {column} = NULL"),
                ("DELETE FROM", ""),
                ("TRUNCATE", ""),
                ("DROP TABLE", ""),
            ]
        ),
        "ALTER TABLE reliable_imports.import_items DISABLE TRIGGER ALL",
        "DELETE FROM reliable_imports.import_batches",
        "DELETE FROM reliable_imports.import_runs",
        "DELETE FROM reliable_imports.import_ranges",
        "UPDATE reliable_imports.import_retries SET next_attempt = 1",
        "UPDATE reliable_imports.import_duplicates SET fails = false",
        "INSERT INTO reliable_imports.migrations (number, name) VALUES (9999, 'mine')",
        "DROP VIEW reliable_imports.failed_items",
        "DROP FUNCTION reliable_imports.refuse_change() CASCADE",
        "CREATE TABLE reliable_imports.mine ()",
        "DELETE FROM example.airlines",
        "DROP TABLE example.airlines",
        "CREATE TABLE example.mine ()",
        "DROP TABLE dagster.runs",
        "CREATE TABLE dagster.mine ()",
        "CREATE TABLE public.mine ()",
        "CREATE TEMPORARY TABLE mine ()",
        "CREATE SCHEMA mine",
        "CREATE ROLE mine",
        f"SET ROLE {deployment.prefix}_owner",
    ]
    assert refused(deployment.dsn("worker"), forbidden) == forbidden


def test_the_reader_selects_every_view_and_nothing_more(worker: BatchManager, deployment: Deployment) -> None:
    worker.process_batch(worker.create_batch("shaky_airlines", AIRLINES), dagster_run_id="a run")
    reader = deployment.dsn("reader")
    relations = select(
        reader,
        "SELECT namespace.nspname || '.' || relation.relname, relation.relkind = 'v' "
        "FROM pg_catalog.pg_class AS relation JOIN pg_catalog.pg_namespace AS namespace "
        "ON namespace.oid = relation.relnamespace "
        "WHERE namespace.nspname IN ('reliable_imports', 'example', 'dagster') AND relation.relkind IN ('r', 'v', 'S') "
        "ORDER BY 1",
    )
    views = [name for name, is_view in relations if is_view]
    others = [name for name, is_view in relations if not is_view]
    assert len(views) >= 10
    assert {"dagster.runs", "example.airlines", "reliable_imports.import_items"} < set(others)
    for view in views:
        select(reader, f"SELECT * FROM {view}")
    assert select(reader, "SELECT count(*) FROM reliable_imports.failed_items") == [(1,)]

    forbidden = [f"SELECT FROM {name}" for name in others]
    forbidden += ["CREATE TEMPORARY TABLE mine ()", "CREATE TABLE public.mine ()", "CREATE SCHEMA mine"]
    assert refused(reader, forbidden) == forbidden
    changes = "SELECT pg_catalog.has_table_privilege(%s, 'INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER')"
    assert [view for view in views if select(reader, changes, view) != [(False,)]] == []
    # A function that ran with its owner's rights would be a way around all that.
    assert (
        select(
            reader,
            "SELECT proname FROM pg_catalog.pg_proc WHERE prosecdef "
            "AND pronamespace = 'reliable_imports'::regnamespace",
        )
        == []
    )


def test_a_release_prepares_the_database_again(
    deployment: Deployment, empty_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_roles(empty_database, {}, prefix=deployment.prefix)  # and the passwords stay
    monkeypatch.setenv("DAGSTER_HOME", str(deployment.home))
    for name, value in deployment.environment("owner").items():
        monkeypatch.setenv(name, value)
    assert prepare("postgresql:///", prefix=deployment.prefix) == []


def compose() -> dict[str, Any]:
    document = yaml.safe_load((FOLDER / "docker-compose.yaml").read_text(encoding="utf-8"))
    return dict(document["services"])


def supervised() -> dict[str, dict[str, str]]:
    parser = configparser.RawConfigParser(strict=True)
    parser.read_string((FOLDER / "supervisord.conf").read_text(encoding="utf-8"))
    return {name: dict(parser[name]) for name in parser.sections()}


def test_every_service_is_watched_or_restarted() -> None:
    services = compose()
    assert set(services) == {"postgres", "roles", "migrate", "code", "webserver", "daemon"}
    for name, service in services.items():
        assert service["restart"] in {"unless-stopped", "on-failure:3"}, name
        if service["restart"] == "unless-stopped":
            assert service["healthcheck"]["test"], name
    programs = {name: section for name, section in supervised().items() if name.startswith("program:")}
    assert set(programs) == {"program:code", "program:webserver", "program:daemon"}
    assert {section["autorestart"] for section in programs.values()} == {"true"}


def test_only_loopback_reaches_what_is_deployed() -> None:
    published = [port for service in compose().values() for port in service.get("ports", [])]
    assert len(published) == 2
    assert all(port.startswith("127.0.0.1:") for port in published)
    assert all("network_mode" not in service for service in compose().values())

    sections = supervised()
    assert "inet_http_server" not in sections
    listening = [section["command"] for section in sections.values() if "--port" in section.get("command", "")]
    assert len(listening) == 2
    assert all(re.findall(r"--host (\S+)", command) == ["127.0.0.1"] for command in listening)


def test_passwords_come_from_the_environment_and_each_service_has_only_its_own() -> None:
    wanted = {
        "postgres": {"ADMIN"},
        "roles": {"ADMIN", "OWNER", "WORKER", "READER"},
        "migrate": {"OWNER"},
        "code": {"WORKER"},
        "webserver": {"WORKER"},
        "daemon": {"WORKER"},
    }
    for name, service in compose().items():
        secrets = {key: value for key, value in service["environment"].items() if "PASSWORD" in key}
        # Without `:?` an unset variable would be an empty password.
        found = [re.fullmatch(r"\$\{IMPORTS_([A-Z]+)_PASSWORD:\?[^}]+\}", value) for value in secrets.values()]
        assert all(found), secrets.keys()
        assert {match[1] for match in found if match} == wanted[name]
    for file in FOLDER.iterdir():
        if file.is_file():
            text = file.read_text(encoding="utf-8")
            assert not re.search(r"://[^/\s:@]*:[^/\s@]+@", text), f"a URL with a password in {file.name}"
            if file.suffix in {".conf", ".sql"} or file.name in {"Dockerfile", "dagster.yaml", "workspace.yaml"}:
                assert not re.search(r"(?i)password\s*[=:]|PGPASSWORD=", text), file.name


def test_the_image_copies_what_exists() -> None:
    copied = re.findall(
        r"^COPY (?:--chown=\w+ )?((?:[\w./]+ )+)\S+$", (FOLDER / "Dockerfile").read_text(), re.MULTILINE
    )
    sources = [source for line in copied for source in line.split()]
    assert {"pyproject.toml", "reliable_imports", "example_repo"} < set(sources)
    assert [source for source in sources if not (ROOT / source).exists()] == []


def free_ports(number: int) -> list[int]:
    probes = [socket.create_server(("127.0.0.1", 0)) for _ in range(number)]
    ports = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return ports


def test_the_supervised_processes_import_and_come_back_and_end(deployment: Deployment, tmp_path: Path) -> None:
    code_port, web_port = free_ports(2)
    environment = {
        **os.environ,
        **deployment.environment("worker"),
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        "PYTHONPATH": str(ROOT),
        "DAGSTER_HOME": str(deployment.home),
        "RELIABLE_IMPORTS_DSN": "postgresql:///",
        "IMPORTS_CODE_HOST": "127.0.0.1",
        "IMPORTS_CODE_PORT": str(code_port),
        "IMPORTS_WEB_PORT": str(web_port),
    }
    log = tmp_path / "output"
    command = [sys.executable, "-m", "supervisor.supervisord", "--configuration", str(FOLDER / "supervisord.conf")]
    with (
        log.open("w") as output,
        subprocess.Popen(
            command, cwd=tmp_path, env=environment, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
        ) as supervisord,
    ):
        try:
            until(lambda: has_loaded(web_port, supervisord, log))
            run_id = launch(web_port, "import_airlines")

            def ended() -> str | None:
                status = str(ask(web_port, STATUS, id=run_id)["runOrError"]["status"])
                return status if status in ("SUCCESS", "FAILURE", "CANCELED") else None

            assert until(ended) == "SUCCESS", (deployment.home / "log" / "code.log").read_text()
            # Who may not see Dagster's tables sees no status.
            statement = (
                "SELECT batch_status, completed, {} FROM reliable_imports.dagster_runs WHERE dagster_run_id = %s"
            )
            assert select(deployment.dsn("worker"), statement.format("dagster_status"), run_id) == [
                ("completed", 16, "SUCCESS")
            ]
            assert select(deployment.dsn("reader"), statement.format("dagster_status"), run_id) == [
                ("completed", 16, None)
            ]
            daemon = shutil.which("dagster-daemon", path=environment["PATH"]) or ""
            until(lambda: subprocess.run([daemon, "liveness-check"], env=environment).returncode == 0 or None)

            # As at every release: the code location is restarted while a run is at work.
            launch(web_port, "import_flights")
            at_work = "SELECT FROM reliable_imports.import_runs WHERE completed + failed BETWEEN 17 AND 6099"
            until(lambda: select(deployment.dsn("worker"), at_work) or None)
            control = [sys.executable, "-m", "supervisor.supervisorctl", *command[3:], "restart", "code"]
            assert subprocess.run(control, env=environment).returncode == 0
            of_flights = "SELECT status FROM reliable_imports.batch_summaries WHERE batch_type = 'flights' AND "
            finished = of_flights + "completed_items + failed_items = 6099 AND finished_at IS NOT NULL"
            # Two ticks of a minute, if the code location is away just when Dagster wants to start the run again.
            until(lambda: select(deployment.dsn("reader"), finished) or None, seconds=300)
            assert select(deployment.dsn("reader"), "SELECT FROM reliable_imports.stalled_batches") == []

            before = processes("ppid", supervisord.pid)
            assert len(before) == 3
            os.kill(before[-1], signal.SIGKILL)

            def all_three_again() -> list[int] | None:
                after = processes("ppid", supervisord.pid)
                return after if len(after) == 3 and before[-1] not in after else None

            groups = until(all_three_again)
        finally:
            supervisord.send_signal(signal.SIGTERM)
        assert supervisord.wait(timeout=120) == 0
    until(lambda: not [pid for group in groups for pid in processes("pgid", group)] or None)
    told = "".join(each.read_text() for each in [log, *(deployment.home / "log").iterdir()])
    assert password_of("worker") not in told
    assert "permission denied" not in told


def launch(port: int, job: str) -> str:
    launched = ask(port, LAUNCH, selector={**SELECTOR, "jobName": job})["launchRun"]
    assert launched["__typename"] == "LaunchRunSuccess", launched
    return str(launched["run"]["runId"])


def has_loaded(port: int, supervisord: subprocess.Popen[bytes], log: Path) -> bool | None:
    """True as soon as the webserver answers and knows the code location."""
    assert supervisord.poll() is None, log.read_text()
    try:
        loaded = ask(port, "{ repositoriesOrError { ... on RepositoryConnection { nodes { name } } } }")
    except (urllib.error.URLError, ConnectionError):
        return None
    return bool(loaded["repositoriesOrError"].get("nodes")) or None
