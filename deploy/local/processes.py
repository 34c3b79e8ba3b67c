"""Start, recognise and stop detached processes; find free ports."""

from __future__ import annotations

import os
import random
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import psutil

from deploy.local.errors import StackError
from deploy.local.state import Process

__all__ = [
    "find",
    "free_ports",
    "is_running",
    "last_lines",
    "port_becomes_free",
    "port_is_free",
    "spawn",
    "stop",
    "wait_until_healthy",
]

# Two processes with one pid cannot have started within this time of each other.
SAME_START_S = 1.0


def spawn(argv: Sequence[str], log: Path, env: Mapping[str, str] | None = None) -> tuple[int, float]:
    """Start `argv` in a session of its own, so that it outlives the terminal; output goes to `log`.

    The log of the run before is kept beside it as `<name>.log.1`. `env` is added to this process's own.
    Returns the pid and the start in seconds after boot.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    if log.exists():
        log.replace(log.with_name(log.name + ".1"))
    with log.open("wb") as output:
        child = subprocess.Popen(
            list(argv),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, **(env or {})},
            start_new_session=True,
        )
    started = seconds_after_boot(psutil.Process(child.pid))
    # Reaps the child should it end before us; otherwise it stays behind as a zombie.
    threading.Thread(target=child.wait, daemon=True, name=f"reaper-{child.pid}").start()
    return child.pid, started


def seconds_after_boot(process: psutil.Process) -> float:
    """When a process started; unlike its wall-clock time this survives a correction of the clock."""
    return process.create_time() - psutil.boot_time()


def find(process: Process) -> psutil.Process | None:
    """The running process that was recorded; None if it ended, whoever has its pid now."""
    try:
        found = psutil.Process(process.pid)
        same = abs(seconds_after_boot(found) - process.started) < SAME_START_S
        return found if same and found.status() != psutil.STATUS_ZOMBIE else None
    except psutil.NoSuchProcess:
        return None


def is_running(process: Process) -> bool:
    """Whether the recorded process still runs."""
    return find(process) is not None


def stop(process: Process, grace_s: float) -> None:
    """Ask the recorded process to end, wait `grace_s` seconds, then kill it and what it left behind."""
    found = find(process)
    if found is None:
        return
    try:
        family = [found, *found.children(recursive=True)]
        found.terminate()
    except psutil.NoSuchProcess:
        return
    psutil.wait_procs([found], timeout=grace_s)
    for survivor in family:
        kill(survivor)
    psutil.wait_procs(family, timeout=5)


def kill(process: psutil.Process) -> None:
    """Kill a process that may have ended already; psutil itself checks that the pid is still its own."""
    try:
        process.kill()
    except psutil.NoSuchProcess:
        return


def wait_until_healthy(
    process: Process, is_healthy: Callable[[], bool], timeout_s: float, cancelled: threading.Event
) -> None:
    """Return once `is_healthy`; raise StackError, with the end of the log, if it ends or takes too long."""
    deadline = time.monotonic() + timeout_s
    while not is_healthy():
        if cancelled.is_set():
            raise StackError(f"{process.name}: interrupted while starting")
        log = Path(process.log)
        if not is_running(process):
            raise StackError(f"{process.name} ended while starting{last_lines(log)}")
        if time.monotonic() > deadline:
            stop(process, grace_s=5)
            raise StackError(f"{process.name} was not ready within {timeout_s:.0f} s{last_lines(log)}")
        time.sleep(0.1)


def last_lines(log: Path, count: int = 20) -> str:
    """The end of a log, introduced for an error message."""
    lines = log.read_text(errors="replace").splitlines()[-count:] if log.exists() else []
    if not lines:
        return f"; its log {log} is empty"
    return "\n".join([f". The last lines of {log}:", *(f"    {line}" for line in lines)])


def port_is_free(port: int) -> bool:
    """Whether a server could listen on this loopback port now."""
    with socket.socket() as probe:
        # As servers do: a connection of the server before, in TIME_WAIT, does not take the port.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def port_becomes_free(port: int, timeout_s: float) -> bool:
    """Whether a port is free by now or soon: a killed process lets go of its sockets a moment later."""
    deadline = time.monotonic() + timeout_s
    while not port_is_free(port):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def free_ports(count: int, besides: Iterable[int] = ()) -> list[int]:
    """Distinct loopback ports nobody listens on, none of them in `besides`."""
    taken = set(besides)
    candidates = (port for port in iter(_any_port, None) if port not in taken and port_is_free(port))
    ports: list[int] = []
    while len(ports) < count:
        ports.append(next(candidates))
        taken.add(ports[-1])
    return ports


def _any_port() -> int:
    # Below the ports systems give to outgoing connections, one of which could sit on ours while we are down.
    return random.SystemRandom().randrange(20_000, 30_000)
