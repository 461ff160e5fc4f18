"""What README and docs say of speed is what the kept run of the benchmarks found."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
README = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
PERFORMANCE = (ROOT / "docs" / "performance.md").read_text(encoding="utf-8")
OURS = "ours: declared, ctx.upsert"
NAMES = {
    "by hand, three commits an item": "hand-written, three commits an item",
    "procrastinate, a task an item": "procrastinate, a task an item",
    "one transaction an item": "one transaction an item",
    "pgqueuer, a job an item": "pgqueuer, a job an item",
    "any `process_item` of ours with one statement of its own": "ours: any process_item, one ctx.execute",
    "untracked upserts in one transaction": "untracked upserts, one transaction (yardstick)",
    "django-import-export, bulk": "django-import-export, bulk",
    "dlt merge": "dlt merge (upsert), CSV",
    "Django `bulk_create`": "Django bulk_create(update_conflicts)",
    "raw COPY": "raw COPY of rendered lines",
}


def rates() -> dict[str, float]:
    """Items a second without bad rows, by way."""
    kept = json.loads((ROOT / "benchmarks" / "results" / "rates" / "figures.json").read_text(encoding="utf-8"))
    return {
        figure["name"]: figure["spread"]["median"]
        for figure in kept["figures"]
        if figure["scenario"] == "processing" and figure["setting"] == "0% bad"
    }


def two_digits(ratio: float) -> str:
    if ratio < 1:
        return f"{ratio:.2f}"
    return f"{ratio:.1f}" if ratio < 10 else f"{ratio:.0f}"


@pytest.mark.parametrize(
    ("words", "way"),
    [
        (r"are (\S+) times as fast as the three commits", "hand-written, three commits an item"),
        (r"(\S+) times as fast as a job queue", "pgqueuer, a job an item"),
        (r"(\S+) times as fast as django-import-export", "django-import-export, bulk"),
        (r"(\S+) times as fast as dlt", "dlt merge (upsert), CSV"),
        (r"(\S+) times as fast as Django's", "Django bulk_create(update_conflicts)"),
    ],
)
def test_the_readme_says_what_was_measured(words: str, way: str) -> None:
    found = re.search(words, README)
    assert found is not None, words
    assert found[1] == two_digits(rates()[OURS] / rates()[way])


def test_the_table_says_what_was_measured() -> None:
    section = PERFORMANCE.split("## Beside other ways", 1)[1].split("\n## ", 1)[0]
    table = dict(re.findall(r"^\| (.+?) \| ([\d.]+) \|$", section, re.MULTILINE))
    assert table == {name: two_digits(rates()[way] / rates()[OURS]) for name, way in NAMES.items()}


def test_what_a_sensor_launches_is_said_in_words() -> None:
    page = (ROOT / "docs" / "dagster.md").read_text(encoding="utf-8")
    table = page.split("| sensor | launches |", 1)[1].split("\n\n", 1)[0]
    launches = dict(re.findall(r"^\| `(\w+)` \| (.+?) \|$", table, re.MULTILINE))
    assert len(launches) == 8
    assert not [sensor for sensor, words in launches.items() if words[0].isdigit()]
