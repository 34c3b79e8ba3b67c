"""ClickHouse: chdb, the engine as a library, behind our small HTTP endpoint."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from http.client import HTTPException
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

__all__ = ["ClickHouse"]


class ClickHouse:
    """The endpoint on `ports["clickhouse"]`, of one process: chdb lets no second one open the same data."""

    name = "clickhouse"
    start_timeout_s = 60.0

    def __init__(self, data: Path, ports: Mapping[str, int]) -> None:
        self.data = data
        self.port = ports["clickhouse"]

    def command(self, report: Callable[[str], None]) -> list[str]:
        """Nothing to fetch: the engine is a package."""
        self.data.mkdir(parents=True, exist_ok=True)
        arguments = ["--path", str(self.data), "--port", str(self.port)]
        return [sys.executable, "-P", "-m", "deploy.local.clickhouse_server", *arguments]

    def is_healthy(self) -> bool:
        """Whether it answers `/ping`, which it does once the engine has opened the data."""
        try:
            with urlopen(f"http://127.0.0.1:{self.port}/ping", timeout=2) as response:
                return bool(response.status == 200)
        except (URLError, HTTPException, OSError):
            return False
