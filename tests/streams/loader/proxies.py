"""ClickHouse seen through a proxy that holds a request back, loses an answer, or sets limits."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TypeVar

from tests.schemas.client.gate import Gate

T = TypeVar("T", bound=Gate)
#: How an insert of clicks begins, its statement being in the address.
INSERT = b"INSERT+INTO+clicks+"


class Holding(Gate):
    """Holds the first insert of clicks back until it is released; what comes after passes."""

    def __init__(self, target: tuple[str, int]) -> None:
        super().__init__(target)
        self.held, self.released = threading.Event(), threading.Event()

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(1 << 16):
                if INSERT in data and not self.held.is_set():
                    self.held.set()
                    self.released.wait()
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)


class AnswerLosing(Gate):
    """Lets inserts of clicks through and breaks the connection when the first so many are answered."""

    def __init__(self, target: tuple[str, int]) -> None:
        super().__init__(target)
        self.to_lose = 0
        self.lost = 0
        self._inserting: set[socket.socket] = set()

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(1 << 16):
                if INSERT in data:
                    self._inserting.add(source)
                elif sink in self._inserting:
                    self._inserting.discard(sink)
                    if self.lost < self.to_lose:
                        self.lost += 1
                        sink.shutdown(socket.SHUT_RDWR)
                        return
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)


class Limiting(Gate):
    """Gives inserts of clicks settings of its own while there are any, as a user's profile would."""

    def __init__(self, target: tuple[str, int]) -> None:
        super().__init__(target)
        self.settings = b""

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(1 << 16):
                if INSERT in data:
                    data = data.replace(b"&async_insert=0", b"&async_insert=0" + self.settings)
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)


@contextmanager
def through(kind: type[T], url: str) -> Iterator[T]:
    """An open proxy of this kind in front of http://host:port."""
    host, _, port = url.removeprefix("http://").rpartition(":")
    proxy = kind((host, int(port)))
    proxy.open()
    try:
        yield proxy
    finally:
        proxy.close()
