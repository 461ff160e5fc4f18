"""Time, taken in interleaved rounds."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field


class Clock:
    """Adds up the seconds of the named parts of one piece of work; what is outside the parts is not timed."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def timing(self, part: str) -> Iterator[None]:
        started = time.perf_counter()
        yield
        self.seconds[part] = self.seconds.get(part, 0.0) + time.perf_counter() - started


@dataclass(frozen=True, slots=True)
class Spread:
    """The values of all rounds."""

    values: tuple[float, ...]

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    @property
    def low(self) -> float:
        return min(self.values)

    @property
    def high(self) -> float:
        return max(self.values)


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the report.

    Attributes:
        setting: what the line is measured under, such as `1 % bad`.
        ratio: to the scenario's yardstick, of which `base` is the name.
        goal: what is aimed at, in words; `reached` says whether it was.
        more: further figures of the same line, by name.
        shown: those of them that are columns of the report as well, in this order.
    """

    scenario: str
    name: str
    setting: str
    unit: str
    spread: Spread
    items: int | None = None
    ratio: float | None = None
    base: str | None = None
    goal: str | None = None
    reached: bool | None = None
    note: str = ""
    more: Mapping[str, float] = field(default_factory=dict)
    shown: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Words:
    """A table of the report that was not measured."""

    scenario: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


def interleaved(rounds: int, works: Sequence[Callable[[], Mapping[str, float]]]) -> list[dict[str, Spread]]:
    """Do all works once in every round, each time beginning with another; return each work's values by part.

    What the machine does meanwhile thus falls upon all of them, and not upon one.
    """
    values: list[dict[str, list[float]]] = [{} for _ in works]
    for turn in range(rounds):
        for position in range(len(works)):
            index = (position + turn) % len(works)
            gc.collect()
            for part, value in works[index]().items():
                values[index].setdefault(part, []).append(value)
    return [{part: Spread(tuple(found)) for part, found in each.items()} for each in values]
