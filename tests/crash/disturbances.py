"""How a window disturbs the work: the order to die at a point, members that come and go, servers that die."""

import time
from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np

from deploy.local.stack import LocalStack
from tests.crash import servers
from tests.crash.crew import Crew, Kill, Worker
from tests.crash.points import Order

__all__ = ["AtPoints", "Disturbance", "Forgetting", "InTurn", "Joining", "Outage", "ServerKills"]

#: Passages of a point before the one to die at.
MOST_PASSES = 4
#: Where it was not passed as often by then, the next passage is the one: sooner than the next portion comes anyway.
PATIENCE_S = 15.0
#: For so long a passage is drawn out.
LONGEST_DELAY_S = 0.2
#: A worker of two dies again while the group still waits for the one before, or when it has gone on: 15 s.
BETWEEN_TURNS_S = 20.0
#: Members that come and go: of how many another one may join, how far apart, and how many leave by kill.
MEMBERS = range(3)
BETWEEN_MOVES_S = (0.5, 5.0)
KILLED_SHARE = 0.5
#: A server works for so long, and is away for so long, at most.
LONGEST_WORK_S = 2.0
LONGEST_OUTAGE_S = 2.0
#: What Redis forgets.
FORGOTTEN_S = (0.2, 1.2)
#: A worker without a finished chunk for so long has nothing to do.
IDLE_S = 1.0


class Outage(NamedTuple):
    """From the kill of a server until all servers are healthy again; monotonic, seconds."""

    at: float
    back_at: float


class Disturbance(Protocol):
    """Disturbs a crew's work until it is over; `kills` are those that count."""

    def begin(self) -> None:
        """Have the first workers join."""

    def step(self) -> None:
        """What is due now; called again and again."""

    @property
    def kills(self) -> Sequence[Kill | Outage]:
        """So far."""


def random_order(random: np.random.Generator, number: int, points: Sequence[str]) -> Order:
    """To die at one of the points, soon."""
    delay_s = float(random.uniform(0, LONGEST_DELAY_S))
    return Order(number, str(random.choice(points)), int(random.integers(0, MOST_PASSES)), delay_s)


class AtPoints:
    """One worker, a static member of its group, dies at one of the points, again and again."""

    def __init__(self, crew: Crew, random: np.random.Generator, count: int, points: Sequence[str]) -> None:
        self._crew = crew
        self._random = random
        self._count = count
        self._points = points
        self._ordered = 0
        self._pending: tuple[Worker, Order, float] | None = None

    def begin(self) -> None:
        self._crew.join(static=True)

    def step(self) -> None:
        self._crew.look_after()
        self._hasten()
        if len(self.kills) == self._ordered < self._count:
            self._order(self._crew.workers[0])

    @property
    def kills(self) -> Sequence[Kill]:
        return self._crew.kills

    def _order(self, worker: Worker) -> None:
        order = random_order(self._random, self._ordered, self._points)
        worker.order(order)
        self._pending = worker, order, time.monotonic() + PATIENCE_S
        self._ordered += 1

    def _hasten(self) -> None:
        """Chunks are larger where the machine is slow: a small load may not have so many."""
        if self._pending is None or time.monotonic() < self._pending[2]:
            return
        worker, order, _ = self._pending
        self._pending = None
        if len(self.kills) < self._ordered:
            worker.order(order._replace(passes=0))


class InTurn(AtPoints):
    """Two workers, of which one after the other dies at one of the points; the group has to find out."""

    _next_at = 0.0

    def begin(self) -> None:
        self._crew.join()
        self._crew.join()

    def step(self) -> None:
        self._crew.look_after()
        self._hasten()
        if len(self.kills) < self._ordered or self._ordered == self._count:
            self._next_at = time.monotonic() + float(self._random.uniform(0, BETWEEN_TURNS_S))
        elif time.monotonic() >= self._next_at:
            self._order(self._crew.workers[self._ordered % 2])


class Joining:
    """Members join and leave at random moments, most of them by kill, and then in the middle of their work."""

    def __init__(self, crew: Crew, random: np.random.Generator, count: int) -> None:
        self._crew = crew
        self._random = random
        self._count = count
        self._next_at = 0.0
        self._next_is_kill = False

    def begin(self) -> None:
        self._crew.join()
        self._crew.join()
        self._decide()

    def step(self) -> None:
        self._crew.look_after()
        workers = self._crew.workers
        if len(self.kills) == self._count:
            if not workers:  # somebody has to do what is left
                self._crew.join()
            return
        if time.monotonic() < self._next_at:
            return
        if self._next_is_kill:
            working = [worker for worker in workers if worker.is_working(IDLE_S)]
            if not working:
                return
            leaving = working[int(self._random.integers(len(working)))]
            leaving.kill()
            self._crew.leave(leaving)
        elif len(workers) in MEMBERS and self._random.random() < 0.7:
            self._crew.join()
        elif len(workers) > 1:
            leaving = workers[int(self._random.integers(len(workers)))]
            leaving.dismiss()
            self._crew.leave(leaving)
        self._decide()

    @property
    def kills(self) -> Sequence[Kill]:
        return self._crew.kills

    def _decide(self) -> None:
        self._next_at = time.monotonic() + float(self._random.uniform(*BETWEEN_MOVES_S))
        self._next_is_kill = len(self._crew.workers) > 0 and bool(self._random.random() < KILLED_SHARE)


class ServerKills:
    """A server dies while a worker works, and comes back after a while."""

    def __init__(self, crew: Crew, random: np.random.Generator, count: int, stack: LocalStack, server: str) -> None:
        self._crew = crew
        self._random = random
        self._count = count
        self._stack = stack
        self._server = server
        self._outages: list[Outage] = []
        self._next_at: float | None = None

    def begin(self) -> None:
        self._crew.join(static=True)

    def step(self) -> None:
        self._crew.look_after()
        if len(self._outages) == self._count or not self._is_working():
            self._next_at = None
        elif self._next_at is None:
            self._next_at = time.monotonic() + float(self._random.uniform(0, LONGEST_WORK_S))
        elif time.monotonic() >= self._next_at:
            self._strike()

    @property
    def kills(self) -> Sequence[Outage]:
        return self._outages

    def _is_working(self) -> bool:
        return self._crew.workers[0].is_working(IDLE_S)

    def _strike(self) -> None:
        at = servers.kill(self._stack, self._server)
        self._come_back(at)

    def _come_back(self, at: float) -> None:
        time.sleep(float(self._random.uniform(0, LONGEST_OUTAGE_S)))
        self._outages.append(Outage(at, servers.restart(self._stack)))


class Forgetting(ServerKills):
    """Redis dies and has lost its last second. The worker dies with it, or at one of the points while it catches up."""

    def __init__(
        self, crew: Crew, random: np.random.Generator, count: int, stack: LocalStack, points: Sequence[str]
    ) -> None:
        super().__init__(crew, random, count, stack, "redis")
        self._points = points

    def _strike(self) -> None:
        kept = servers.logged_bytes(self._stack)
        time.sleep(float(self._random.uniform(*FORGOTTEN_S)))
        if servers.logged_bytes(self._stack) == kept:
            return  # there would be nothing to forget
        at = servers.kill(self._stack, self._server)
        servers.cut_log(self._stack, kept)
        [worker] = self._crew.workers
        if self._random.random() < 0.5:
            worker.kill()
        else:
            worker.order(random_order(self._random, len(self._outages), self._points))
        self._come_back(at)
