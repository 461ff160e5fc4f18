"""Which process this is, without asking the operating system: that takes as long as to parse a small item."""

from __future__ import annotations

import os

_process_id = os.getpid()


def process_id() -> int:
    """As `os.getpid`, but for a fork that Python knows nothing of."""
    return _process_id


def _note_fork() -> None:
    global _process_id
    _process_id = os.getpid()


if hasattr(os, "register_at_fork"):  # Windows forks nothing
    os.register_at_fork(after_in_child=_note_fork)
