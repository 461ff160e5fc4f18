"""What was measured, as tables for people (text and Markdown), as JSON, and as a picture."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from importlib.metadata import version
from itertools import groupby
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.measuring import Figure, Words
from benchmarks.picture import picture

_COLUMNS = ("way", "setting", "items", "median", "min..max", "ratio", "goal", "reached", "notes")
_PROCESSING = "create+process"


@dataclass(frozen=True, slots=True)
class Report:
    """All figures of one run, and what they were measured on."""

    facts: Mapping[str, str]
    figures: Sequence[Figure]
    words: Sequence[Words] = ()

    @property
    def missed(self) -> list[Figure]:
        return [figure for figure in self.figures if figure.reached is False]

    def print(self, console: Console) -> None:
        console.print("; ".join(f"{name}: {value}" for name, value in self.facts.items()), soft_wrap=True)
        for scenario, columns, rows in self._tables():
            table = Table(*columns, title=scenario, title_justify="left", pad_edge=False)
            for row in rows:
                table.add_row(*row)
            console.print(table)
        for line in self._goals():
            console.print(line, soft_wrap=True)

    def write(self, folder: Path) -> list[str]:
        """Make the files in *folder*, and return their names; the picture shows the scenario `processing` alone."""
        document = {"facts": self.facts, "figures": [_as_json(figure) for figure in self.figures]}
        files = {
            "figures.json": json.dumps(document, indent=1, ensure_ascii=False) + "\n",
            "report.md": "\n".join(self._markdown()) + "\n",
        }
        bars = [figure for figure in self.figures if figure.scenario == "processing"]
        if bars:
            files["processing.svg"] = picture(bars, self.facts)
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            (folder / name).write_text(text, encoding="utf-8")
        return list(files)

    def _markdown(self) -> Iterable[str]:
        yield "# Figures"
        yield ""
        for name, value in self.facts.items():
            yield f"- {name}: {value}"
        for scenario, columns, rows in self._tables():
            yield from ("", f"## {scenario}", "", f"| {' | '.join(columns)} |", "|---" * len(columns) + "|")
            yield from (f"| {' | '.join(row)} |" for row in rows)
        yield from ("", "## Goals", "")
        yield from (f"- {line}" for line in self._goals())

    def _tables(self) -> Iterable[tuple[str, list[str], list[list[str]]]]:
        for scenario, group in groupby(self.figures, key=lambda figure: figure.scenario):
            figures = list(group)
            both = any(_PROCESSING in figure.more for figure in figures)
            base = next((figure.base for figure in figures if figure.base), None)
            columns = list(_COLUMNS)
            columns[3] = figures[0].unit
            columns[5] = f"to {base}" if base else "ratio"
            if both:
                columns[6:6] = [_PROCESSING, f"to {base}", "to hand-written"]
            shown = list(dict.fromkeys(name for figure in figures for name in figure.shown))
            columns[-3:-3] = shown
            rows = [_row(figure, shown, with_both=both) for figure in figures]
            used = [place for place in range(len(columns)) if any(row[place] for row in rows)]
            yield scenario, [columns[place] for place in used], [[row[place] for place in used] for row in rows]
        for words in self.words:
            yield words.scenario, list(words.columns), [list(row) for row in words.rows]

    def _goals(self) -> Iterable[str]:
        goals = [figure for figure in self.figures if figure.reached is not None]
        if not goals:
            return
        yield f"{len(goals) - len(self.missed)} of {len(goals)} goals reached"
        for figure in self.missed:
            found = number(figure.spread.median) + f" {figure.unit}"
            ratio = f", {figure.ratio:.2f}x" if figure.ratio is not None else ""
            yield f"not reached: {figure.scenario}, {figure.name}, {figure.setting}: {figure.goal}; is {found}{ratio}"


def facts_of(server: Mapping[str, str], *, rounds: int, versions: Mapping[str, str]) -> dict[str, str]:
    """What the figures depend on, besides the code."""
    return {
        "measured": datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, {platform.system()}",
        "Python": platform.python_version(),
        "psycopg2": version("psycopg2-binary"),
        "server": server["version"],
        "settings": ", ".join(f"{name}={value}" for name, value in server.items() if name != "version"),
        "connection": "TCP on the loopback interface",
        "rounds": str(rounds),
        **(
            {"others": ", ".join(f"{name} {release}" for name, release in sorted(versions.items()))} if versions else {}
        ),
    }


def number(value: float) -> str:
    """Three digits that mean something."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _row(figure: Figure, shown: Sequence[str], *, with_both: bool) -> list[str]:
    spread = figure.spread
    row = [
        figure.name,
        figure.setting,
        f"{figure.items:,}" if figure.items is not None else "",
        number(spread.median),
        f"{number(spread.low)}..{number(spread.high)}",
        _ratio(figure.ratio),
    ]
    if with_both:
        row += [
            number(figure.more[_PROCESSING]),
            _ratio(figure.more[f"{_PROCESSING} ratio"]),
            _ratio(figure.more["to hand-written"]),
        ]
    row += [number(figure.more[name]) if name in figure.more else "" for name in shown]
    reached = "" if figure.reached is None else "reached" if figure.reached else "NOT reached"
    return [*row, figure.goal or "", reached, figure.note]


def _ratio(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def _as_json(figure: Figure) -> dict[str, object]:
    spread = figure.spread
    return {**asdict(figure), "spread": {"median": spread.median, "values": list(spread.values)}}
