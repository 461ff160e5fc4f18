"""The command `reliable-imports dev`: Dagster's UI and daemon on the product's own database."""

import importlib.util
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import click

from reliable_imports.settings import Settings, resolve_dsn
from reliable_imports_dagster.storage import dagster_environment, prepare_dagster_home

_EXAMPLE = "example_repo.definitions"
_PROJECT = "reliable_imports_dagster.dev.project"
_COULD_NOT = 3
_WIND_DOWN_SECONDS = 60.0
_POLL_SECONDS = 0.1


@click.command()
@click.option("--port", "-p", type=click.IntRange(1, 65535), default=3000, show_default=True, help="Port of the UI.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address that the UI listens on.")
@click.option(
    "--module",
    "-m",
    metavar="MODULE",
    help="Module with the Dagster definitions; else what pyproject.toml or workspace.yaml in this folder names for "
    "Dagster, else all processors of the project.",
)
def dev(port: int, host: str, module: str | None) -> None:
    """Start Dagster's UI and daemon, with their storage in the same PostgreSQL.

    A project without definitions for Dagster needs none: its processors are those that `reliable-imports processors`
    lists. Where there are no processors either, the example is shown.

    Without RELIABLE_IMPORTS_DSN the embedded PostgreSQL is started; it runs on afterwards. Ctrl-C ends Dagster and all
    that it has started; runs that are at work are stopped, and can be resumed. Exit status: 0 after Ctrl-C, 2 wrong
    use, 3 if Dagster could not start or ended by itself.
    """
    _require_free(host, port)
    settings = Settings.from_environment()
    target = _target(module, Path.cwd(), settings)
    dsn = resolve_dsn(settings=settings)
    home = prepare_dagster_home(dsn, settings)
    click.echo(f"Dagster UI: http://{host}:{port} (in about ten seconds; Ctrl-C ends it)")
    click.echo(f"DAGSTER_HOME={home}")
    command = [sys.executable, "-m", "dagster", "dev", "--host", host, "--port", str(port), *target]
    is_stopped, status = _run(command, {**os.environ, **dagster_environment(dsn, home)})
    if settings.dsn is None:
        click.echo("Dagster is down; PostgreSQL runs on: `reliable-imports db stop` stops it")
    if not is_stopped:
        click.echo(f"error: dagster dev ended by itself with status {status}; its last lines say why", err=True)
        raise SystemExit(_COULD_NOT)


def _require_free(host: str, port: int) -> None:
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise click.UsageError(f"cannot listen on {host}:{port}: {error.strerror}; choose another --port") from None


def _target(module: str | None, folder: Path, settings: Settings) -> Sequence[str]:
    """The arguments that tell `dagster dev` what to load; none where it finds that in *folder* by itself."""
    if module is not None:
        return ["-m", module]
    if (folder / "workspace.yaml").is_file() or _names_definitions(folder / "pyproject.toml"):
        return []
    if settings.processors:
        click.echo(f"no definitions in this folder, so these are the processors in {', '.join(settings.processors)}")
        return ["-m", _PROJECT, "-d", str(settings.project or folder)]
    if importlib.util.find_spec("example_repo") is None:
        raise click.UsageError(
            "there is nothing to load: this folder has no workspace.yaml, and its pyproject.toml neither module_name "
            "in [tool.dagster] nor processors in [tool.reliable_imports]; name a module with -m"
        )
    click.echo(f"no definitions and no processors in this folder, so this is the example: -m {_EXAMPLE}")
    return ["-m", _EXAMPLE]


def _names_definitions(pyproject: Path) -> bool:
    if not pyproject.is_file():
        return False
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    try:
        tool: Any = tomllib.loads(pyproject.read_text(encoding="utf-8")).get("tool", {})
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise click.UsageError(f"{pyproject} cannot be read: {error}") from error
    return bool(tool.get("dagster"))


def _run(command: Sequence[str], environment: dict[str, str]) -> tuple[bool, int]:
    """Run *command* until it ends or this process is told to; return whether it was told, and the exit status."""
    with _signals_kept() as received:
        child = subprocess.Popen(
            command,
            env=environment,
            # In a session of its own, so that Ctrl-C reaches Dagster once, through us, and nothing of it stays behind.
            start_new_session=True,
            # A shell starts what it puts into the background with SIGINT ignored, and Dagster would inherit that.
            preexec_fn=_default_sigint,
        )
        answered = 0
        while (status := child.poll()) is None:
            if len(received) > answered:
                # The second time somebody is out of patience.
                _signal_group(child.pid, signal.SIGTERM) if answered else child.send_signal(signal.SIGINT)
                answered += 1
            time.sleep(_POLL_SECONDS)
        _end_group(child.pid)
        return bool(received), status


@contextmanager
def _signals_kept() -> Iterator[list[int]]:
    """Collects SIGINT and SIGTERM in a list, for the block to act on."""
    received: list[int] = []

    def keep(number: int, _: FrameType | None) -> None:
        received.append(number)

    before = {number: signal.signal(number, keep) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _default_sigint() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def _end_group(group: int) -> None:
    """Wait for what Dagster has started and not waited for, such as runs at work; end it if that takes too long."""
    _signal_group(group, signal.SIGTERM)
    deadline = time.monotonic() + _WIND_DOWN_SECONDS
    while _signal_group(group, 0) and time.monotonic() < deadline:
        time.sleep(_POLL_SECONDS)
    _signal_group(group, signal.SIGKILL)


def _signal_group(group: int, number: int) -> bool:
    try:
        os.killpg(group, number)
    except ProcessLookupError:
        return False
    return True
