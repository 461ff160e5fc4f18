"""What the environment and the project say, read once at the edge."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from reliable_imports.errors import ConfigurationError, EmbeddedServerError

__all__ = ["Settings", "resolve_dsn"]


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings of this process.

    Attributes:
        dsn: `RELIABLE_IMPORTS_DSN`; None means the embedded server. Not in the repr: it may hold a password.
        home: `RELIABLE_IMPORTS_HOME`, the embedded server's folder; by default where the system keeps user data.
        processors: packages to look for processors in: `RELIABLE_IMPORTS_PROCESSORS` (separated by commas), else
            `processors` in `[tool.reliable_imports]` of the nearest `pyproject.toml`.
        project: the folder of that `pyproject.toml`, None if there is none.
        migrate: False if `RELIABLE_IMPORTS_MIGRATE` is `no`: the command line then leaves the schema and the tables of
            `setup_sql` to the deployment.
        webserver: `RELIABLE_IMPORTS_WEBSERVER`, the address of Dagster's UI, for links to its runs.
    """

    dsn: str | None = field(repr=False)
    home: Path
    processors: tuple[str, ...] = ()
    project: Path | None = None
    migrate: bool = True
    webserver: str | None = None

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ, cwd: Path | None = None) -> Settings:
        """Read the variables, and the nearest `pyproject.toml` from *cwd* upwards. An empty variable is as none.

        Raises:
            ConfigurationError: that `pyproject.toml` cannot be read, or its `processors` is not a list of names; or
                `RELIABLE_IMPORTS_MIGRATE` is neither `yes` nor `no`; or `RELIABLE_IMPORTS_WEBSERVER` is no address.
        """
        migrate = environ.get("RELIABLE_IMPORTS_MIGRATE", "").strip() or "yes"
        if migrate not in ("yes", "no"):
            raise ConfigurationError(f"RELIABLE_IMPORTS_MIGRATE is {migrate!r}; it can be yes or no")
        webserver = environ.get("RELIABLE_IMPORTS_WEBSERVER", "").strip() or None
        if webserver is not None and not webserver.startswith(("http://", "https://")):
            raise ConfigurationError("RELIABLE_IMPORTS_WEBSERVER is no address that begins with http:// or https://")
        cwd = Path.cwd() if cwd is None else cwd
        project = _nearest_project(cwd)
        named = environ.get("RELIABLE_IMPORTS_PROCESSORS", "").strip()
        return cls(
            dsn=environ.get("RELIABLE_IMPORTS_DSN", "").strip() or None,
            home=_home(environ, cwd),
            processors=_split(named) if named else _processors_of(project),
            project=project,
            migrate=migrate == "yes",
            webserver=webserver,
        )


def resolve_dsn(explicit: str | None = None, settings: Settings | None = None) -> str:
    """The DSN to use: *explicit*, else that of the settings, else the embedded server's, which is started if need be.

    Raises:
        InvalidDsn: a DSN was given and cannot be read.
        EmbeddedServerError: none was given, and the embedded server cannot be started.
    """
    if explicit is None:
        settings = Settings.from_environment() if settings is None else settings
        explicit = settings.dsn
        if explicit is None:
            return _embedded_dsn(settings.home)
    from reliable_imports.postgres import parse_dsn  # who only reads settings does without a driver

    parse_dsn(explicit)
    return explicit


def _embedded_dsn(home: Path) -> str:
    if os.name != "posix":
        raise EmbeddedServerError("the embedded PostgreSQL runs on Linux and macOS")
    from reliable_imports.embedded import EmbeddedPostgres  # not importable where it cannot run

    return EmbeddedPostgres(home).start()


def _home(environ: Mapping[str, str], cwd: Path) -> Path:
    user = Path(environ["HOME"]) if environ.get("HOME") else _home_of_account()
    given = environ.get("RELIABLE_IMPORTS_HOME", "").strip()
    if given:
        return cwd / (user / given[2:] if given.startswith("~/") else Path(given))
    shared = environ.get("XDG_DATA_HOME", "")
    if Path(shared).is_absolute():
        return Path(shared, "reliable-imports")
    if sys.platform == "darwin":
        return user / "Library" / "Application Support" / "reliable-imports"
    return user / ".local" / "share" / "reliable-imports"


def _home_of_account() -> Path:
    try:
        return Path.home()
    except RuntimeError:  # a uid without an account; where the data at least outlives a restart
        base = Path("/var/tmp") if os.name == "posix" else Path(tempfile.gettempdir())
        return base / f"reliable-imports-{os.getuid()}" if os.name == "posix" else base


def _split(names: str) -> tuple[str, ...]:
    return tuple(name for part in names.split(",") if (name := part.strip()))


def _nearest_project(cwd: Path) -> Path | None:
    return next((folder for folder in (cwd, *cwd.parents) if (folder / "pyproject.toml").is_file()), None)


def _processors_of(project: Path | None) -> tuple[str, ...]:
    if project is None:
        return ()
    file = project / "pyproject.toml"
    table: Any = _read_toml(file)
    for key in ("tool", "reliable_imports"):
        table = table.get(key, {})
        if not isinstance(table, dict):
            raise ConfigurationError(f"{file}: [tool.reliable_imports] is not a table")
    names = table.get("processors", [])
    if not isinstance(names, list) or not all(isinstance(name, str) and name.strip() for name in names):
        raise ConfigurationError(
            f'{file}: processors in [tool.reliable_imports] is not a list of packages, such as ["myapp.processors"]'
        )
    return tuple(name.strip() for name in names)


def _read_toml(file: Path) -> dict[str, Any]:
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigurationError(f"{file} cannot be read: {error}") from error
