"""`python -m benchmarks.developer_time`: counts what is written in each way, and runs the same checks on all."""

from __future__ import annotations

import ast
import json
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from benchmarks.databases import Databases, private_server
from benchmarks.developer_time.acceptance import CHECKS, Found, accept
from benchmarks.developer_time.ways import WAYS, Way

_OURS_AT_MOST = 25
_COUNTED = {".py": "#", ".sql": "--", ".toml": "#", ".yaml": "#"}


@dataclass(frozen=True, slots=True)
class Written:
    """What one writes and must know: lines that are neither blank nor comment nor docstring."""

    lines: int
    files: int
    names: int
    commands: int


def count(way: Way) -> Written:
    paths = [
        path for path in sorted(way.folder.rglob("*")) if path.suffix in _COUNTED and "__pycache__" not in path.parts
    ]
    lines = {path: lines_of(path) for path in paths}
    commands = len(way.set_up) + 2 + (way.orchestrated is not None and way.orchestrated is not way.import_file)
    return Written(sum(lines.values()), sum(found > 0 for found in lines.values()), len(set(way.names)), commands)


def lines_of(path: Path) -> int:
    text = path.read_text(encoding="utf-8")
    comment = _COUNTED[path.suffix]
    documented = _docstring_lines(text) if path.suffix == ".py" else set()
    return sum(
        bool(line.strip()) and not line.strip().startswith(comment) and number not in documented
        for number, line in enumerate(text.splitlines(), 1)
    )


def _docstring_lines(text: str) -> set[int]:
    found: set[int] = set()
    for node in ast.walk(ast.parse(text)):
        if not isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)) or not node.body:
            continue
        first = node.body[0]
        if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str):
            found.update(range(first.lineno, (first.end_lineno or first.lineno) + 1))
    return found


def missing_packages(way: Way) -> list[str]:
    missing = []
    for package in way.packages:
        try:
            version(package)
        except PackageNotFoundError:
            missing.append(package)
    return missing


@click.command(help="Count what is written in each way, and run the same checks on all of them, or on those named.")
@click.argument("ways", nargs=-1, type=click.Choice([way.folder.name for way in WAYS]))
@click.option(
    "--share", type=click.FloatRange(0.01, 1), default=1.0, show_default=True, help="Part of the 20,023 rows."
)
@click.option("--count-only", is_flag=True, help="Run nothing.")
@click.option(
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("benchmark-results"),
    show_default=True,
    help="Where developer_time.json and developer_time.md go.",
)
def main(ways: Sequence[str], share: float, count_only: bool, output: Path) -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the server is stopped
    progress = Console(stderr=True)
    chosen = [way for way in WAYS if not ways or way.folder.name in ways]
    found: dict[str, Found] = {}
    seconds: dict[str, float] = {}
    if not count_only:
        with private_server() as server, Databases(server).prepared() as databases:
            for way in chosen:
                if missing := missing_packages(way):
                    progress.print(f"left out, for it is not installed: {way.name} ({', '.join(missing)})")
                    continue
                started = time.monotonic()
                found[way.name] = accept(way, databases, share, lambda text: progress.print(text, style="dim"))
                seconds[way.name] = time.monotonic() - started
    _print(chosen, found)
    output.mkdir(parents=True, exist_ok=True)
    document = {
        way.name: {
            **asdict(count(way)),
            "cannot": list(way.cannot),
            "checks": found.get(way.name),
            "seconds": seconds.get(way.name),
        }
        for way in chosen
    }
    (output / "developer_time.json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    (output / "developer_time.md").write_text("\n".join(_markdown(chosen, found)) + "\n", encoding="utf-8")
    click.echo(f"written to {output}: developer_time.json, developer_time.md")


def _rows(chosen: Sequence[Way], found: dict[str, Found]) -> list[list[str]]:
    written = [count(way) for way in chosen]
    rows = [
        ["lines", *[f"{each.lines:,}" for each in written]],
        ["files", *[str(each.files) for each in written]],
        ["names to know", *[str(each.names) for each in written]],
        ["commands", *[str(each.commands) for each in written]],
    ]
    if not found:
        return rows
    results = [found.get(way.name) for way in chosen]
    passed = ["" if each is None else f"{sum(not why for why in each.values())} of {len(CHECKS)}" for each in results]
    rows.append(["checks that hold", *passed])
    for check in CHECKS:
        rows.append([check, *["" if each is None else "no" if each[check] else "yes" for each in results]])
    return rows


def _notes(chosen: Sequence[Way], found: dict[str, Found]) -> list[str]:
    notes = []
    for way in chosen:
        notes += [f"{way.name}: {each}" for each in way.cannot]
        for check, why in found.get(way.name, {}).items():
            if why:
                notes.append(f"{way.name}, not: {check}: {' '.join(why.split())[:300]}")
        lines = count(way).lines
        if way is WAYS[0]:
            reached = "reached" if lines <= _OURS_AT_MOST else "NOT reached"
            notes.append(f"{way.name}: {lines} lines, for a goal of at most {_OURS_AT_MOST}: {reached}")
    return notes


def _print(chosen: Sequence[Way], found: dict[str, Found]) -> None:
    console = Console(width=None if sys.stdout.isatty() else 200)
    table = Table("", *[way.name for way in chosen], title="developer time", title_justify="left", pad_edge=False)
    for row in _rows(chosen, found):
        table.add_row(*row)
    console.print(table)
    for note in _notes(chosen, found):
        console.print(f"- {note}", soft_wrap=True, markup=False)


def _markdown(chosen: Sequence[Way], found: dict[str, Found]) -> list[str]:
    columns = ["", *[way.name for way in chosen]]
    rows = [f"| {' | '.join(row)} |" for row in _rows(chosen, found)]
    return [
        *("# Developer time", "", f"| {' | '.join(columns)} |", "|---" * len(columns) + "|", *rows, ""),
        *[f"- {note}" for note in _notes(chosen, found)],
    ]


if __name__ == "__main__":
    main()
