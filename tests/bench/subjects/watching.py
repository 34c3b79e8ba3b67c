"""What is looked at while a subject runs: where its processor time goes, or how much memory it holds.

Imports the standard library only.
"""

import re
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any, Self

SAMPLE_S = 0.004
SWITCH_S = 5e-6
SERIES_S = 2.0
TOP = 30
#: Below everything, and of no interest: what runs threads and event loops.
PLUMBING = re.compile(r"/asyncio/|/threading\.py|/concurrent/|/mode/|runpy|importlib|/tests/bench/")


class _Sampler:
    """Calls `sample` every so often, in a thread, for as long as it is open."""

    def __init__(self, every_s: float) -> None:
        self._every_s = every_s
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._stopped.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopped.wait(self._every_s):
            self.sample()

    def sample(self) -> None:
        raise NotImplementedError


class Series(_Sampler):
    """Events done and memory held, every two seconds."""

    def __init__(self, read: Callable[[], tuple[int, float]]) -> None:
        super().__init__(SERIES_S)
        self._read = read
        self._points: list[tuple[int, float]] = []

    def sample(self) -> None:
        self._points.append(self._read())

    def result(self) -> list[tuple[int, float]]:
        """(events, megabytes), in their order."""
        return self._points


class Profile(_Sampler):
    """A sampling profiler of all threads that run Python.

    Each thread's processor time since the last look goes to where the thread is now, so that waiting costs
    nothing. A call into C that holds the interpreter counts for the line that makes it. Threads that run no Python,
    such as librdkafka's, are only in the total.
    """

    def __init__(self) -> None:
        super().__init__(SAMPLE_S)
        self._began_cpu_s = time.process_time()
        self._cpu_s: dict[int, float] = {}
        self._own: Counter[str] = Counter()
        self._with_callees: Counter[str] = Counter()

    def __enter__(self) -> Self:
        # Or we would only ever look when a thread waits, which is where it lets others run by itself.
        sys.setswitchinterval(SWITCH_S)
        return super().__enter__()

    def sample(self) -> None:
        for thread, frame in sys._current_frames().items():
            if thread == threading.get_ident() or (spent := self._spent(thread)) <= 0:
                continue
            self._own[_place(frame, frame.f_lineno)] += spent
            called = (each for each in _stack(frame) if not PLUMBING.search(each.f_code.co_filename))
            for name in {_place(each, each.f_code.co_firstlineno) for each in called}:
                self._with_callees[name] += spent

    def _spent(self, thread: int) -> float:
        try:
            now = time.clock_gettime(time.pthread_getcpuclockid(thread))
        except OSError:  # it has ended
            return 0.0
        before = self._cpu_s.get(thread)
        self._cpu_s[thread] = now
        return 0.0 if before is None else now - before

    def result(self) -> dict[str, Any]:
        """Seconds of processor time by line, and by function with all it calls; the greatest first."""
        return {
            "total_s": time.process_time() - self._began_cpu_s,
            "sampled_s": sum(self._own.values()),
            "lines": self._own.most_common(TOP),
            "functions": self._with_callees.most_common(2 * TOP),
        }


def _stack(frame: FrameType | None) -> Iterator[FrameType]:
    while frame is not None:
        yield frame
        frame = frame.f_back


def _place(frame: FrameType, line: int) -> str:
    path = Path(frame.f_code.co_filename)
    return f"{frame.f_code.co_qualname} ({'/'.join(path.parts[-3:])}:{line})"
