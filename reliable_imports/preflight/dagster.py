"""Dagster's settings and storage, without Dagster."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from reliable_imports.postgres.connect import Connection
from reliable_imports.postgres.queries import load
from reliable_imports.preflight.finding import Finding, fine, problem, warning
from reliable_imports.preflight.questions import ask

_PREFLIGHT = load("preflight.sql")

_PLAIN_URL = re.compile(r"postgres(ql)?://")
_SILENT_SECONDS = 300.0


def check_settings(environ: Mapping[str, str] = os.environ) -> Iterator[Finding]:
    """The folder DAGSTER_HOME, and the trap in its URL."""
    home = environ.get("DAGSTER_HOME", "").strip()
    if not home:
        return
    file = Path(home, "dagster.yaml")
    if not Path(home).is_dir():
        yield problem("Dagster", f"there is no folder {home}, which DAGSTER_HOME names", "make it, or name another")
    elif file.is_file() and _PLAIN_URL.search(_uncommented(file)) and _needs_driver():
        yield problem(
            "Dagster",
            f"{file} has a URL postgresql://, which SQLAlchemy {version('sqlalchemy')} takes for another driver's",
            "write postgresql+psycopg2://; dagster_postgres_url of reliable_imports_dagster does so",
        )


def _uncommented(file: Path) -> str:
    return "\n".join(line.partition("#")[0] for line in file.read_text(encoding="utf-8", errors="replace").splitlines())


def _needs_driver() -> bool:
    try:
        major, minor = version("sqlalchemy").split(".")[:2]
    except (PackageNotFoundError, ValueError):
        return False
    return (int(major), int(minor)) >= (2, 1)


def check_storage(connection: Connection) -> Iterator[Finding]:
    """Sensors that are off, and a daemon that is down, where Dagster's storage is in the same database."""
    [(has_instigators, has_heartbeats)] = ask(connection, _PREFLIGHT["has_dagster"])
    if not (has_instigators and has_heartbeats):
        return
    stopped = sorted(filter(None, (_name(body) for (body,) in ask(connection, _PREFLIGHT["stopped_sensors"]))))
    [(silence,)] = ask(connection, _PREFLIGHT["daemon_silence"])
    if stopped:
        yield warning("Dagster", f"sensors are off: {', '.join(stopped)}", "switch them on in the UI, under Automation")
    if silence is None or silence > _SILENT_SECONDS:
        since = "never ran" if silence is None else f"was last heard of {silence / 60:,.0f} min ago"
        yield warning(
            "Dagster",
            f"its sensor daemon {since}; sensors and schedules rest",
            "start `dagster-daemon run`, or `reliable-imports dev`",
        )
    elif not stopped:
        yield fine("Dagster", "its daemon runs, and no sensor was switched off")


def _name(body: str) -> str | None:
    try:
        found = json.loads(body)["origin"]["instigator_name"]
    except (ValueError, KeyError, TypeError):
        return None
    return str(found)
