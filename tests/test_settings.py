from __future__ import annotations

import subprocess
import sys
from dataclasses import FrozenInstanceError
from pathlib import Path

import psycopg2
import pytest

from reliable_imports.embedded import EmbeddedPostgres
from reliable_imports.errors import ConfigurationError, InvalidDsn
from reliable_imports.settings import Settings, resolve_dsn


def test_nothing_set_means_the_embedded_server_in_the_usual_place(tmp_path: Path) -> None:
    settings = Settings.from_environment({"HOME": "/home/ann"}, tmp_path)
    usual = {"darwin": "/home/ann/Library/Application Support/reliable-imports"}
    assert settings.dsn is None
    assert settings.home == Path(usual.get(sys.platform, "/home/ann/.local/share/reliable-imports"))
    assert settings.processors == ()


def test_the_folder_for_user_data_is_honoured_if_it_is_absolute(tmp_path: Path) -> None:
    moved = Settings.from_environment({"HOME": "/home/ann", "XDG_DATA_HOME": "/data/ann"}, tmp_path)
    assert moved.home == Path("/data/ann/reliable-imports")
    relative = Settings.from_environment({"HOME": "/home/ann", "XDG_DATA_HOME": "data"}, tmp_path)
    assert relative.home == Settings.from_environment({"HOME": "/home/ann"}, tmp_path).home


def test_a_given_home_is_taken_from_where_the_caller_stands(tmp_path: Path) -> None:
    for given, meant in (("/srv/ri", Path("/srv/ri")), ("ri", tmp_path / "ri"), ("~/ri", Path("/home/ann/ri"))):
        environ = {"HOME": "/home/ann", "RELIABLE_IMPORTS_HOME": given, "XDG_DATA_HOME": "/data"}
        assert Settings.from_environment(environ, tmp_path).home == meant


def test_an_empty_variable_is_as_none(tmp_path: Path) -> None:
    empty = {"HOME": "/home/ann", "RELIABLE_IMPORTS_DSN": " ", "RELIABLE_IMPORTS_HOME": "", "XDG_DATA_HOME": ""}
    assert Settings.from_environment(empty, tmp_path) == Settings.from_environment({"HOME": "/home/ann"}, tmp_path)


def test_settings_can_be_read_without_a_home(tmp_path: Path) -> None:
    assert Settings.from_environment({"RELIABLE_IMPORTS_DSN": "postgresql://h/d\n"}, tmp_path).dsn == "postgresql://h/d"


def test_a_password_is_not_in_the_repr(tmp_path: Path) -> None:
    settings = Settings.from_environment({"RELIABLE_IMPORTS_DSN": "postgresql://u:hunter22@h/d"}, tmp_path)
    assert "hunter22" not in repr(settings)


def test_settings_do_not_change(tmp_path: Path) -> None:
    with pytest.raises(FrozenInstanceError):
        Settings.from_environment({}, tmp_path).dsn = "postgresql://h/d"  # type: ignore[misc]


def test_processors_come_from_the_nearest_project(tmp_path: Path) -> None:
    _project(tmp_path, 'processors = ["outer"]')
    inner = _project(tmp_path / "team", 'processors = ["team.imports", "team.more"]')
    below = inner / "a" / "b"
    below.mkdir(parents=True)
    settings = Settings.from_environment({}, below)
    assert settings.processors == ("team.imports", "team.more")
    assert settings.project == inner


def test_a_project_without_the_table_names_none(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("[project]\nname = 'x'\n")
    assert Settings.from_environment({}, tmp_path).processors == ()


def test_the_variable_goes_before_the_project(tmp_path: Path) -> None:
    _project(tmp_path, 'processors = ["outer"]')
    environ = {"RELIABLE_IMPORTS_PROCESSORS": " a.b , c,"}
    assert Settings.from_environment(environ, tmp_path).processors == ("a.b", "c")


@pytest.mark.parametrize("line", ['processors = "one"', "processors = [1]", 'processors = [" "]', "processors = [", ""])
def test_a_wrong_project_file_is_named(tmp_path: Path, line: str) -> None:
    project = _project(tmp_path, line)
    if not line:
        (project / "pyproject.toml").write_text("tool = 3\n")
    with pytest.raises(ConfigurationError, match=r"pyproject\.toml"):
        Settings.from_environment({}, project)


def test_an_explicit_dsn_goes_before_all(tmp_path: Path) -> None:
    settings = Settings(dsn="postgresql://settings/d", home=tmp_path)
    assert resolve_dsn("postgresql://explicit/d", settings) == "postgresql://explicit/d"
    assert resolve_dsn(None, settings) == "postgresql://settings/d"


def test_the_environment_is_asked_if_no_settings_are_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RELIABLE_IMPORTS_DSN", "postgresql://environment/d")
    assert resolve_dsn() == "postgresql://environment/d"


@pytest.mark.parametrize("dsn", ["", "postgresql://u:p@ss@h/d"])
def test_a_dsn_that_cannot_be_read_is_refused_before_it_is_used(dsn: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidDsn):
        resolve_dsn(dsn, Settings(dsn=None, home=tmp_path))


def test_without_a_dsn_the_embedded_server_is_started(servers_folder: Path) -> None:
    home = servers_folder / "resolved"
    dsn = resolve_dsn(None, Settings(dsn=None, home=home))
    connection = psycopg2.connect(dsn)
    assert connection.info.dbname == "reliable_imports"
    connection.close()
    assert resolve_dsn(None, Settings(dsn=None, home=home)) == dsn
    EmbeddedPostgres(home).stop()


def test_a_given_dsn_loads_nothing_of_the_embedded_server() -> None:
    code = (
        "import sys; from reliable_imports.settings import resolve_dsn; resolve_dsn('postgresql://h/d'); "
        "sys.exit(any(name.startswith('reliable_imports.embedded') for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def _project(folder: Path, line: str) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "pyproject.toml").write_text(f"[tool.reliable_imports]\n{line}\n")
    return folder
