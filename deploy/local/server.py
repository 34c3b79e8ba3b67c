"""What the stack needs to know of a server in order to run it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

__all__ = ["Server"]


class Server(Protocol):
    """One server of the local stack, on the ports and in the data directory it was made with."""

    name: str
    data: Path
    start_timeout_s: float

    def command(self, report: Callable[[str], None]) -> list[str]:
        """Fetch and prepare what the server needs, and return its command line. Raises StackError."""
        ...

    def is_healthy(self) -> bool:
        """Whether it answers its clients now."""
        ...
