"""What the suite did, for the lines that it prints at its end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

COUNTED = (
    "rounds",
    "kills",
    "sessions ended",
    "restarts",
    "cuts",
    "freezes",
    "dagster runs killed",
    "dagster runs cancelled",
    "mutants caught",
    "items",
    "lost",
    "doubled",
)


class Totals:
    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.not_run: list[str] = []

    def add(self, what: str, number: int = 1) -> None:
        if what not in COUNTED:
            raise ValueError(f"nothing is counted as {what!r}; counted are {', '.join(COUNTED)}")
        self.counts[what] += number

    def merge(self, counts: Mapping[str, int], not_run: Sequence[str]) -> None:
        """Add what another process has counted."""
        self.counts.update(counts)
        self.not_run += [reason for reason in not_run if reason not in self.not_run]

    def lines(self) -> list[str]:
        """The report; empty if no test of the suite ran."""
        if not self.counts and not self.not_run:
            return []
        counted = ", ".join(f"{self.counts[what]:,} {what}" for what in COUNTED)
        return [counted, *(f"NOT RUN: {reason}" for reason in self.not_run)]


TOTALS = Totals()
"""Of this process; pytest's terminal summary shows it."""
