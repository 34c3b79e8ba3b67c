"""Worker processes of a window: started, killed by process id, and started again until the work is done."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple, Self

from deploy.local.processes import last_lines
from tests.crash.journal import Entry, read_journal
from tests.crash.points import Order

__all__ = ["Crew", "CrewFailed", "Kill", "Worker"]

STOP_TIMEOUT_S = 60.0
#: A role that keeps stopping by itself will not get anywhere.
MAX_OWN_ENDS = 5
RESTART_DELAY_S = 0.5


class CrewFailed(Exception):
    """A worker stopped by itself too often; the message has the end of its log."""


class Kill(NamedTuple):
    """Of the process `pid`, at a monotonic time, seconds."""

    at: float
    pid: int


class Worker:
    """One process after another under one name."""

    def __init__(
        self, role: str, name: str, directory: Path, environment: dict[str, str], options: Callable[[], Sequence[str]]
    ) -> None:
        """`options` are asked for at every start."""
        self.name = name
        self.kills: list[Kill] = []
        #: Ends that nobody asked for.
        self.own_ends = 0
        self.log = directory / f"{name}.log"
        self._journal = directory / f"{name}.journal"
        self._orders = directory / f"{name}.order"
        self._argv = [sys.executable, "-m", "tests.crash.victim", role, str(self._orders), str(self._journal)]
        self._options = options
        self._environment = environment
        self._start()

    def order(self, order: Order) -> None:
        """Have it die at a point of its work."""
        order.give(self._orders)

    def kill(self) -> None:
        """Kill it, wherever it is."""
        self._process.kill()
        self._process.wait()
        self.kills.append(Kill(time.monotonic(), self._process.pid))

    def dismiss(self) -> None:
        """Tell it to end, as an operator would."""
        self._process.terminate()

    def wait(self) -> None:
        """Until a dismissed one has ended. Raises CrewFailed where it does not."""
        try:
            self._process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            raise CrewFailed(f"{self.name} did not stop within {STOP_TIMEOUT_S:g} s{last_lines(self.log)}") from None

    def end(self) -> None:
        """Leave nothing behind."""
        self._process.kill()
        self._process.wait()

    def is_working(self, within_s: float) -> bool:
        """Whether it has finished a chunk a moment ago."""
        recently = time.monotonic() - within_s
        pid = self._process.pid
        return any(e.what == "finished" and e.pid == pid and e.at > recently for e in self.entries())

    def look_after(self) -> None:
        """Start it again if it has ended. Raises CrewFailed."""
        code = self._process.poll()
        if code is None:
            return
        if self._orders.exists() and (death := self._death()):
            self._orders.unlink()
            self.kills.append(death)
        elif all(kill.pid != self._process.pid for kill in self.kills):
            self.own_ends += 1
            if self.own_ends > MAX_OWN_ENDS:
                raise CrewFailed(f"{self.name} stopped by itself with {code}{last_lines(self.log)}")
            time.sleep(RESTART_DELAY_S)
        self._start()

    def _death(self) -> Kill | None:
        """By order, of the process that has ended."""
        pid = self._process.pid
        return next((Kill(e.at, pid) for e in self.entries() if e.what == "killed" and e.pid == pid), None)

    def entries(self) -> list[Entry]:
        return list(read_journal(self._journal))

    def _start(self) -> None:
        with self.log.open("ab") as output:
            self._process = subprocess.Popen(
                [*self._argv, *self._options()],
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, **self._environment},
            )


class Crew:
    """The workers of a role; as a context manager it leaves none behind."""

    def __init__(self, role: str, directory: Path, options: Callable[[], Sequence[str]] = tuple) -> None:
        """`options` of a worker are asked for whenever it starts."""
        self._role = role
        self._directory = directory
        self._options = options
        self.workers: list[Worker] = []
        self._gone: list[Worker] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        for worker in self._everybody:
            worker.end()

    @property
    def kills(self) -> list[Kill]:
        return sorted(kill for worker in self._everybody for kill in worker.kills)

    @property
    def own_ends(self) -> int:
        return sum(worker.own_ends for worker in self._everybody)

    def join(self, *, static: bool = False) -> Worker:
        """One more worker; a `static` member of the group keeps its partitions over a restart."""
        name = f"{self._role}-{len(self._everybody)}"
        environment = {"SPENDLOOP_KAFKA__GROUP_INSTANCE_ID": name} if static else {}
        self.workers.append(Worker(self._role, name, self._directory, environment, self._options))
        return self.workers[-1]

    def leave(self, worker: Worker) -> None:
        """It has been killed or dismissed, and does not come back."""
        self.workers.remove(worker)
        self._gone.append(worker)

    def stop(self) -> None:
        """Dismiss all, and wait for those that were dismissed before. Raises CrewFailed."""
        for worker in list(self.workers):
            worker.dismiss()
            self.leave(worker)
        for worker in self._gone:
            worker.wait()

    def look_after(self) -> None:
        """Start again who has ended. Raises CrewFailed."""
        for worker in self.workers:
            worker.look_after()

    def entries(self) -> list[Entry]:
        """What all of them have noted, in order of time."""
        return sorted(entry for worker in self._everybody for entry in worker.entries())

    def logs(self) -> str:
        return "\n".join(f"{worker.name}{last_lines(worker.log)}" for worker in self._everybody)

    @property
    def _everybody(self) -> list[Worker]:
        return [*self.workers, *self._gone]
