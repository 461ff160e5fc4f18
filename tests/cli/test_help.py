from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from example_repo.demo import demo
from reliable_imports.cli.main import cli
from tests.cli.conftest import Run


def _commands(command: click.Command, path: str) -> Iterator[tuple[str, click.Command]]:
    yield path, command
    if isinstance(command, click.Group):
        for name, sub in command.commands.items():
            yield from _commands(sub, f"{path} {name}")


COMMANDS = dict([*_commands(cli, "reliable-imports"), ("reliable-imports demo", demo)])


@pytest.fixture
def added_commands(tmp_path: Path) -> Path:
    """A folder for PYTHONPATH with an installed package that adds commands."""
    folder = tmp_path / "installed"
    metadata = folder / "greetings-1.0.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: greetings\nVersion: 1.0\n"
        "Requires-Dist: click\nProvides-Extra: warm\nProvides-Extra: cold\n"
        "Requires-Dist: click>=8; extra == 'warm'\nRequires-Dist: no-such-scarf>=1; extra == 'cold'\n"
    )
    (metadata / "entry_points.txt").write_text(
        "[reliable_imports.commands]\n"
        "hello = greetings:hello\nstatus = greetings:hello\n"
        "broken = greetings_broken:hello\nwrong = greetings:NAME\n"
        "warm = greetings:hello [warm]\ncold = greetings_broken:hello [warm,cold]\n"
    )
    (folder / "greetings.py").write_text(
        "import os\nimport click\nNAME = 'x'\n"
        "@click.command()\ndef hello():\n    print('hello', os.environ.get('RELIABLE_IMPORTS_DSN'))\n"
    )
    (folder / "greetings_broken.py").write_text("1 / 0\n")
    return folder


@pytest.mark.parametrize("path", COMMANDS)
def test_every_command_and_option_has_help(path: str) -> None:
    command = COMMANDS[path]
    assert command.help
    assert command.short_help or command is cli
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert parameter.help, parameter.name
        else:
            assert parameter.make_metavar(click.Context(command)).strip("[]") in command.help or path.endswith("create")


def test_every_command_is_there() -> None:
    own = {"db", "migrate", "processors", "create", "process", "import", "status", "batches", "failures", "reprocess"}
    assert own | {"logs", "pause", "cancel", "verify", "erase", "purge", "report", "init", "new", "check"} == set(
        cli.commands
    )
    db = cli.commands["db"]
    assert isinstance(db, click.Group)
    assert set(db.commands) == {"start", "stop", "status", "url"}


def test_help_is_an_answer_and_loads_no_added_command(run_without_database: Run, added_commands: Path) -> None:
    path = f"{Path(__file__).parents[2]}:{added_commands}"
    answer = run_without_database("--help", PYTHONPATH=path)
    assert (answer.status, answer.err) == (0, "")
    assert "hello       From greetings." in answer.out
    assert "broken      From greetings." in answer.out
    assert "status      Show where a batch stands." in answer.out


def test_an_added_command_gets_the_groups_options_as_variables(run_without_database: Run, added_commands: Path) -> None:
    path = f"{Path(__file__).parents[2]}:{added_commands}"
    answer = run_without_database("--dsn", "postgresql://given", "hello", PYTHONPATH=path)
    assert (answer.status, answer.out) == (0, "hello postgresql://given\n")


def test_an_added_command_that_cannot_be_loaded_is_told(run_without_database: Run, added_commands: Path) -> None:
    path = f"{Path(__file__).parents[2]}:{added_commands}"
    broken = run_without_database("broken", PYTHONPATH=path)
    assert broken.status == 2
    assert "command 'broken' of greetings cannot be loaded: ZeroDivisionError" in broken.err
    wrong = run_without_database("wrong", PYTHONPATH=path)
    assert wrong.status == 2
    assert "is no click command" in wrong.err


def test_a_command_whose_extra_is_missing_says_what_to_install(run_without_database: Run, added_commands: Path) -> None:
    path = f"{Path(__file__).parents[2]}:{added_commands}"
    assert run_without_database("warm", PYTHONPATH=path).out == "hello None\n"

    to_do = "cold needs no-such-scarf, not installed here: pip install 'greetings[warm,cold]'"
    refused = run_without_database("cold", "--style", "knitted", PYTHONPATH=path)
    assert (refused.status, refused.out) == (2, "")
    assert to_do in refused.err
    asked = run_without_database("cold", "--help", PYTHONPATH=path)
    assert (asked.status, asked.err) == (0, "")
    assert to_do in " ".join(asked.out.split())


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("reliable-imports st", ["plain,status"]),
        ("reliable-imports de", ["plain,demo", "plain,dev"]),
        ("reliable-imports brok", ["plain,broken"]),
        ("reliable-imports db s", ["plain,start", "plain,status", "plain,stop"]),
        ("reliable-imports reprocess --can", ["plain,--canary"]),
    ],
)
def test_a_shell_completes_commands_and_options_and_loads_no_added_command(
    run_without_database: Run, added_commands: Path, typed: str, offered: list[str]
) -> None:
    answer = run_without_database(
        PYTHONPATH=f"{Path(__file__).parents[2]}:{added_commands}",
        _RELIABLE_IMPORTS_COMPLETE="bash_complete",
        COMP_WORDS=typed,
        COMP_CWORD=str(len(typed.split()) - 1),
    )
    assert (answer.status, answer.out.splitlines()) == (0, offered)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_help_says_how_a_shell_learns_to_complete(run_without_database: Run, shell: str) -> None:
    assert f"{shell}_source" in run_without_database("--help").out
    source = run_without_database(_RELIABLE_IMPORTS_COMPLETE=f"{shell}_source")
    assert source.status == 0
    assert f"_RELIABLE_IMPORTS_COMPLETE={shell}_complete" in source.out


def test_help_and_errors_do_not_import_dagster(run_without_database: Run, project: Path) -> None:
    (project / "probe.py").write_text(
        "import sys\n"
        "from reliable_imports.cli.main import run\n"
        "run(['--help'])\nrun(['status', 'x'])\n"
        "sys.exit('dagster' in sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, project / "probe.py"],
        env={"PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
    )
    assert done.returncode == 0, done.stderr


def test_the_version_is_told(run_without_database: Run) -> None:
    answer = run_without_database("--version")
    assert answer.status == 0
    assert answer.out.startswith("reliable-imports ")
