"""Running subjects, each in a process of its own, and taking their results."""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from tests.bench.subjects.process import Job

__all__ = ["BenchmarkFailed", "cores", "run_processes"]

TIMEOUT_S = 7_200.0
POLL_S = 0.3


class BenchmarkFailed(Exception):
    """A subject did not do what it was asked to; there is no figure."""


def cores() -> list[int]:
    """Processor cores to pin subjects to, the highest first; none where the system does not let us."""
    return sorted(os.sched_getaffinity(0), reverse=True) if hasattr(os, "sched_getaffinity") else []


def run_processes(
    subject: tuple[str, str],
    jobs: Sequence[Job],
    environment: Mapping[str, str],
    *,
    on_started: Callable[[], None],
    is_done: Callable[[], bool],
    python: str = sys.executable,
) -> list[dict[str, Any]]:
    """What the processes of a subject, one for each job, report.

    subject: module of tests.bench.subjects, and the name it has there. `on_started` is called when all of them have
    been told to begin; several processes stop when `is_done`. Raises BenchmarkFailed.
    """
    module, name = subject
    command = [python, "-m", f"tests.bench.subjects.{module}", name]
    logs = [Path(job.directory) / f"{module}-{name}.log" for job in jobs]
    children = [
        _start([*command, json.dumps(asdict(job))], log, environment) for job, log in zip(jobs, logs, strict=True)
    ]
    overdue = threading.Timer(TIMEOUT_S, lambda: [child.kill() for child in children])
    overdue.start()
    try:
        for child, log in zip(children, logs, strict=True):
            _read(child, log)
        for child in children:
            _tell(child, "go\n")
        on_started()
        if len(children) > 1:
            _wait(children, is_done)
        return [json.loads(_read(child, log)) for child, log in zip(children, logs, strict=True)]
    finally:
        overdue.cancel()
        for child in children:
            _end(child)


def _start(command: Sequence[str], log: Path, environment: Mapping[str, str]) -> "subprocess.Popen[str]":
    with log.open("w") as errors:
        return subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            env={**os.environ, **environment},
            text=True,
        )


def _read(child: "subprocess.Popen[str]", log: Path) -> str:
    assert child.stdout
    line = child.stdout.readline()
    if not line:
        raise BenchmarkFailed(f"{' '.join(map(str, child.args[2:4]))} ended early:\n{log.read_text()[-3000:]}")
    return line


def _tell(child: "subprocess.Popen[str]", word: str) -> None:
    assert child.stdin
    child.stdin.write(word)
    child.stdin.flush()


def _wait(children: Sequence["subprocess.Popen[str]"], is_done: Callable[[], bool]) -> None:
    while not is_done() and all(child.poll() is None for child in children):
        time.sleep(POLL_S)
    for child in children:
        assert child.stdin
        child.stdin.close()


def _end(child: "subprocess.Popen[str]") -> None:
    """It has reported and is about to end, or is not needed any more."""
    try:
        child.wait(10)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
    for pipe in (child.stdin, child.stdout):
        if pipe and not pipe.closed:
            pipe.close()
