"""The example of the films: its README is run, and what it shows is what comes out."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import xlsxwriter
from python_calamine import CalamineWorkbook

ROOT = Path(__file__).parents[2]
FILMS = ROOT / "examples" / "films"
_COLUMNS = 5


def shown_commands(text: str) -> Iterator[tuple[str, str]]:
    """The commands of the README, each with what it prints there."""
    for block in re.findall(r"^```console\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        for each in block.removeprefix("$ ").split("\n$ "):
            command, _, output = each.partition("\n")
            yield command, output.rstrip()


def as_shown(output: str, folder: Path) -> str:
    """An output without what differs from run to run, what to type next, and columns at the right."""
    output = output.replace(f"{folder}/", "")
    output = re.sub(r" in \d+\.\d s( \(.*\))?$", "", output, flags=re.MULTILINE)
    output = output.partition("\nnext:\n")[0]
    return "\n".join("  ".join(line.split("\t")[:_COLUMNS]) for line in output.rstrip().splitlines())


def correct_titles(file: Path) -> None:
    """What a person does in the spreadsheet."""
    header, *rows = CalamineWorkbook.from_path(str(file)).get_sheet_by_index(0).to_python()
    title = header.index("Title")
    with xlsxwriter.Workbook(str(file)) as workbook:
        sheet = workbook.add_worksheet()
        sheet.write_row(0, 0, header)
        for number, row in enumerate(rows, start=1):
            row[title] = "Unknown" if row[title] == "" else str(int(row[title]))
            for place, cell in enumerate(row):
                if isinstance(cell, str):
                    sheet.write_string(number, place, cell)
                else:
                    sheet.write_number(number, place, cell)


def test_the_films_are_imported_and_repaired_as_the_readme_says(empty_database: str, tmp_path: Path) -> None:
    folder = tmp_path / "films"
    shutil.copytree(FILMS, folder)
    environment = {
        **os.environ,
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        "PYTHONPATH": str(ROOT),
        "RELIABLE_IMPORTS_DSN": empty_database,
    }
    processors = folder / "film_processors.py"
    for command, shown in shown_commands((FILMS / "README.md").read_text()):
        if "--try" in command:
            before = processors.read_text()
            processors.write_text(before.replace("genre: str =", "genre: str | None ="))
            assert processors.read_text() != before
        answer = subprocess.run(command, shell=True, cwd=folder, env=environment, capture_output=True, text=True)
        assert answer.returncode in (0, 1), answer.stderr
        lines = as_shown(answer.stdout, folder).splitlines()
        assert lines[: len(shown.splitlines())] == shown.splitlines(), command
        if "--to titles.xlsx" in command:
            correct_titles(folder / "titles.xlsx")
