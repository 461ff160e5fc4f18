"""What a scenario is given."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from benchmarks.databases import Databases
from benchmarks.measuring import Figure, Words


@dataclass(frozen=True, slots=True)
class Bench:
    """Where, how often and how much is measured.

    Attributes:
        quick: a smoke run: a few rows, so that figures mean nothing but all results are checked.
        large: also what takes minutes: a million items in one batch, the whole year by hand.
        with_products: also other products, those of them that are installed.
        say: tells people what goes on.
    """

    databases: Databases
    rounds: int
    quick: bool
    large: bool
    with_products: bool
    say: Callable[[str], None]

    def size(self, usual: int) -> int:
        """How many items to take where a full run takes *usual*."""
        return min(usual, 400) if self.quick else usual


Scenario = Callable[[Bench], Iterable[Figure | Words]]
