"""What the command line's exit status says."""

from __future__ import annotations

from enum import IntEnum


class ExitStatus(IntEnum):
    DONE = 0
    """Done, or answered: a question about a batch with failures is answered with 0."""

    DONE_WITH_FAILURES = 1
    """The batch was worked, and items of it failed."""

    WRONG_USE = 2
    """What was asked for cannot be: an unknown option, batch or type, a file that cannot be read. Nothing was done."""

    COULD_NOT = 3
    """The database, or something else that was needed, did not do its part."""

    INTERRUPTED = 130
    """Ctrl-C; what was accepted is safe."""
