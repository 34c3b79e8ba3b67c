"""The whole stack on one machine without Docker: Kafka, schema registry, Redis, ClickHouse, and the roles."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from deploy.local.clickhouse import ClickHouse
from deploy.local.errors import StackError
from deploy.local.kafka import Kafka
from deploy.local.processes import free_ports, is_running, port_becomes_free, spawn, stop, wait_until_healthy
from deploy.local.redis import Redis
from deploy.local.registry import Registry
from deploy.local.server import Server
from deploy.local.state import DEFAULT_DIRECTORY, Kind, Process, State, StateFile, exclusive, read_state

__all__ = ["LocalStack", "ServiceStatus", "StackError", "read_state"]

Report = Callable[[str], None]
Health = Literal["healthy", "unhealthy", "starting", "running", "dead", "stopped"]

SERVER_PORTS = {
    "kafka": ("kafka", "kafka-controller"),
    "registry": ("registry", "registry-management"),
    "redis": ("redis",),
    "clickhouse": ("clickhouse",),
}

# Kafka writes its recovery points on the way down; killed, it reads its whole log at the next start.
STOP_GRACE_S = 30.0

PORT_GRACE_S = 2.0


@dataclass(frozen=True)
class ServiceStatus:
    """One line of `status`.

    `health`: a server is 'healthy' or 'unhealthy' by its own check, and 'starting' until it first passed;
    a role that has become ready is 'running'; 'dead' ended by itself; 'stopped' was stopped or never started.
    """

    name: str
    kind: Kind
    health: Health
    address: str | None
    pid: int | None
    data: Path | None
    log: Path


class LocalStack:
    """The servers and roles whose data, logs and state file are in `directory`.

    Everything listens on the loopback interface only. Commands on one directory exclude each other, from
    whichever process they are given.
    """

    def __init__(self, directory: Path = DEFAULT_DIRECTORY) -> None:
        self.directory = directory.absolute()
        self._state = StateFile(self.directory)
        self._cancelled = threading.Event()

    def up(self, report: Report) -> None:
        """Start the servers that do not run, and return when all are healthy.

        Healthy servers are left alone; data and ports are kept. `report` receives lines of progress, from
        several threads. Raises StackError.
        """
        with self._exclusive(report):
            ports = self._claim_ports(report)
            servers = self._servers(ports)
            self._cancelled.clear()
            line = self._unless_cancelled(report)
            with ThreadPoolExecutor(len(servers)) as pool:
                starts = [pool.submit(self._ensure, server, line) for server in servers]
                try:
                    wait(starts)
                except BaseException:
                    self._cancelled.set()
                    raise
            _raise_errors(starts)

    def down(self, wipe: bool = False) -> None:
        """Stop the roles, youngest first, then the servers; `wipe` also removes data, logs and ports."""
        with self._exclusive():
            state = self._state.read()
            for process in reversed(state.processes):
                if process.kind == "role":
                    self._stop(process)
            servers = [process for process in state.processes if process.kind == "server"]
            with ThreadPoolExecutor(max(len(servers), 1)) as pool:
                list(pool.map(self._stop, servers))
            if wipe:
                self._wipe()

    def status(self) -> list[ServiceStatus]:
        """The servers, then the roles in their order of start."""
        state = self._state.read()
        servers = {server.name: server for server in self._servers(state.ports)} if state.ports else {}
        roles = [process.name for process in state.processes if process.kind == "role"]
        names = [*SERVER_PORTS, *roles]
        with ThreadPoolExecutor(len(names)) as pool:
            return list(pool.map(lambda name: self._status(name, state, servers.get(name)), names))

    def addresses(self) -> Mapping[str, str]:
        """Where `kafka`, `registry`, `redis` and `clickhouse` are reached.

        Raises StackError before the first `up`.
        """
        addresses = self._state.read().addresses()
        if not addresses:
            raise StackError(f"No stack has been started in {self.directory}")
        return addresses

    def start_process(
        self,
        name: str,
        argv: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        address: str | None = None,
        is_healthy: Callable[[], bool] | None = None,
        timeout_s: float = 60.0,
    ) -> Process:
        """Run a role under this stack, and return when `is_healthy`, if given.

        One that runs already is left alone. `env` is added to this process's environment. Raises StackError,
        with the end of its log, if it ends or is not healthy in time.
        """
        if name in SERVER_PORTS:
            raise StackError(f"{name} is the name of a server")
        with self._exclusive():
            process = self._state.read().process(name)
            if process is None or not is_running(process):
                process = self._spawn(name, "role", argv, env=env, address=address)
        wait_until_healthy(process, is_healthy or (lambda: True), timeout_s, threading.Event())
        with self._exclusive():
            self._state.update(lambda state: state.with_ready(name))
        return process

    def _unless_cancelled(self, report: Report) -> Report:
        """`report`, which ends a download or a start that nobody waits for any more."""

        def line(text: str) -> None:
            if self._cancelled.is_set():
                raise StackError("interrupted")
            report(text)

        return line

    @contextmanager
    def _exclusive(self, report: Report = lambda line: None) -> Iterator[None]:
        waiting = f"waiting for another command on {self.directory}"
        with exclusive(self.directory / "lock", lambda: report(waiting)):
            yield

    def _servers(self, ports: Mapping[str, int]) -> list[Server]:
        data = self.directory / "data"
        return [
            Registry(data / "registry", ports),
            Kafka(data / "kafka", ports),
            ClickHouse(data / "clickhouse", ports),
            Redis(data / "redis", ports),
        ]

    def _claim_ports(self, report: Report) -> Mapping[str, int]:
        """Keep each server's ports unless somebody else took them while it was down."""
        state = self._state.read()
        ports = dict(state.ports)
        for name, port_names in SERVER_PORTS.items():
            process = state.process(name)
            if process is not None and is_running(process):
                continue
            if all(port in ports and port_becomes_free(ports[port], PORT_GRACE_S) for port in port_names):
                continue
            if port_names[0] in ports:
                report(f"{name}: port {ports[port_names[0]]} is taken by another program, choosing a new one")
            ports |= zip(port_names, free_ports(len(port_names), besides=ports.values()), strict=True)
        return self._state.update(lambda state: replace(state, ports=ports)).ports

    def _ensure(self, server: Server, report: Report) -> None:
        """Start one server unless it runs, and wait until it is healthy."""
        began = time.monotonic()
        process = self._state.read().process(server.name)
        if process is None or not is_running(process):
            command = server.command(report)
            address = self._state.read().addresses()[server.name]
            process = self._spawn(server.name, "server", command, address=address, data=server.data)
        wait_until_healthy(process, server.is_healthy, server.start_timeout_s, self._cancelled)
        self._state.update(lambda state: state.with_ready(server.name))
        report(f"{server.name} is ready at {process.address} ({time.monotonic() - began:.1f} s)")

    def _spawn(
        self,
        name: str,
        kind: Kind,
        argv: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        address: str | None = None,
        data: Path | None = None,
    ) -> Process:
        """Start a process and record it at once, so that whatever happens next, `down` finds it."""
        log = self._log(name)
        pid, started = spawn(argv, log, env)
        process = Process(name, kind, pid, started, str(log), address, str(data) if data else None)
        self._state.update(lambda state: state.with_process(process))
        return process

    def _stop(self, process: Process) -> None:
        stop(process, STOP_GRACE_S)
        self._state.update(lambda state: state.without(process.name))

    def _wipe(self) -> None:
        """Remove what this stack made; the lock file stays, as a waiting command holds it open."""
        for made in ("data", "logs"):
            shutil.rmtree(self.directory / made, ignore_errors=True)
        (self.directory / "stack.json").unlink(missing_ok=True)

    def _status(self, name: str, state: State, server: Server | None) -> ServiceStatus:
        process = state.process(name)
        return ServiceStatus(
            name=name,
            kind="server" if name in SERVER_PORTS else "role",
            health=_health(process, server),
            address=process.address if process else state.addresses().get(name),
            pid=process.pid if process and is_running(process) else None,
            data=server.data if server else None,
            log=self._log(name),
        )

    def _log(self, name: str) -> Path:
        return self.directory / "logs" / f"{name}.log"


def _health(process: Process | None, server: Server | None) -> Health:
    if process is None:
        return "stopped"
    if not is_running(process):
        return "dead"
    if server is not None and server.is_healthy():
        return "healthy"
    if not process.ready:
        return "starting"
    return "unhealthy" if server is not None else "running"


def _raise_errors(starts: Sequence[Future[None]]) -> None:
    """Raise what went wrong in all of `starts` as one error: fixing them one by one takes a run each."""
    errors = [error for start in starts if (error := start.exception()) is not None]
    if len(errors) == 1:
        raise errors[0]
    if errors:
        raise StackError("\n".join(str(error) for error in errors)) from errors[0]
