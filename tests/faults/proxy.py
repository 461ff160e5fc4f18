"""A network between a worker and PostgreSQL that fails on demand, at the byte where it hurts.

It speaks enough of the protocol to see a COMMIT leave the client (a Query message that holds one) and its success
come back (a CommandComplete message). PostgreSQL sends that only after the transaction has been committed.
"""

from __future__ import annotations

import re
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from enum import Enum
from urllib.parse import urlsplit, urlunsplit

from tests.faults.totals import TOTALS

_COMMIT = re.compile(rb"(?:^|;)\s*COMMIT\s*;?\s*\0\Z", re.IGNORECASE)
_RESET = struct.pack("ii", 1, 0)


class Cut(Enum):
    """What happens to a COMMIT."""

    NONE = "none"
    BEFORE = "before"
    """It never reaches the server."""
    DURING = "during"
    """It reaches the server, and nobody waits for what becomes of it."""
    AFTER = "after"
    """The server has committed, and the client never hears of it."""


class Proxy:
    """Listens on loopback and passes everything on, except as told."""

    def __init__(self, port: int) -> None:
        self._server_port = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._links: list[_Link] = []
        self._lock = threading.Lock()
        self._flowing = threading.Event()
        self._flowing.set()
        self._closed = False
        self.at_commit: Callable[[bytes], Cut] = lambda query: Cut.NONE
        """Asked for every COMMIT that comes by, with the whole query string, from the connections' threads."""
        threading.Thread(target=self._accept, daemon=True).start()

    def dsn(self, dsn: str) -> str:
        """*dsn* through this proxy."""
        parts = urlsplit(dsn)
        address = f"{parts.username}:{parts.password}@127.0.0.1:{self._listener.getsockname()[1]}"
        return urlunsplit(parts._replace(netloc=address, query="sslmode=disable&gssencmode=disable"))

    def freeze(self) -> None:
        """Nothing passes any more, and nobody is told."""
        self._flowing.clear()
        TOTALS.add("freezes")

    def thaw(self) -> None:
        self._flowing.set()

    def cut(self) -> int:
        """Break all connections; return how many there were."""
        with self._lock:
            links = [link for link in self._links if link.is_open]
        for link in links:
            link.break_off()
        TOTALS.add("cuts", len(links))
        return len(links)

    def forget_clients(self) -> int:
        """Break the connections on the client's side only: the server's side stays open and hears nothing."""
        with self._lock:
            links = [link for link in self._links if link.is_open]
        for link in links:
            link.break_client_off()
        TOTALS.add("cuts", len(links))
        return len(links)

    def close(self) -> None:
        self._closed = True
        self.thaw()
        # A thread in accept() would keep the socket alive.
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for link in self._links:
            link.break_off()

    def _accept(self) -> None:
        while not self._closed:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(("127.0.0.1", self._server_port))
            except OSError:
                _reset(client)  # the server is down: so is whoever stands before it
                continue
            for each in (client, server):
                each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            link = _Link(client, server, self._flowing, self._ask)
            with self._lock:
                self._links = [each for each in self._links if each.is_open] + [link]
            link.start()

    def _ask(self, query: bytes) -> Cut:
        cut = self.at_commit(query)
        if cut is not Cut.NONE:
            TOTALS.add("cuts")
        return cut


class _Link:
    """One connection: a thread for each direction."""

    def __init__(
        self, client: socket.socket, server: socket.socket, flowing: threading.Event, at_commit: Callable[[bytes], Cut]
    ) -> None:
        self._client = client
        self._server = server
        self._flowing = flowing
        self._at_commit = at_commit
        self._withheld = threading.Event()
        self._client_gone = False
        self.is_open = True

    def start(self) -> None:
        for flow in (self._from_client, self._from_server):
            threading.Thread(target=self._run, args=(flow,), daemon=True).start()

    def break_off(self) -> None:
        self.is_open = False
        _reset(self._client)
        _reset(self._server)

    def break_client_off(self) -> None:
        self._client_gone = True
        _reset(self._client)

    def _run(self, flow: Callable[[], None]) -> None:
        with suppress(OSError, _Ended):
            flow()
        if not self._client_gone:
            self.break_off()

    def _from_client(self) -> None:
        read = _Reader(self._client)
        first = read.untyped()
        self._pass(self._server, first)
        while True:
            kind, message = read.typed()
            if kind != b"Q" or not _COMMIT.search(message[5:]):
                self._pass(self._server, message)
                continue
            match self._at_commit(message[5:]):
                case Cut.NONE:
                    self._pass(self._server, message)
                case Cut.BEFORE:
                    raise _Ended
                case Cut.DURING:
                    self._server.sendall(message)
                    raise _Ended
                case Cut.AFTER:
                    self._withheld.set()
                    self._pass(self._server, message)

    def _from_server(self) -> None:
        read = _Reader(self._server)
        held = b""
        while True:
            kind, message = read.typed()
            if not self._withheld.is_set():
                self._pass(self._client, message)
                continue
            if kind == b"C" and message[5:] == b"COMMIT\0":
                raise _Ended
            held += message
            if kind == b"Z":  # there was no COMMIT after all: an error came first
                self._withheld.clear()
                self._pass(self._client, held)
                held = b""

    def _pass(self, target: socket.socket, message: bytes) -> None:
        self._flowing.wait()
        if target is self._client and self._client_gone:
            return
        target.sendall(message)


class _Ended(Exception):
    """Nothing more comes."""


class _Reader:
    """Messages from a stream of bytes."""

    def __init__(self, source: socket.socket) -> None:
        self._source = source
        self._buffer = b""

    def untyped(self) -> bytes:
        """A start-up or cancel message: a length and no type."""
        self._fill(4)
        return self._take(int.from_bytes(self._buffer[:4], "big"))

    def typed(self) -> tuple[bytes, bytes]:
        self._fill(5)
        message = self._take(1 + int.from_bytes(self._buffer[1:5], "big"))
        return message[:1], message

    def _take(self, length: int) -> bytes:
        self._fill(length)
        taken, self._buffer = self._buffer[:length], self._buffer[length:]
        return taken

    def _fill(self, length: int) -> None:
        while len(self._buffer) < length:
            data = self._source.recv(65_536)
            if not data:
                raise _Ended
            self._buffer += data


def _reset(connection: socket.socket) -> None:
    """Close at once, with a reset: what was under way is lost, and a thread that reads from it wakes up."""
    with suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        connection.shutdown(socket.SHUT_RDWR)
    connection.close()


@contextmanager
def proxy_to(port: int) -> Iterator[Proxy]:
    proxy = Proxy(port)
    try:
        yield proxy
    finally:
        proxy.close()
