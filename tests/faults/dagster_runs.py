"""Dagster's runs of a batch, as processes that are cancelled or killed: from a shell, and behind the webserver."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.error
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Protocol

from tests.faults.waiting import wait_for
from tests.running import ROOT, ask, processes

PROJECT = "tests.faults.dagster_project"
# Runs are launched at once: a queue would want a daemon.
_INSTANCE = """
telemetry: {enabled: false}
run_coordinator: {module: dagster.core.run_coordinator, class: DefaultRunCoordinator}
"""
_LOADED = "{ repositoriesOrError { ... on RepositoryConnection { nodes { name } } } }"
_LAUNCH = """
mutation ($selector: JobOrPipelineSelector!, $config: RunConfigData!) {
  launchRun(executionParams: {selector: $selector, runConfigData: $config}) {
    __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message }
  }
}
"""
_TERMINATE = "mutation ($id: String!) { terminateRun(runId: $id) { __typename ... on PythonError { message } } }"
_STATUS = "query ($id: ID!) { runOrError(runId: $id) { ... on Run { status } } }"
_ENDED = ("SUCCESS", "FAILURE", "CANCELED")


class DagsterRun(Protocol):
    """One run of a batch's job."""

    @property
    def is_over(self) -> bool: ...

    def kill(self) -> None:
        """End the process that works, without warning."""

    def cancel(self) -> None:
        """Ask it to stop, as a person would, and wait until it has."""


class Shell:
    """`dagster job execute`: killed by SIGKILL, cancelled by Ctrl-C."""

    def __init__(self, dsn: str, home: Path) -> None:
        self._environment = _environment(dsn, home)
        self._home = home
        self._started: list[subprocess.Popen[bytes]] = []

    def launch(self, batch_type: str, batch_id: int) -> DagsterRun:
        config = self._home / f"{batch_id}.json"
        config.write_text(json.dumps(_config(batch_type, batch_id)))
        command = [sys.executable, "-m", "dagster", "job", "execute", "-m", PROJECT, "-j", f"import_{batch_type}"]
        with (self._home / "output").open("ab") as output:
            process = subprocess.Popen(
                [*command, "-c", config], cwd=ROOT, env=self._environment, stdout=output, stderr=subprocess.STDOUT
            )
        self._started.append(process)
        return _ShellRun(process)

    def close(self) -> None:
        for process in self._started:
            process.kill()
            process.wait()


class _ShellRun:
    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process

    @property
    def is_over(self) -> bool:
        return self._process.poll() is not None

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()

    def cancel(self) -> None:
        self._process.send_signal(signal.SIGINT)
        wait_for(lambda: self.is_over, "the command has ended")


class Webserver:
    """Runs that Dagster's webserver launches: killed by SIGKILL of their worker, cancelled as its UI does."""

    def __init__(self, dsn: str, home: Path, sql: Callable[..., list[tuple[Any, ...]]]) -> None:
        self._sql = sql
        environment = _environment(dsn, home)
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self._port = int(probe.getsockname()[1])
        command = [sys.executable, "-m", "dagster_webserver", "-m", PROJECT, "-h", "127.0.0.1", "-p", str(self._port)]
        with (home / "output").open("ab") as output:
            self._process = subprocess.Popen(
                command,
                cwd=ROOT,
                env=environment,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # by which all that it starts is found again
            )
        wait_for(lambda: self._has_loaded() or self._process.poll() is not None, "the webserver answers")

    def launch(self, batch_type: str, batch_id: int) -> DagsterRun:
        selector = {
            "repositoryLocationName": PROJECT,
            "repositoryName": "__repository__",
            "jobName": f"import_{batch_type}",
        }
        launched = ask(self._port, _LAUNCH, selector=selector, config=_config(batch_type, batch_id))["launchRun"]
        assert launched["__typename"] == "LaunchRunSuccess", launched
        return _WebserverRun(self._port, launched["run"]["runId"], self._sql)

    def close(self) -> None:
        self._process.terminate()
        self._process.wait(120)
        for left in processes("sid", self._process.pid):
            os.kill(left, signal.SIGKILL)

    def _has_loaded(self) -> bool:
        try:
            return bool(ask(self._port, _LOADED)["repositoriesOrError"]["nodes"])
        except (urllib.error.URLError, ConnectionError):
            return False


class _WebserverRun:
    def __init__(self, port: int, run_id: str, sql: Callable[..., list[tuple[Any, ...]]]) -> None:
        self._port = port
        self._run_id = run_id
        self._sql = sql

    @property
    def is_over(self) -> bool:
        return str(ask(self._port, _STATUS, id=self._run_id)["runOrError"]["status"]) in _ENDED

    def kill(self) -> None:
        found = self._sql("SELECT process_id FROM reliable_imports.import_runs WHERE dagster_run_id = %s", self._run_id)
        with suppress(ProcessLookupError):  # it has just come to its end
            os.kill(found[0][0], signal.SIGKILL)

    def cancel(self) -> None:
        asked = ask(self._port, _TERMINATE, id=self._run_id)["terminateRun"]
        assert asked["__typename"] in ("TerminateRunSuccess", "TerminateRunFailure"), asked  # it may have ended
        wait_for(lambda: self.is_over, "the run has ended")


def _environment(dsn: str, home: Path) -> dict[str, str]:
    home.mkdir(exist_ok=True)
    (home / "dagster.yaml").write_text(_INSTANCE)
    return {**os.environ, "DAGSTER_HOME": str(home), "RELIABLE_IMPORTS_DSN": dsn}


def _config(batch_type: str, batch_id: int) -> dict[str, Any]:
    return {"ops": {batch_type: {"config": {"batch_id": batch_id}}}}


Launcher = Shell | Webserver


@contextmanager
def launcher(way: str, dsn: str, home: Path, sql: Callable[..., list[tuple[Any, ...]]]) -> Iterator[Launcher]:
    """What launches runs; nothing that it started outlives the block."""
    made = Shell(dsn, home) if way == "job execute" else Webserver(dsn, home, sql)
    try:
        yield made
    finally:
        made.close()
