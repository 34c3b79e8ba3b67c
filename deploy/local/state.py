"""What is known about a stack between two commands: one JSON file, `<directory>/stack.json`.

Imports nothing but the standard library, so that settings may read addresses at no cost.
"""

from __future__ import annotations

import fcntl
import json
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Literal

__all__ = ["DEFAULT_DIRECTORY", "Kind", "Process", "State", "StateFile", "exclusive", "read_state"]

DEFAULT_DIRECTORY = Path(".spendloop")

Kind = Literal["server", "role"]


@dataclass(frozen=True)
class Process:
    """A process this stack started, in enough detail to find it again and to stop only it."""

    name: str
    kind: Kind
    pid: int
    started: float
    """Seconds between the machine's boot and the start of the process: with the pid, its identity."""
    log: str
    address: str | None = None
    data: str | None = None
    ready: bool = False
    """True once its health check has passed."""


@dataclass(frozen=True)
class State:
    """Ports, which outlive the processes, and the processes in their order of start."""

    ports: Mapping[str, int] = field(default_factory=dict)
    processes: tuple[Process, ...] = ()

    def process(self, name: str) -> Process | None:
        """The recorded process of that name, running or not."""
        return next((process for process in self.processes if process.name == name), None)

    def with_process(self, process: Process) -> State:
        """A copy in which `process` is the youngest, in place of any other of its name."""
        return replace(self, processes=(*self.without(process.name).processes, process))

    def with_ready(self, name: str) -> State:
        """A copy in which the process of that name has passed its health check."""
        processes = (replace(each, ready=True) if each.name == name else each for each in self.processes)
        return replace(self, processes=tuple(processes))

    def without(self, name: str) -> State:
        """A copy that holds no process of that name."""
        return replace(self, processes=tuple(each for each in self.processes if each.name != name))

    def addresses(self) -> dict[str, str]:
        """Where each server listens, as its client wants it; empty before the first `up`."""
        forms = {
            "kafka": "127.0.0.1:{}",
            "registry": "http://127.0.0.1:{}/apis/ccompat/v7",
            "redis": "redis://127.0.0.1:{}/0",
            "clickhouse": "http://127.0.0.1:{}",
        }
        return {name: form.format(self.ports[name]) for name, form in forms.items() if name in self.ports}


def read_state(directory: Path = DEFAULT_DIRECTORY) -> State:
    """The state of the stack in `directory`; an empty one where there is no stack."""
    try:
        stored = json.loads((directory / "stack.json").read_text())
    except FileNotFoundError:
        return State()
    return State(stored["ports"], tuple(Process(**process) for process in stored["processes"]))


class StateFile:
    """The state file of one stack, replaced as a whole.

    One thread changes it at a time; other processes are kept out by the stack's lock, which callers hold.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._changing = threading.Lock()

    def read(self) -> State:
        """The state as last written."""
        return read_state(self.directory)

    def update(self, change: Callable[[State], State]) -> State:
        """Store what `change` makes of the present state, and return it."""
        with self._changing:
            state = change(self.read())
            self._write(state)
            return state

    def _write(self, state: State) -> None:
        draft = self.directory / "stack.json.new"
        with draft.open("w") as file:
            json.dump(asdict(state), file, indent=2)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(self.directory / "stack.json")


@contextmanager
def exclusive(path: Path, on_wait: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Hold the lock file at `path`; `on_wait` is called once if somebody else holds it.

    The operating system releases the lock of a process that dies, so there are no stale locks.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            on_wait()
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
