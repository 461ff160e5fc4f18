"""Dagster's own storage in the database that the batches are in, in a schema of its own."""

import os
import re
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path

import dagster as dg
import psycopg2
from psycopg2 import sql
from sqlalchemy.engine import URL

from reliable_imports.postgres import parse_dsn
from reliable_imports.settings import Settings

SCHEMA = "dagster"
URL_VARIABLE = "RELIABLE_IMPORTS_DAGSTER_URL"
_PLAIN_HOST = re.compile(r"[A-Za-z0-9._-]+|[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*")
_PLAIN_SCHEMA = re.compile(r"[a-z_][a-z0-9_]*")

_DAGSTER_YAML = f"""\
# Written by `reliable-imports dev` at every start; changes made here do not last.
storage:
  postgres:
    postgres_url:
      env: {URL_VARIABLE}  # not the URL itself: it holds the password

telemetry:
  enabled: false
nux:
  enabled: false

# One run of a batch at a time. PostgreSQL is the real guard: runs that meet on a batch share it.
concurrency:
  runs:
    tag_concurrency_limits:
      - key: reliable_imports/batch_id
        value:
          applyLimitPerUniqueValue: true
        limit: 1
# Whoever launches a run in the UI sits and waits for it.
run_queue:
  dequeue_interval_seconds: 1

# A run whose process dies is started again and resumes its batch; failed items are the sensor's.
run_monitoring:
  enabled: true
run_retries:
  enabled: true
  max_retries: 3
  retry_on_asset_or_op_failure: false
"""


def dagster_postgres_url(dsn: str, schema: str = SCHEMA) -> str:
    """*dsn* as Dagster's `postgres_url`, its tables in *schema*, which must exist.

    It names psycopg2: plain `postgresql://` would have SQLAlchemy 2.1 look for another driver than dagster-postgres
    works with. The schema becomes the search_path of every connection, after whatever options *dsn* has itself.

    Raises:
        InvalidDsn: *dsn* cannot be read.
    """
    values = dict(parse_dsn(dsn))
    values["options"] = f"{values.get('options', '')} -csearch_path={_as_option(schema)}".strip()
    host, port = values.get("host", ""), values.get("port", "")
    # Sockets, several hosts, and names that SQLAlchemy would not quote go after the `?`.
    is_plain = _PLAIN_HOST.fullmatch(host) is not None and (port.isdecimal() or not port)
    place = {keyword: values.pop(keyword, "") for keyword in ("host", "port")} if is_plain else {}
    return URL.create(
        "postgresql+psycopg2",
        username=values.pop("user", ""),  # SQLAlchemy drops a password that has no user
        password=values.pop("password", None),
        host=place.get("host"),
        port=int(place["port"]) if place.get("port") else None,
        database=values.pop("dbname", None),
        query=values,
    ).render_as_string(hide_password=False)


def prepare_dagster_home(dsn: str, settings: Settings | None = None) -> Path:
    """Make the schema in the database and the folder that DAGSTER_HOME is to name, and return the folder.

    The folder is within the home of the settings; `dagster_environment` has the variables that go with it. Nothing in
    it is secret, and doing it again changes nothing.
    """
    settings = settings or Settings.from_environment()
    with closing(psycopg2.connect(dsn)) as connection, connection, connection.cursor() as cursor:
        cursor.execute("SELECT pg_catalog.to_regnamespace(%s) IS NULL", [SCHEMA])
        if cursor.fetchone() == (True,):  # also IF NOT EXISTS would need the right to create one
            cursor.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(sql.Identifier(SCHEMA)))
    home = settings.home / "dagster"
    home.mkdir(parents=True, exist_ok=True)
    _replace(home / "dagster.yaml", _DAGSTER_YAML)
    return home


def dagster_environment(dsn: str, home: Path) -> Mapping[str, str]:
    """The variables under which Dagster's processes use the storage that `prepare_dagster_home` has made."""
    return {"DAGSTER_HOME": str(home), URL_VARIABLE: dagster_postgres_url(dsn)}


def _as_option(schema: str) -> str:
    """A name as the server's option `search_path` takes it."""
    if _PLAIN_SCHEMA.fullmatch(schema):
        return schema
    identifier = '"' + schema.replace('"', '""') + '"'
    # The server splits options at white space, where no backslash stands before it.
    return re.sub(r"([\s\\])", r"\\\1", identifier)


@contextmanager
def dagster_instance(dsn: str, settings: Settings | None = None) -> Iterator[dg.DagsterInstance]:
    """Dagster's instance on that storage, for runs in this process; the UI of `reliable-imports dev` shows them."""
    home = prepare_dagster_home(dsn, settings)
    variables = dagster_environment(dsn, home)
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        with dg.DagsterInstance.get() as instance:
            yield instance
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _replace(path: Path, text: str) -> None:
    """Whole or not at all: another process may be reading it."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(text)
    os.replace(name, path)
