"""A subject's side of a measurement: a process of its own, on a core of its own.

It says that it is ready, waits for the word to begin, and writes its result as a line of JSON. When its standard
input closes it stops. Imports the standard library only: Quix Streams has an environment of its own.
"""

import json
import os
import resource
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.bench.subjects.watching import Profile, Series

WATCHERS: dict[str, Callable[["Stopwatch"], Any]] = {
    "": nullcontext,
    "profile": lambda stopwatch: Profile(),
    "memory": lambda stopwatch: Series(lambda: (stopwatch.count, memory_mb())),
}


@dataclass(frozen=True)
class Job:
    """What a subject is to do.

    topic, output: Kafka's names of the topic to read, and of one that may be written.
    events: how many records are on the topic, or are to be published.
    directory: for files of its own.
    core: the one it may use, where it can be said. watch: a name in WATCHERS.
    """

    servers: str
    topic: str
    output: str
    group: str
    events: int
    directory: str
    core: int | None = None
    watch: str = ""


@dataclass
class Stopwatch:
    """Runs from the moment a subject has its partitions, and begins to fetch, until the last record is done.

    Not from the first record it is handed: a client may have fetched and unpacked a good part of the topic by then.
    Done is: counted, or what became of it is stored, inserted, or acknowledged by Kafka.
    """

    expected: int
    count: int = 0
    #: Seconds by a clock that all processes share, and records done since the one before.
    steps: list[tuple[float, int]] = field(default_factory=list)
    is_told_to_stop: threading.Event = field(default_factory=threading.Event)
    _began_s: float | None = None
    _began_cpu_s: float = 0.0
    _ended_cpu_s: float = 0.0

    def start(self) -> None:
        """Start-up is over. Only the first call counts."""
        if self._began_s is None:
            self._began_cpu_s, self._began_s = time.process_time(), time.monotonic()

    def add(self, records: int) -> None:
        """These are done."""
        self.count += records
        self.steps.append((time.monotonic(), records))
        self._ended_cpu_s = time.process_time()

    @property
    def is_over(self) -> bool:
        """Everything is done, or somebody else has done the rest."""
        return self.count >= self.expected or self.is_told_to_stop.is_set()

    def result(self) -> dict[str, Any]:
        """As the measuring process reads it."""
        return {
            "count": self.count,
            "began_s": self._began_s,
            "steps": self.steps,
            "cpu_s": self._ended_cpu_s - self._began_cpu_s,
        }


Subject = Callable[[Job, Stopwatch], None]


def main(subjects: Mapping[str, Subject]) -> None:
    """Run the subject that the command line names, on the job that it gives."""
    name, job = sys.argv[1], Job(**json.loads(sys.argv[2]))
    if job.core is not None:
        os.sched_setaffinity(0, {job.core})
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever libraries print goes to the log
    print("ready", file=answers, flush=True)
    sys.stdin.readline()
    stopwatch = Stopwatch(job.events)
    threading.Thread(target=_await_end, args=[stopwatch], daemon=True).start()
    with WATCHERS[job.watch](stopwatch) as watcher:
        subjects[name](job, stopwatch)
    seen = watcher.result() if watcher else None
    print(json.dumps(stopwatch.result() | {"peak_rss_mb": peak_memory_mb(), "watched": seen}), file=answers, flush=True)


def peak_memory_mb() -> float:
    """The most this process has held.

    Not `ru_maxrss` where it can be avoided: to Linux that includes what the parent held when it started us.
    """
    try:
        return _status("VmHWM")
    except OSError:
        unit = 1 << 20 if sys.platform == "darwin" else 1 << 10
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


def memory_mb() -> float:
    """What this process holds now."""
    return _status("VmRSS")


def _status(name: str) -> float:
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name))
    return int(line.split()[1]) * 1024 / 1e6


def _await_end(stopwatch: Stopwatch) -> None:
    sys.stdin.read()
    stopwatch.is_told_to_stop.set()
