"""Who is told what a worker is at."""

from __future__ import annotations

from typing import Protocol


class Observer(Protocol):
    """Told by a worker what it is at. It must not raise, and must not take long."""

    def trying(self, item_number: int | None) -> None:
        """The code of an item is about to run; None: of several, and nobody can tell which."""

    def tried(self) -> None:
        """The code of the items has ended; their chunk is about to be written."""

    def committed(self) -> None:
        """A chunk was committed."""
