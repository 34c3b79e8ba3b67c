"""Where a process of a role can be killed, and the killing: kill -9 of itself around a step of the real role."""

import asyncio
import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, NamedTuple

__all__ = ["Doom", "Order", "Point", "wrap"]

#: A step that was over before its death is tried again, and death comes sooner.
SOONER = 0.6


def always(*args: Any) -> bool:
    return True


class Point(NamedTuple):
    """A moment of the method `step` of `owner`; `counts`, given its arguments, says whether the call is meant."""

    owner: type
    step: str
    moment: Literal["before", "inside", "after"]
    counts: Callable[..., bool] = always


class Order(NamedTuple):
    """To die at `point` when it has been passed so many times, and the delay is over."""

    number: int
    point: str
    passes: int
    delay_s: float

    def give(self, file: Path) -> None:
        draft = file.with_suffix(".draft")
        draft.write_text(json.dumps(self._asdict()))
        draft.replace(file)


class Doom:
    """Carries out the order in a file, which may be there at the start or come later; `note` is told just before."""

    def __init__(self, file: Path, note: Callable[[str], None]) -> None:
        self._file = file
        self._note = note
        self._order: Order | None = None
        self._passes = 0
        self._sooner = 1.0

    def delay(self, point: str) -> float | None:
        """Seconds from now until death where this passage is the one, else None."""
        order = self._read()
        if order is None or order.point != point:
            return None
        self._passes += 1
        return order.delay_s * self._sooner if self._passes > order.passes else None

    def strike(self) -> None:
        self._note("killed")
        os.kill(os.getpid(), signal.SIGKILL)

    @contextmanager
    def inside(self, point: str) -> Iterator[None]:
        """Death during the body; one that ends earlier was not the one."""
        delay = self.delay(point)
        if delay is None:
            yield
            return
        timer = threading.Timer(delay, self.strike)
        timer.start()
        try:
            yield
        finally:
            timer.cancel()
            self._sooner *= SOONER

    def _read(self) -> Order | None:
        try:
            order = Order(**json.loads(self._file.read_text()))
        except FileNotFoundError:
            return None
        if order != self._order:
            self._order, self._passes, self._sooner = order, 0, 1.0
        return order


def wrap(points: Mapping[str, Point], doom: Doom) -> None:
    """Put the points around the steps of their owners."""
    for name, point in points.items():
        original = getattr(point.owner, point.step)
        dying = _dying_async if asyncio.iscoroutinefunction(original) else _dying
        setattr(point.owner, point.step, dying(original, name, point, doom))


def _dying(original: Callable[..., Any], name: str, point: Point, doom: Doom) -> Callable[..., Any]:
    def meet(moment: str) -> None:
        if point.moment == moment and (delay := doom.delay(name)) is not None:
            time.sleep(delay)
            doom.strike()

    def step(*args: Any, **kwargs: Any) -> Any:
        if not point.counts(*args):
            return original(*args, **kwargs)
        if point.moment == "inside":
            with doom.inside(name):
                return original(*args, **kwargs)
        meet("before")
        result = original(*args, **kwargs)
        meet("after")
        return result

    return step


def _dying_async(original: Callable[..., Any], name: str, point: Point, doom: Doom) -> Callable[..., Any]:
    async def meet(moment: str) -> None:
        if point.moment == moment and (delay := doom.delay(name)) is not None:
            await asyncio.sleep(delay)  # others go on meanwhile
            doom.strike()

    async def step(*args: Any, **kwargs: Any) -> Any:
        if not point.counts(*args):
            return await original(*args, **kwargs)
        if point.moment == "inside":
            with doom.inside(name):
                return await original(*args, **kwargs)
        await meet("before")
        result = await original(*args, **kwargs)
        await meet("after")
        return result

    return step
