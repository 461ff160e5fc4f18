"""The blocks of a page of the documentation, and how they are run: in their order, on one database.

```bash       runs, and succeeds
```console    each command after a `$` prints what follows it; `...` stands for anything, also for several lines
```python     runs; what a block defines is there in the next ones. One that begins with `# imports.py` is that file
```sql        runs

A block ```text that follows a block is what that prints; of SQL, its rows, with their values apart by ` | `.
What stands in a comment (`<!-- unseen` before a block, `-->` after it) is run and not shown.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg2

from reliable_imports.cli.main import run
from tests.running import ROOT

DOCS = ROOT / "docs"
RUN = ("bash", "console", "python", "sql")
_OURS_ALONE = re.compile(r"reliable-imports [^|&;<>$]*")
_FILE = re.compile(r"^# (\w+\.py)\n")
_BLOCK = re.compile(r"^(```+)(\w+)[^\n]*\n(.*?)^\1$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    language: str
    text: str
    line: int
    output: str | None
    """What it prints, where the page says so."""


def blocks_of(page: Path) -> list[Block]:
    """The blocks of a page that are run, in their order."""
    text = page.read_text(encoding="utf-8")
    found = list(_BLOCK.finditer(text))
    blocks = []
    for place, match in enumerate(found):
        if match[2] not in RUN:
            continue
        following = found[place + 1] if place + 1 < len(found) else None
        is_output = (
            following is not None and following[2] == "text" and not text[match.end() : following.start()].strip()
        )
        output = following[3] if is_output and following is not None else None
        blocks.append(Block(match[2], match[3], text[: match.start()].count("\n") + 1, output))
    return blocks


class Reader:
    """Does what a page says, in a folder and on a database of its own."""

    def __init__(self, folder: Path, dsn: str) -> None:
        """In this process's working folder and environment, which are to be those of the page."""
        self._folder = folder
        self._dsn = dsn
        self._names: dict[str, Any] = {"__name__": "__page__"}

    def run(self, block: Block) -> None:
        """Raises AssertionError if it does not do what the page says."""
        match block.language:
            case "console":
                for command, expected in _commands(block.text):
                    _compare(self._shell(command), expected, command)
                return
            case "bash":
                commands = block.text.strip().splitlines()
                if not all(map(_OURS_ALONE.fullmatch, commands)):
                    commands = [f"set -e\n{block.text}"]
                printed = "".join(self._shell(command, may_fail=False) for command in commands)
            case "python":
                printed = self._python(block)
            case "sql":
                printed = self._sql(block.text)
        if block.output is not None:
            _compare(printed, block.output, block.text)

    def _shell(self, command: str, *, may_fail: bool = True) -> str:
        if _OURS_ALONE.fullmatch(command):
            status, printed = _in_child(command)
        else:
            shell = ["bash", "-c", command]
            done = subprocess.run(shell, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=300)
            status, printed = done.returncode, done.stdout
        assert status == 0 or (may_fail and 0 < status < 4), f"{command}\n{printed[-3000:]}"
        return printed

    def _python(self, block: Block) -> str:
        if named := _FILE.match(block.text):
            (self._folder / named[1]).write_text(block.text.removeprefix(named[0]).lstrip())
            return ""
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(compile(block.text, f"<line {block.line}>", "exec"), self._names)
        return printed.getvalue()

    def _sql(self, statements: str) -> str:
        with closing(psycopg2.connect(self._dsn)) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(statements)
                rows = cursor.fetchall() if cursor.description else []
        return "".join(" | ".join("" if value is None else str(value) for value in row) + "\n" for row in rows)


def _in_child(command: str) -> tuple[int, str]:
    """What `reliable-imports` does with the arguments, its exit status and what it prints.

    In a child that has everything loaded already: a page has many commands, and to start takes longer than they do.
    """
    with tempfile.TemporaryFile("w+", encoding="utf-8") as output:
        sys.stdout.flush()
        child = os.fork()
        if child == 0:
            status = 70
            try:
                os.dup2(output.fileno(), 1)
                os.dup2(output.fileno(), 2)
                sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
                sys.stderr = open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
                sys.path[:] = [str(Path.cwd()), *(each for each in sys.path if each != str(ROOT))]
                status = int(run(shlex.split(command)[1:]))
                sys.stdout.flush()
                sys.stderr.flush()
            finally:
                os._exit(status)
        _, ended = os.waitpid(child, 0)
        output.seek(0)
        return os.waitstatus_to_exitcode(ended), output.read()


def environment_of(dsn: str, folder: Path) -> dict[str, str]:
    """As somebody has it who reads the page in a clone, with what is installed there."""
    return {
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        "PYTHONPATH": str(ROOT),
        "RELIABLE_IMPORTS_DSN": dsn,
        "RELIABLE_IMPORTS_HOME": str(folder / "home"),
        "DAGSTER_HOME": str(folder),
        "RELIABLE_IMPORTS_PROCESSORS": "",
        "COLUMNS": "160",
    }


def _commands(text: str) -> Iterator[tuple[str, str]]:
    """The commands of a session, each with what it prints."""
    for each in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
        command, _, output = each.partition("\n")
        while command.endswith("\\"):
            more, _, output = output.partition("\n")
            command = f"{command[:-1]}{more.strip()}"
        yield command, output


def _compare(printed: str, expected: str, what: str) -> None:
    lines = [_plain(line) for line in expected.strip("\n").splitlines()]
    pattern = "\n".join(".*" if line == "..." else re.escape(line).replace(r"\.\.\.", ".*") for line in lines)
    text = "\n".join(_plain(line) for line in printed.strip("\n").splitlines())
    assert re.fullmatch(pattern, text, re.DOTALL), f"{what}\nprints\n{text}\nand not\n{expected}"


def _plain(line: str) -> str:
    """Without what differs from run to run."""
    line = re.sub(r"\b\d+\.\d s\b", "_ s", line.rstrip())
    line = re.sub(r" \([\d,]+ items/s\)", "", line)
    return re.sub(r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(\.\d+)?(\+\d\d(:\d\d)?)?Z?", "<time>", line)
