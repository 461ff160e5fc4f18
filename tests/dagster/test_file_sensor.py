"""Files that arrive in a folder, and in a bucket of a real server that speaks S3: each imported once, and put aside."""

import os
import posixpath
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import fsspec
import pytest
from pydantic import BaseModel

from reliable_imports import BatchManager, ProcessorRegistry, SourceError, SourceUnavailable, TableProcessor
from reliable_imports_dagster import build_file_sensor, build_import_jobs, build_reliable_imports_defs
from tests.dagster.conftest import Query
from tests.dagster.daemon import Daemon
from tests.running import free_port, until

NOW = timedelta(0)


class Shop(BaseModel):
    code: str


class ShopsProcessor(TableProcessor):
    table = "shops"
    key = ("code",)
    model = Shop


REGISTRY = ProcessorRegistry()
REGISTRY.register(ShopsProcessor)
DEFS = build_reliable_imports_defs(REGISTRY)
[JOB] = [job for job in build_import_jobs(REGISTRY) if job.name == "import_shops"]


@pytest.fixture
def manager(dsn: str, query: Query) -> BatchManager:
    query("CREATE TABLE shops (code text PRIMARY KEY)")
    return BatchManager(dsn, registry=REGISTRY)


@pytest.fixture(scope="module")
def s3_server() -> Iterator[str]:
    port = free_port()
    server = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "--host", "127.0.0.1", "--port", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(timeout=30)


@pytest.fixture
def bucket(s3_server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The URL of a bucket, reached as its users reach theirs: by the environment."""
    for name, value in {
        "AWS_ENDPOINT_URL": s3_server,
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "not-secret",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    filesystem = fsspec.filesystem("s3", skip_instance_cache=True)
    name = f"shops-{time.time_ns()}"

    def made() -> bool | None:
        try:
            filesystem.mkdir(name)
        except OSError:
            return None  # the server is starting
        return True

    until(made)
    type(filesystem).clear_instance_cache()
    yield f"s3://{name}"
    type(filesystem).clear_instance_cache()


@pytest.fixture(params=["folder", "bucket"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> "Place":
    return Place(str(tmp_path) if request.param == "folder" else f"{request.getfixturevalue('bucket')}/incoming")


class Place:
    """Where files arrive, with what is in it."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._filesystem, self._path = fsspec.core.url_to_fs(url)

    def put(self, name: str, text: str) -> None:
        self._filesystem.makedirs(posixpath.dirname(f"{self._path}/{name}"), exist_ok=True)
        self._filesystem.pipe_file(f"{self._path}/{name}", text.encode())

    def names(self) -> list[str]:
        self._filesystem.invalidate_cache()
        return sorted(path.removeprefix(f"{self._path}/") for path in self._filesystem.find(self._path))


Start = Callable[..., Daemon]


@pytest.fixture
def daemon(manager: BatchManager, instance: dg.DagsterInstance, place: Place) -> Start:
    def start(**options: Any) -> Daemon:
        sensor = build_file_sensor(ShopsProcessor, place.url, JOB, **{"settled_after": NOW, **options})
        return Daemon(sensor, instance, DEFS)

    return start


def test_a_file_that_arrives_is_imported_once_and_moved(daemon: Start, place: Place, query: Query) -> None:
    files = daemon()
    assert f"no file is in {place.url}" in files.reason()
    place.put("shops.csv", "code\na\nb\n")
    place.put("later.csv.part", "code\nx\n")

    [request] = files.requests()
    assert files.run(request).success

    assert "shops.csv was imported" in files.reason()
    assert place.names() == ["imported/shops.csv", "later.csv.part"]
    assert f"no file is in {place.url}" in files.reason()
    assert query("SELECT code FROM shops ORDER BY code") == [("a",), ("b",)]
    assert query("SELECT source, total_items FROM reliable_imports.import_batches") == [(f"{place.url}/shops.csv", 2)]

    place.put("shops.csv", "code\nc\n")  # a new delivery under the old name
    [request] = files.requests()
    assert files.run(request).success
    assert "was imported" in files.reason()
    moved = [name for name in place.names() if name.startswith("imported/")]
    assert len(moved) == 2


def test_a_file_can_be_marked_by_its_name(daemon: Start, place: Place) -> None:
    place.put("shops.csv", "code\na\n")
    place.put("shops.json", '[{"code": "a"}')
    files = daemon(afterwards="rename")

    assert [files.run(request).success for request in files.requests()].count(True) == 1

    assert "shops.csv was imported" in files.reason()
    assert place.names() == ["shops.csv.imported", "shops.json.refused"]
    assert f"no file is in {place.url}" in files.reason()


def test_a_file_can_be_kept_and_is_imported_once(daemon: Start, place: Place, query: Query) -> None:
    place.put("shops.csv", "code\na\n")
    place.put("shops.json", '[{"code": "a"}')
    files = daemon(afterwards="keep")
    for request in files.requests():
        files.run(request)

    reason = files.reason()

    assert "imported before: 1, the last of them shops.csv" in reason
    assert "refused before: 1, the last of them shops.json" in reason
    assert place.names() == ["shops.csv", "shops.json"]
    assert query("SELECT count(*) FROM reliable_imports.import_batches") == [(1,)]


def test_a_file_that_cannot_be_read_is_put_aside_as_refused(daemon: Start, place: Place) -> None:
    place.put("shops.json", '[{"code": "a"}')
    files = daemon()

    [request] = files.requests()
    assert not files.run(request).success

    assert "was refused" in files.reason()
    assert place.names() == ["refused/shops.json"]


def test_a_file_whose_run_ended_early_gets_another(daemon: Start, place: Place) -> None:
    place.put("shops.csv", "code\na\n")
    files = daemon()
    [request] = files.requests()
    files.crash(request)

    [request] = files.requests()
    assert files.run(request).success
    assert "shops.csv was imported" in files.reason()


def test_two_runs_for_one_file_make_one_batch(daemon: Start, place: Place, query: Query) -> None:
    place.put("shops.csv", "code\na\n")
    files = daemon()
    [request] = files.requests()

    assert files.run(request).success
    assert files.run(request).success

    assert query("SELECT total_items FROM reliable_imports.import_batches") == [(1,)]


def test_a_file_whose_items_were_stored_by_a_run_that_died_is_not_read_again(
    daemon: Start, place: Place, manager: BatchManager
) -> None:
    place.put("shops.csv", "code\na\n")
    files = daemon()
    [request] = files.requests()
    key = request.run_config["ops"]["shops"]["config"]["idempotency_key"]
    manager.create_batch("shops", [{"code": "a"}], idempotency_key=key)
    files.crash(request)

    assert "shops.csv was imported" in files.reason()


def test_a_file_that_is_still_being_written_is_left_alone(daemon: Start, place: Place) -> None:
    place.put("shops.csv", "code\na\n")

    assert "has changed within" in daemon(settled_after=timedelta(hours=1)).reason()


def test_names_that_do_not_match_are_left_alone(daemon: Start, place: Place) -> None:
    for name in ("shops-1.csv", "sales-1.csv", "shops.txt", ".shops-2.csv", "below/shops-3.csv"):
        place.put(name, "code\na\n")

    [request] = daemon(pattern="shops-*").requests()

    assert request.run_config["ops"]["shops"]["config"]["path"] == f"{place.url}/shops-1.csv"


def test_a_file_that_is_out_of_reach_is_not_refused(
    manager: BatchManager, instance: dg.DagsterInstance, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = Place(f"{bucket}/incoming")
    place.put("shops.csv", "code\na\n")
    files = Daemon(build_file_sensor(ShopsProcessor, place.url, JOB, settled_after=NOW), instance, DEFS)
    [request] = files.requests()
    server = os.environ["AWS_ENDPOINT_URL"]
    _reach(monkeypatch, f"http://127.0.0.1:{free_port()}")
    assert not files.run(request).success
    _reach(monkeypatch, server)

    [request] = files.requests()
    assert files.run(request).success


def _reach(monkeypatch: pytest.MonkeyPatch, server: str) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", server)
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    fsspec.get_filesystem_class("s3").clear_instance_cache()


class TestSourcesInABucket:
    def test_one_is_read_in_full(self, manager: BatchManager, bucket: str, query: Query) -> None:
        place = Place(bucket)
        place.put("shops.csv", "code\n" + "".join(f"{number:07}\n" for number in range(300_000)))

        source = manager.open_source("shops", f"{bucket}/shops.csv")
        batch_id = manager.create_batch("shops", source)

        assert manager.get_summary(batch_id).total_items == 300_000
        assert query("SELECT source_bytes FROM reliable_imports.import_batches") == [(source.total_bytes,)]

    def test_one_that_is_not_there_is_refused(self, manager: BatchManager, bucket: str) -> None:
        with pytest.raises(SourceError, match="there is no such file") as raised:
            manager.open_source("shops", f"{bucket}/shops.csv")
        assert not isinstance(raised.value, SourceUnavailable)

    def test_one_that_is_out_of_reach_says_so(
        self, manager: BatchManager, bucket: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        _reach(monkeypatch, f"http://127.0.0.1:{free_port()}")
        with pytest.raises(SourceUnavailable, match="cannot be opened"):
            manager.open_source("shops", f"{bucket}/shops.csv")
