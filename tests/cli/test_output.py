from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from reliable_imports.cli.text import duration, one_line
from tests.cli.conftest import Run

People = Callable[..., Path]
Sql = Callable[..., list[tuple[Any, ...]]]
HOSTILE = "[bold red]bell\x07\x1b[2Jcleared\u202e[/]"


@pytest.fixture
def on_terminal(run: Run, environment: dict[str, str], project: Path) -> Callable[..., str]:
    """Runs a command with a terminal as stdout and stderr, and gives what a person would see there."""

    def show(*arguments: str | Path, columns: int = 600) -> str:
        ours, theirs = pty.openpty()
        with subprocess.Popen(
            [sys.executable, "-m", "reliable_imports", *map(str, arguments)],
            cwd=project,
            env={**environment, "TERM": "xterm", "COLUMNS": str(columns)},
            stdout=theirs,
            stderr=theirs,
        ):
            os.close(theirs)
            shown = b""
            while True:
                try:
                    part = os.read(ours, 65536)
                except OSError:  # Linux says so when the last writer has gone
                    break
                if not part:
                    break
                shown += part
        os.close(ours)
        return shown.decode()

    return show


@pytest.mark.parametrize(
    "command",
    [
        ["status", "1"],
        ["batches"],
        ["failures", "1"],
        ["logs", "1"],
        ["processors"],
        ["process", "1"],
        ["reprocess", "1"],
        ["import", "--as", "people", "--again"],
        ["create", "people", "shop/people.csv", "--again"],
        ["migrate"],
        ["db", "status"],
        ["db", "url"],
    ],
    ids=" ".join,
)
def test_every_command_prints_one_json_document_and_nothing_else(run: Run, people: People, command: list[str]) -> None:
    run("import", people(good=1, unknown=1), "--as", "people")
    for arguments in ([*command, "--json"], ["--json", *command]):
        answer = run(*arguments)
        assert answer.err == ""
        assert isinstance(answer.document, dict)


def test_an_error_is_one_line_of_json_if_json_was_asked_for(run: Run) -> None:
    for arguments in (["status", "7", "--json"], ["--json", "status", "7"], ["status", "--nonsense", "--json"]):
        answer = run(*arguments)
        assert (answer.status, answer.out) == (2, "")
        [line] = answer.err.splitlines()
        assert json.loads(line)["exit_status"] == 2


def test_a_pipe_gets_no_colours_and_no_progress(run: Run, people: People) -> None:
    answer = run("import", people(good=1, unknown=1), "--as", "people", FORCE_COLOR="1")
    assert "\x1b" not in answer.out
    assert answer.err == ""


def test_a_terminal_gets_a_table_and_a_progress_bar(on_terminal: Callable[..., str], people: People) -> None:
    shown = on_terminal("import", people(good=3, unknown=1_200), "--as", "people")
    assert "storing items" in shown
    assert "1,203/1,203 items" in shown
    assert "1,200 items failed for 1 reason" in shown
    assert "──────" in shown
    assert "\t" not in shown


def test_a_terminal_sees_how_far_a_sample_is_read(
    run: Run, on_terminal: Callable[..., str], people: People, tmp_path: Path
) -> None:
    sample = people(good=2_000)
    assert "reading the sample" in on_terminal("new", "anybody", "--from", sample, "--into", tmp_path / "one")
    assert run("new", "anybody", "--from", sample, "--into", tmp_path / "two").err == ""


def test_data_cannot_command_the_terminal(run: Run, on_terminal: Callable[..., str], tmp_path: Path) -> None:
    file = tmp_path / f"{HOSTILE.replace('/', '')}.jsonl"
    file.write_text(f'{{"line": "{HOSTILE}\n', encoding="utf-8")
    imported = on_terminal("import", file, "--as", "people")
    failures = ("failures", "--reason", run("failures", "1", "--json").document["reasons"][0]["reason"])
    shown = [imported, *(on_terminal(*command) for command in (failures, ["batches"]))]
    plain = [run(*command).out for command in (failures, ["status", "1"], ["batches"], ["logs", "1"])]
    for text in shown + plain:
        assert "[bold red]bell" in text  # markup stays text
        for forbidden in ("\x07", "\x1b[2J", "\u202e"):
            assert forbidden not in text


@pytest.mark.parametrize("columns", [30, 60, 80, 120])
def test_a_narrow_terminal_shows_every_figure_whole(
    run: Run, on_terminal: Callable[..., str], people: People, sql: Sql, columns: int
) -> None:
    run("import", people(good=10_001, without_address=1_234), "--as", "people")
    sql("ALTER TABLE reliable_imports.import_batches ALTER id RESTART 123456789")
    run("create", "unstartable", people(good=5_000))
    sql("UPDATE reliable_imports.import_runs SET dagster_run_id = gen_random_uuid(), runner = 'dagster'")
    batches, status = (
        re.sub(r"\x1b\[[0-9;]*m", "", on_terminal(*command, columns=columns))
        for command in (["batches"], ["status", "1"])
    )
    for figure in ("123456789", "5,000", "10,001", "1,234", "11,235"):
        assert re.search(rf"(?<!\S){figure}(?!\S)", batches), batches
    runs = status.partition("took")[2]
    for figure in ("10,001", "1,234"):
        assert re.search(rf"(?<!\S){figure}(?!\S)", runs), runs
    if columns >= 80:  # tables, and not a list of names and values
        for line in [*batches.splitlines(), *runs.partition("next:")[0].splitlines()]:
            assert len(line) <= columns or "not shown" in line, line
        assert re.search("not shown for want of width: .*took", batches)


NOT_RAW = "bell\x07 csi\x9b2J del\x7f bidi\u202e esc\x1b[2J next\x85line"


def test_json_shows_what_a_terminal_would_obey_as_escapes(run: Run, people: People) -> None:
    run("import", people(unknown=1, complaint=NOT_RAW + " Gündüz 东京 😀"), "--as", "people")
    for command in (["failures", "1"], ["logs", "1"], ["status", "1"], ["batches"]):
        assert run(*command, "--json").out.replace("\n", "").isprintable()
    answer = run("failures", "1", "--json")
    assert answer.document["outstanding"][0]["sample_source_data"]["complaint"] == NOT_RAW + " Gündüz 东京 😀"
    assert "Gündüz 东京 😀" in answer.out


def test_errors_show_what_a_terminal_would_obey_as_escapes(run: Run, project: Path, people: People) -> None:
    (project / "shop" / "broken.py").write_text(f"raise ValueError({NOT_RAW!r})\n")
    for options in ([], ["--verbose"], ["--json", "--verbose"]):
        answer = run(*options, "processors")
        assert answer.status == 2
        assert answer.err.replace("\n", "").isprintable()
        assert "\\x1b[2J" in answer.err or "--verbose" not in options


def test_json_keeps_data_exactly(run: Run, people: People) -> None:
    run("import", people(unknown=1, complaint=HOSTILE), "--as", "people")
    [told] = run("failures", "1", "--json").document["outstanding"]
    assert told["sample_source_data"]["complaint"] == HOSTILE


def test_an_encoding_that_lacks_characters_is_no_error(run: Run, people: People) -> None:
    run("import", people(unknown=1, complaint="Gündüz 东京"), "--as", "people")
    plain = run("failures", "1", PYTHONIOENCODING="ascii")
    assert (plain.status, plain.err) == (0, "")
    [told] = run("failures", "1", "--json", PYTHONIOENCODING="ascii").document["outstanding"]
    assert told["sample_source_data"]["complaint"] == "Gündüz 东京"


def test_a_reader_that_goes_away_does_not_change_the_exit_status(
    run: Run, environment: dict[str, str], project: Path, people: People
) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-m", "reliable_imports", "import", str(people(good=1, unknown=1)), "--as", "people"],
        cwd=project,
        env=environment,
        stdout=writer,
        stderr=subprocess.PIPE,
    )
    os.close(writer)
    assert (done.returncode, done.stderr) == (1, b"")


def test_text_is_cut_and_kept_on_one_line() -> None:
    assert one_line("a\n\tb \x00 c") == "a b c"
    assert one_line("abcdef", 4) == "abc…"
    assert one_line("abcd", 4) == "abcd"
    assert one_line(" " * 100 + "x", 4) == "…"


def test_durations_are_told_in_the_units_that_people_use() -> None:
    assert [duration(seconds) for seconds in (None, 0.04, 59.94, 59.97, 200, 7500)] == [
        "-",
        "0.0 s",
        "59.9 s",
        "1 min 0 s",
        "3 min 20 s",
        "2 h 5 min",
    ]
