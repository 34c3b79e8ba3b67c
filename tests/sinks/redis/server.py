"""A Redis of a test's own, that can be killed and started again on what is left of its file."""

import subprocess
import time
from pathlib import Path

import redis

from deploy.local import redis as local
from deploy.local.processes import free_ports


class Server:
    """Started by `start`; `kill` is kill -9."""

    def __init__(self, directory: Path) -> None:
        self.port = free_ports(1)[0]
        self._server = local.Redis(directory, {"redis": self.port})
        self._directory = directory
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        command = self._server.command(print)
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 30
        while not self._server.is_healthy():
            assert time.monotonic() < deadline
            time.sleep(0.05)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def logged_bytes(self) -> int:
        """Of the append-only file, with all that was written by now in it."""
        with redis.Redis(port=self.port) as client:
            client.wait(0, 0)
        return self._log().stat().st_size

    def cut_log(self, size: int) -> None:
        """What a machine leaves that died before its last writes were on the disk."""
        with self._log().open("r+b") as log:
            log.truncate(size)

    def _log(self) -> Path:
        [log] = (self._directory / "appendonlydir").glob("*.incr.aof")
        return log
