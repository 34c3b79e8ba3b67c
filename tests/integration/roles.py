"""Roles as processes of a test's own, and waiting for what they do."""

import os
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from streams.clickhouse import connect
from streams.offsets import Offsets
from streams.settings import Settings

TIMEOUT_S = 300.0
COMMANDS = {
    **{name: ["worker", name] for name in ("attribution", "credit", "totals")},
    "loader": ["load"],
}


class Role:
    """A running role; its log is kept for a failure's sake."""

    def __init__(self, name: str, log: Path) -> None:
        self.log = log
        with log.open("w") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "streams.cli.main", *COMMANDS[name]],
                stdout=output,
                stderr=subprocess.STDOUT,
                env=dict(os.environ),
            )

    def stop(self) -> None:
        """End it as an operator would."""
        self.process.terminate()
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def is_serving(self) -> bool:
        """Whether it has come so far that it serves metrics."""
        return "/metrics" in self.log.read_text()

    def metric(self, name: str) -> float:
        """The value of a metric of this role; zero where it has not been counted."""
        address = re.search(r"http://\S+/metrics", self.log.read_text())
        assert address, self.log.read_text()
        with urllib.request.urlopen(address[0], timeout=5) as response:
            lines = response.read().decode().splitlines()
        return next((float(line.rpartition(" ")[2]) for line in lines if line.startswith(f"{name} ")), 0.0)

    def require_running(self) -> None:
        """Fail at once, with the log, where it has stopped by itself."""
        assert self.process.poll() is None, f"stopped by itself:\n{self.log.read_text()[-4000:]}"


@contextmanager
def running(directory: Path, *names: str) -> Iterator[list[Role]]:
    """These roles, stopped at the end."""
    roles = [Role(name, directory / f"{name}-{number}.log") for number, name in enumerate(names)]
    try:
        yield roles
    finally:
        for role in roles:
            role.process.terminate()
        for role in roles:
            role.stop()


def wait_until(condition: Callable[[], bool], roles: list[Role], what: str) -> None:
    """Poll until it holds. Fails where a role stops or time runs out."""
    deadline = time.monotonic() + TIMEOUT_S
    while not condition():
        for role in roles:
            role.require_running()
        logs = "\n".join(role.log.read_text()[-1500:] for role in roles)
        assert time.monotonic() < deadline, f"{what} did not happen within {TIMEOUT_S:g} s:\n{logs}"
        time.sleep(0.1)


def wait_until_attributed(settings: Settings, roles: list[Role]) -> None:
    """Until the attribution role has committed all there is on its inputs, retries and matches of its own included."""
    with Offsets(settings) as offsets:
        wait_until(
            lambda: all(
                offsets.committed("attribution", name) == offsets.ends(name)
                for name in ("clicks", "conversions", "crm-events", "deal-matches", "attribution.retry")
            ),
            roles,
            "attribution of everything published",
        )


def wait_until_loaded(settings: Settings, roles: list[Role], *contracts: str) -> None:
    """Until the loader's own account of its progress covers these topics."""

    def loaded() -> bool:
        with connect(settings) as clickhouse:
            rows = clickhouse.query("SELECT topic, partition, end_offset FROM freshness").to_pylist()
        done = {(row["topic"], row["partition"]): row["end_offset"] for row in rows}
        return all(
            done.get((name, partition), 0) >= end for name in contracts for partition, end in offsets.ends(name).items()
        )

    def exists() -> bool:
        with connect(settings) as clickhouse:
            tables = f"SELECT name FROM system.tables WHERE database = '{clickhouse.database}'"
            return "freshness" in clickhouse.query(tables).column("name").to_pylist()

    with Offsets(settings) as offsets:
        wait_until(exists, roles, "the loader's tables")
        wait_until(loaded, roles, f"loading of {', '.join(contracts)}")
