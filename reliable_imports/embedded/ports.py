"""TCP ports of 127.0.0.1."""

from __future__ import annotations

import random
import socket

# Below the ports that systems hand out for outgoing connections: one of those could be taken, for a moment, just when
# the server starts again, and its DSN would change.
_RANGE = range(20_000, 32_000)


def is_free(port: int) -> bool:
    """Whether a server could listen on *port* now."""
    with socket.socket() as candidate:
        candidate.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as PostgreSQL does
        try:
            candidate.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def free_port() -> int:
    """A port that nobody listens on now, and that is nobody's outgoing connection later."""
    for port in random.sample(_RANGE, 100):
        if is_free(port):
            return port
    with socket.socket() as any_port:
        any_port.bind(("127.0.0.1", 0))
        return int(any_port.getsockname()[1])
