"""Files that arrive in a folder, and in a bucket of a real server that speaks S3: each imported once, and put aside."""

import functools
import json
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

from reliable_imports import (
    BaseProcessor,
    BatchManager,
    ConfigurationError,
    ProcessorRegistry,
    SourceError,
    SourceOptions,
    SourceUnavailable,
    TableProcessor,
)
from reliable_imports_dagster import build_file_sensor, build_reliable_imports_defs
from reliable_imports_dagster.sensors.arrivals import Arrivals
from reliable_imports_dagster.sensors.frame import MAX_IDLE_RUNS
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


class BranchesProcessor(ShopsProcessor):
    """Of files whose names do not say how they are to be read."""

    source_options = SourceOptions(format="csv")


class SteadyProcessor(ShopsProcessor):
    skip_unchanged = True


REGISTRY = ProcessorRegistry()
REGISTRY.register(SteadyProcessor)
REGISTRY.register(ShopsProcessor)
REGISTRY.register(BranchesProcessor)
DEFS = build_reliable_imports_defs(REGISTRY)


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
        server.wait(timeout=120)


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
def watch(manager: BatchManager, instance: dg.DagsterInstance) -> Start:
    def start(processor: type[BaseProcessor], folder: str | Path, **options: Any) -> Daemon:
        return Daemon(build_file_sensor(processor, folder, **{"settled_after": NOW, **options}), instance, DEFS)

    return start


@pytest.fixture
def daemon(watch: Start, place: Place) -> Start:
    return functools.partial(watch, ShopsProcessor, place.url)


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


def test_files_that_are_still_being_written_are_left_alone_and_counted(daemon: Start, place: Place) -> None:
    for name in ("shops-1.csv", "shops-2.csv"):
        place.put(name, "code\na\n")

    assert daemon(settled_after=timedelta(hours=1)).reason().startswith("2 changed within 1:00:00, the last shops-")


def test_names_that_do_not_match_are_left_alone(daemon: Start, place: Place) -> None:
    for name in ("shops-1.csv", "sales-1.csv", "shops.txt", ".shops-2.csv", "below/shops-3.csv", "~$shops.xlsx"):
        place.put(name, "code\na\n")

    [request] = daemon(pattern="*shops[-.]*").requests()

    assert request.run_config["ops"]["shops"]["config"]["path"] == f"{place.url}/shops-1.csv"


def test_a_name_may_have_any_characters(daemon: Start, place: Place, manager: BatchManager, query: Query) -> None:
    # As a pattern, three of these are names of others, and two would be cut in a URL of the web.
    names = ["%20.csv", "A.CSV.GZ", "[x].csv", "a#b.csv", "a*.csv", "a?b=1.csv", "abc.csv", "x y.csv", "x.csv", "ü.csv"]
    for name in names:
        place.put(name, "code\na\n")
    files = daemon()
    for request in files.requests():
        config = request.run_config["ops"]["shops"]["config"]
        source = manager.open_source("shops", config["path"])
        manager.create_batch("shops", source, idempotency_key=config["idempotency_key"])

    files.reason()

    assert place.names() == [f"imported/{name}" for name in names]
    assert sorted(query("SELECT source FROM reliable_imports.import_batches")) == [(f"{place.url}/{n}",) for n in names]


def test_a_name_that_is_no_text_does_not_hold_up_others(watch: Start, tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(b"shops-\xff.csv")).write_text("code\na\n")
    (tmp_path / "shops.csv").write_text("code\na\n")

    [request] = watch(ShopsProcessor, tmp_path).requests()

    assert request.run_config["ops"]["shops"]["config"]["path"] == str(tmp_path / "shops.csv")


def test_a_link_is_left_alone(watch: Start, tmp_path: Path) -> None:
    (tmp_path / "secret.txt").write_text("code\na\n")
    (tmp_path / "shops.csv").symlink_to(tmp_path / "secret.txt")

    assert "no file is in" in watch(ShopsProcessor, tmp_path).reason()


def test_files_of_any_name_are_taken_where_their_format_is_declared(watch: Start, tmp_path: Path) -> None:
    (tmp_path / "branches.txt").write_text("code\na\n")
    files = watch(BranchesProcessor, tmp_path, pattern="branches*", afterwards="rename")
    [request] = files.requests()
    assert files.run(request).success

    assert "branches.txt was imported" in files.reason()

    assert (tmp_path / "branches.txt.imported").exists()
    assert "no file is in" in files.reason()


def test_a_folder_that_cannot_be_written_holds_up_nothing(watch: Start, tmp_path: Path) -> None:
    (tmp_path / "imported").write_text("where the folder of that name would be made")
    (tmp_path / "shops-1.csv").write_text("code\na\n")
    files = watch(ShopsProcessor, tmp_path)
    [request] = files.requests()
    assert files.run(request).success
    assert "shops-1.csv was imported, and stays where it is, for it cannot be moved" in files.reason()

    (tmp_path / "shops-2.csv").write_text("code\nb\n")

    assert len(files.requests()) == 1


def test_a_bucket_that_lets_nobody_delete_is_not_filled_with_copies(watch: Start, bucket: str, query: Query) -> None:
    name = bucket.removeprefix("s3://")
    denied = {"Effect": "Deny", "Principal": "*", "Action": "s3:DeleteObject", "Resource": f"arn:aws:s3:::{name}/*"}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [denied]})
    fsspec.filesystem("s3").call_s3("put_bucket_policy", Bucket=name, Policy=policy)
    place = Place(f"{bucket}/incoming")
    place.put("shops.csv", "code\na\n")
    files = watch(ShopsProcessor, place.url)
    [request] = files.requests()
    assert files.run(request).success

    told = [files.reason() for _ in range(4)]

    assert all("shops.csv was imported, and stays where it is, for it cannot be moved" in reason for reason in told)
    assert len(place.names()) == 3  # itself, and a copy under each of the two names that it can get
    assert query("SELECT count(*) FROM reliable_imports.import_batches") == [(1,)]


def test_a_file_that_has_been_replaced_since_is_not_put_aside_unread(place: Place) -> None:
    arrivals = Arrivals(place.url, "*", SourceOptions())
    place.put("shops.csv", "code\na\n")
    [file] = arrivals.listed()
    place.put("shops.csv", "code\na\nb\n")

    assert "has been delivered anew since" in arrivals.put_aside(file, "imported", "move")[0]
    assert place.names() == ["shops.csv"]


def test_a_file_that_was_rewritten_with_as_many_bytes_is_not_put_aside_unread(tmp_path: Path) -> None:
    arrivals = Arrivals(tmp_path, "*", SourceOptions())
    path = tmp_path / "shops.csv"
    path.write_text("code\na\n")
    [file] = arrivals.listed()
    os.utime(path, ns=(0, 0))

    assert "has been delivered anew since" in arrivals.put_aside(file, "imported", "move")[0]


@pytest.mark.parametrize("afterwards", ["move", "rename"])
def test_a_writer_that_goes_on_after_its_file_was_put_aside_is_told_once(
    watch: Start, tmp_path: Path, manager: BatchManager, afterwards: str
) -> None:
    writer = (tmp_path / "shops.csv").open("w")
    writer.write("code\na\n")
    writer.flush()
    (tmp_path / "other.csv").write_text("code\nx\n")
    files = watch(ShopsProcessor, tmp_path, afterwards=afterwards)
    for request in files.requests():
        assert files.run(request).success
    assert "was imported" in files.reason()
    assert "no file is in" in files.reason()

    writer.write("b\n")
    writer.close()

    assert "was written to after it was put aside, and batch" in files.reason()
    assert "no file is in" in files.reason()
    [(batch_id, warnings)] = [(each.batch_id, each.warnings) for each in manager.list_batches() if each.warnings]
    assert manager.get_batch(batch_id).source == str(tmp_path / "shops.csv")
    assert "move it back to where files arrive to import it whole" in warnings[0]
    assert len([entry for entry in manager.list_logs(batch_id) if entry.level == "warning"]) == 1


def test_a_file_that_was_taken_away_from_where_it_was_put_is_of_no_interest(watch: Start, tmp_path: Path) -> None:
    (tmp_path / "shops.csv").write_text("code\na\n")
    files = watch(ShopsProcessor, tmp_path)
    for request in files.requests():
        assert files.run(request).success
    assert "was imported" in files.reason()
    (tmp_path / "imported" / "shops.csv").unlink()

    assert "no file is in" in files.reason()


def test_unchanged_files_of_a_processor_that_skips_them_are_put_aside_too(
    watch: Start, tmp_path: Path, query: Query
) -> None:
    files = watch(SteadyProcessor, tmp_path)
    for name in ("monday.csv", "tuesday.csv"):
        (tmp_path / name).write_text("code\na\n")
        [request] = files.requests()
        assert files.run(request).success
        assert f"{name} was imported" in files.reason()
    assert query("SELECT count(*) FROM reliable_imports.import_batches") == [(1,)]


def test_what_another_job_did_with_a_file_is_not_counted(watch: Start, tmp_path: Path) -> None:
    (tmp_path / "shops.csv").write_text("code\na\n")
    shops, branches = (
        watch(processor, tmp_path, afterwards="keep") for processor in (ShopsProcessor, BranchesProcessor)
    )
    [request] = shops.requests()
    for _ in range(MAX_IDLE_RUNS):
        shops.crash(request)
    assert f"{MAX_IDLE_RUNS} runs ended without touching an item" in shops.reason()

    assert len(branches.requests()) == 1


def test_a_key_that_another_file_was_imported_under_is_told(
    watch: Start, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "shops.csv").write_text("code\na\n")
    files = watch(ShopsProcessor, tmp_path)
    [request] = files.requests()
    files.run(request)
    assert "was not read" not in capfd.readouterr().err
    request.run_config["ops"]["shops"]["config"]["path"] = str(tmp_path / "others.csv")

    files.run(request)

    assert f"others.csv was not read: the idempotency_key is that of batch 1, which holds {tmp_path}/shops.csv" in (
        capfd.readouterr().err
    )


def test_sensors_of_two_folders_go_with_the_definitions_of_the_processor(tmp_path: Path) -> None:
    sensors = [
        build_file_sensor(ShopsProcessor, tmp_path / "one"),
        build_file_sensor(ShopsProcessor, tmp_path / "two", name="import_shops_from_two"),
    ]

    dg.Definitions.validate_loadable(dg.Definitions.merge(DEFS, dg.Definitions(sensors=sensors)))


def test_a_file_that_is_out_of_reach_is_not_refused(
    manager: BatchManager, instance: dg.DagsterInstance, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = Place(f"{bucket}/incoming")
    place.put("shops.csv", "code\na\n")
    files = Daemon(build_file_sensor(ShopsProcessor, place.url, settled_after=NOW), instance, DEFS)
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


def test_a_run_that_was_given_another_path_says_nothing_of_the_file(
    daemon: Start, place: Place, tmp_path: Path
) -> None:
    place.put("shops.csv", "code\na\n")
    files = daemon()
    [request] = files.requests()
    other = tmp_path / "elsewhere" / "other.json"
    other.parent.mkdir()
    other.write_text("[{")
    config = {"ops": {"shops": {"config": {"path": str(other), "idempotency_key": "another"}}}}
    assert not files.run(dg.RunRequest(job_name=request.job_name, run_config=config, tags=request.tags)).success

    [request] = files.requests()
    assert files.run(request).success
    assert "shops.csv was imported" in files.reason()


def test_a_processor_with_partitions_is_refused() -> None:
    class DailyProcessor(ShopsProcessor):
        partitions = "daily from 2024-01-01"

    with pytest.raises(ConfigurationError, match="has partitions"):
        build_file_sensor(DailyProcessor, "incoming")
