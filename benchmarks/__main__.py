"""`python -m benchmarks`: all scenarios, or those that are named, on one private server."""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import click
from rich.console import Console

from benchmarks.databases import Databases, private_server
from benchmarks.measuring import Figure, Words
from benchmarks.report import Report, facts_of
from benchmarks.scenarios import SCENARIOS, Bench
from benchmarks.ways import all_ways


@click.command(help=f"Measure SCENARIOS ({', '.join(SCENARIOS)}), or all of them.")
@click.argument("scenarios", nargs=-1, type=click.Choice(list(SCENARIOS)))
@click.option(
    "--quick", is_flag=True, help="A smoke run: a few rows, one round. Results are checked; figures mean nothing."
)
@click.option("--large", is_flag=True, help="Also a million items in one batch, and the whole year of flights by hand.")
@click.option("--rounds", type=click.IntRange(min=1), default=5, show_default=True)
@click.option("--products/--no-products", default=True, help="Measure other products too, those that are installed.")
@click.option(
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path("benchmark-results"),
    show_default=True,
    help="Where figures.json, report.md and processing.svg go.",
)
def main(scenarios: Sequence[str], quick: bool, large: bool, rounds: int, products: bool, output: Path) -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the server is stopped
    rounds = 1 if quick else rounds
    progress = Console(stderr=True)
    with private_server() as server, Databases(server).prepared() as databases:
        bench = Bench(databases, rounds, quick, large, products, lambda text: progress.print(text, style="dim"))
        report = measure(bench, scenarios or list(SCENARIOS))
    report.print(Console(width=None if sys.stdout.isatty() else 240))
    written = report.write(output)
    click.echo(f"all results were checked; written to {output}: {', '.join(written)}")


def measure(bench: Bench, scenarios: Sequence[str]) -> Report:
    """Run the named scenarios one after the other.

    Raises:
        WrongResult: a way has not done what it was timed for.
    """
    found = [each for name in scenarios for each in SCENARIOS[name](bench)]
    figures = [each for each in found if isinstance(each, Figure)]
    if bench.quick:
        figures = [replace(figure, goal=None, reached=None) for figure in figures]
    versions = _versions() if bench.with_products else {}
    return Report(
        facts_of(bench.databases.facts(), rounds=bench.rounds, versions=versions),
        figures,
        [each for each in found if isinstance(each, Words)],
    )


def _versions() -> dict[str, str]:
    return {name: release for way in all_ways() for name, release in (way.versions() or {}).items()}


if __name__ == "__main__":
    main()
