"""Servers of a local stack, killed by their recorded process ids and started again."""

import os
import signal
import time
from pathlib import Path

import redis

from deploy.local.processes import find
from deploy.local.stack import LocalStack
from deploy.local.state import read_state

__all__ = ["cut_log", "kill", "logged_bytes", "restart"]


def kill(stack: LocalStack, name: str) -> float:
    """kill -9. Returns the monotonic time of it, seconds."""
    process = read_state(stack.directory).process(name)
    assert process is not None
    running = find(process)
    assert running is not None, f"{name} does not run"
    os.kill(running.pid, signal.SIGKILL)
    at = time.monotonic()
    while find(process) is not None:
        time.sleep(0.01)
    return at


def restart(stack: LocalStack) -> float:
    """Start what does not run. Returns the monotonic time at which all is healthy, seconds."""
    stack.up(lambda line: None)
    return time.monotonic()


def logged_bytes(stack: LocalStack) -> int:
    """Of Redis' append-only file, which is not written anew from here on: its tail could not be told otherwise."""
    with redis.Redis.from_url(stack.addresses()["redis"]) as client:
        client.config_set("auto-aof-rewrite-percentage", 0)
        client.wait(0, 0)
    return _log(stack).stat().st_size


def cut_log(stack: LocalStack, size: int) -> int:
    """Leave what a machine does that died before its last writes were on the disk. Returns how many bytes are lost."""
    lost = _log(stack).stat().st_size - size
    os.truncate(_log(stack), size)
    return lost


def _log(stack: LocalStack) -> Path:
    return max(
        (stack.directory / "data" / "redis" / "appendonlydir").glob("*.incr.aof"), key=lambda log: log.stat().st_mtime
    )
