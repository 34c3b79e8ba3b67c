"""A port in front of a server, which can be shut and opened: an outage without stopping the server."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress


class Gate:
    """Forwards connections while it is open; while it is shut they are refused, and those there are break."""

    def __init__(self, target: tuple[str, int]) -> None:
        self._target = target
        self._listener: socket.socket | None = None
        self._connections: list[socket.socket] = []
        # Bound but not listening: the port is ours, and connections to it are refused.
        self._reserved = self._bind(0)
        self.port: int = self._reserved.getsockname()[1]

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def open(self) -> None:
        self._reserved.listen()
        self._listener = self._reserved
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def shut(self) -> None:
        for connection in [self._reserved, *self._connections]:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()
        self._connections.clear()
        self._reserved = self._bind(self.port)

    def close(self) -> None:
        self.shut()
        self._reserved.close()

    def _bind(self, port: int) -> socket.socket:
        bound = socket.socket()
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(("127.0.0.1", port))
        return bound

    def _accept(self, listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                near, _ = listener.accept()
                far = socket.create_connection(self._target)
                self._connections += [near, far]
                for source, sink in ((near, far), (far, near)):
                    threading.Thread(target=self._pump, args=(source, sink), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(1 << 16):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)


@contextmanager
def gate_to(address: str) -> Iterator[Gate]:
    """A shut gate in front of host:port."""
    host, _, port = address.rpartition(":")
    gate = Gate((host, int(port)))
    try:
        yield gate
    finally:
        gate.close()
