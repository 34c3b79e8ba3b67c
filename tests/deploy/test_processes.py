"""Processes are recognised by pid and start, and ports found free."""

import dataclasses
import socket
import sys
import threading
from pathlib import Path

import psutil
import pytest

from deploy.local import processes
from deploy.local.errors import StackError
from deploy.local.state import Process

SLEEP = [sys.executable, "-c", "import time; time.sleep(60)"]


@pytest.fixture
def sleeper(tmp_path: Path):
    log = tmp_path / "sleeper.log"
    pid, started = processes.spawn(SLEEP, log)
    yield Process("sleeper", "role", pid, started, str(log))
    if psutil.pid_exists(pid):
        psutil.Process(pid).kill()


def test_stop_ends_the_recorded_process(sleeper: Process) -> None:
    assert processes.is_running(sleeper)
    processes.stop(sleeper, grace_s=5)
    assert not processes.is_running(sleeper)


def test_a_recycled_pid_is_not_stopped(sleeper: Process) -> None:
    recorded_before = dataclasses.replace(sleeper, started=sleeper.started - 60)
    assert not processes.is_running(recorded_before)
    processes.stop(recorded_before, grace_s=1)
    assert processes.is_running(sleeper)


def test_stop_kills_what_ignores_it_and_what_it_leaves_behind(tmp_path: Path) -> None:
    script = (
        "import signal, subprocess, sys, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']); "
        "print(child.pid, flush=True); time.sleep(60)"
    )
    log = tmp_path / "stubborn.log"
    pid, started = processes.spawn([sys.executable, "-c", script], log)
    stubborn = Process("stubborn", "role", pid, started, str(log))
    processes.wait_until_healthy(stubborn, lambda: log.read_text().endswith("\n"), 10, threading.Event())
    child = psutil.Process(int(log.read_text()))
    processes.stop(stubborn, grace_s=0.2)
    assert not processes.is_running(stubborn)
    assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE


def test_a_process_that_ends_at_start_shows_its_last_lines(tmp_path: Path) -> None:
    log = tmp_path / "logs" / "broken.log"
    pid, started = processes.spawn([sys.executable, "-c", "raise SystemExit('no such disk')"], log)
    broken = Process("broken", "role", pid, started, str(log))
    with pytest.raises(StackError, match=r"broken ended while starting(.|\n)*no such disk"):
        processes.wait_until_healthy(broken, lambda: False, 10, threading.Event())


def test_the_log_of_the_run_before_is_kept(tmp_path: Path) -> None:
    log = tmp_path / "twice.log"
    for word in ("first", "second"):
        pid, started = processes.spawn([sys.executable, "-c", f"print('{word}')"], log)
        processes.stop(Process("twice", "role", pid, started, str(log)), grace_s=0)
    assert (tmp_path / "twice.log.1").exists()


def test_free_ports_are_distinct_and_not_those_in_use() -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        assert not processes.port_is_free(server.getsockname()[1])
    ports = processes.free_ports(20)
    assert len(set(ports)) == 20
    assert set(processes.free_ports(5, besides=ports)).isdisjoint(ports)
