"""Several workers on one batch by Celery: a real broker, and workers that are processes of their own."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import redis
import yaml

from example_repo.deploy.parallel import executor_config
from reliable_imports.embedded.account import find_account
from tests.dagster import parallel_project
from tests.dagster.conftest import Query, jsonl, tags_of
from tests.running import free_port, until

ROOT = Path(__file__).parents[3]
WRITTEN = "SELECT count(*), count(DISTINCT id) FROM writes"


@pytest.fixture(scope="module")
def broker() -> Iterator[str]:
    """The URL of a Redis that keeps nothing, on loopback."""
    program = shutil.which("redis-server")
    assert program is not None, "this test needs Redis: apt-get install redis-server"
    port = free_port()
    account = find_account()  # not root
    command = [program, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", "/"]
    with subprocess.Popen(
        [*account.prefix, *command],
        user=account.uid,
        group=account.gid,
        extra_groups=None if account.uid is None else [],
        stdout=subprocess.DEVNULL,
    ) as server:
        try:
            with closing(redis.Redis(port=port)) as client:
                until(lambda: _answers(client))
            yield f"redis://127.0.0.1:{port}"
        finally:
            server.kill()


def _answers(client: redis.Redis) -> bool | None:
    try:
        return bool(client.ping())
    except redis.ConnectionError:
        return None


@pytest.fixture
def config(broker: str, dsn: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What is shipped for the executor, but that workers look each second for tasks that the broker has given up."""
    monkeypatch.setenv("IMPORTS_CELERY_BROKER", f"{broker}/0")
    monkeypatch.setenv("IMPORTS_CELERY_BACKEND", f"{broker}/1")
    config = executor_config("celery")
    config["config_source"]["broker_transport_options"] |= {"unacked_restore_interval": 1}
    return config


@contextmanager
def _workers(count: int, config: dict[str, Any], folder: Path) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Celery's workers, each in a process group of its own, as a machine of its own would be."""
    (folder / "celery.yaml").write_text(yaml.safe_dump({"execution": {"config": config}}))
    programs = Path(sys.executable).parent
    command = [programs / "dagster-celery", "worker", "start", "-A", "dagster_celery.app"]
    with ExitStack() as stack:
        started = []
        for number in range(1, count + 1):
            log = stack.enter_context((folder / f"worker-{number}.log").open("wb"))
            process = subprocess.Popen(
                [*command, "-y", folder / "celery.yaml", "-n", f"worker-{number}", "--", "--concurrency", "1"],
                cwd=ROOT,
                env={**os.environ, "PATH": f"{programs}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT)},
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            stack.callback(_end, process)
            started.append(process)
        for number in range(1, count + 1):
            until(lambda log=folder / f"worker-{number}.log": True if " ready." in log.read_text() else None)
        yield started


def _end(worker: subprocess.Popen[bytes]) -> None:
    if worker.poll() is None:
        os.killpg(worker.pid, signal.SIGKILL)
    worker.wait()


@contextmanager
def _as_if_an_hour_passed(broker: str, is_over: Callable[[], bool]) -> Iterator[None]:
    """Beside the block: once the batch is over, the broker gives up the worker that it has heard nothing of since."""
    has_ended = threading.Event()

    def give_up() -> None:
        with closing(redis.Redis.from_url(f"{broker}/0")) as client:
            while not has_ended.wait(0.2):
                if is_over() and client.zcard("unacked_index") == 1:  # the others' tasks are done
                    client.zincrby("unacked_index", -3600, *client.zrange("unacked_index", 0, 0))
                    return

    thread = threading.Thread(target=give_up)
    thread.start()
    try:
        yield
    finally:
        has_ended.set()
        thread.join()


def _run(instance: dg.DagsterInstance, config: dict[str, Any], path: Path) -> dg.JobExecutionResult:
    run_config = {"ops": {"accept": {"config": {"path": str(path)}}}, "execution": {"config": config}}
    with dg.execute_job(dg.reconstructable(parallel_project.on_celery), instance, run_config=run_config) as result:
        return result


# dagster-celery makes its task anew for every step.
@pytest.mark.filterwarnings(r"ignore:\s*Task name 'execute_plan' is already registered")
@pytest.mark.parametrize("everything", [False, True], ids=["its process", "its machine"])
def test_a_celery_worker_that_is_killed_costs_nothing(
    instance: dg.DagsterInstance,
    broker: str,
    config: dict[str, Any],
    query: Query,
    tmp_path: Path,
    everything: bool,
) -> None:
    def is_over() -> bool:
        return query("SELECT count(*) FROM reliable_imports.import_batches WHERE finished_at IS NOT NULL") == [(1,)]

    items: list[dict[str, Any]] = [{"seconds": 0.02} for _ in range(150)]
    items[20] |= {"die": str(tmp_path / "died"), "with its group": everything}

    nobody_notices = _as_if_an_hour_passed(broker, is_over) if everything else nullcontext()
    with _workers(2, config, tmp_path) as workers, nobody_notices:
        result = _run(instance, config, jsonl(tmp_path, items))
        alive = [worker.poll() is None for worker in workers]

    assert (tmp_path / "died").exists()
    assert alive.count(False) == everything
    assert query("SELECT status, completed_items FROM reliable_imports.import_batches") == [("completed", 150)]
    assert query(WRITTEN) == [(150, 150)]
    # One run of the batch ended without a word; the other worker did its items. Celery then gave the dead worker's step
    # to one that lived, which found the batch ended: so to Dagster, nothing has failed.
    assert query("SELECT count(*) FROM reliable_imports.import_runs WHERE ended_at IS NULL") == [(1,)]
    executed = [entry.message for entry in instance.all_logs(result.run_id) if "in celery worker" in entry.message]
    assert len(executed) > len(["accept", "worker_1", "worker_2"])
    assert result.success
    assert len(instance.fetch_materializations(dg.AssetKey("shared"), limit=2).records) == 1
    assert tags_of(instance, result.run_id)["outcome"] == "completed"
