"""What workers note as they go: chunks begun and finished, commits, deaths. A line survives kill -9 of its writer."""

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

__all__ = ["Entry", "Journal", "read_journal"]


class Entry(NamedTuple):
    """`what` is begun, finished, committed or killed; `place` is topic/partition. `at` is the machine's monotonic time,
    seconds, which all processes share.
    """

    at: float
    pid: int
    what: str
    place: str


class Journal:
    """Of one worker process."""

    def __init__(self, file: Path) -> None:
        self._file = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def note(self, what: str, place: str = "") -> None:
        os.write(self._file, f"{time.monotonic():.6f} {os.getpid()} {what} {place}\n".encode())


def read_journal(file: Path) -> Iterator[Entry]:
    for line in file.read_text().splitlines() if file.exists() else ():
        at, pid, what, place = line.split(" ")
        yield Entry(float(at), int(pid), what, place)
