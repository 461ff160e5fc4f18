"""What was found, and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class State(str, Enum):
    FINE = "fine"
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True, slots=True)
class Finding:
    """
    Attributes:
        subject: what was looked at, in a word or two.
        what: what was found, in a sentence.
        next_step: what to do about it; None where nothing is to be done.
    """

    subject: str
    state: State
    what: str
    next_step: str | None = None


def fine(subject: str, what: str) -> Finding:
    return Finding(subject, State.FINE, what)


def warning(subject: str, what: str, next_step: str | None = None) -> Finding:
    return Finding(subject, State.WARNING, what, next_step)


def problem(subject: str, what: str, next_step: str | None = None) -> Finding:
    return Finding(subject, State.PROBLEM, what, next_step)
