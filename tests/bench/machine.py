"""What a figure was measured on."""

import os
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tests.bench.quix_environment import versions

__all__ = ["facts"]

PACKAGES = ("faust-streaming", "aiokafka", "confluent-kafka", "fastavro", "pyruhvro", "redis", "clickhouse-connect")


def facts() -> dict[str, Any]:
    """Processor, Python and packages; how busy the machine was in the last minute, by its run queue."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "load_average_1m": os.getloadavg()[0],
        "system": platform.platform(),
        "python": platform.python_version(),
        "packages": {name: version(name) for name in PACKAGES},
        "quix_environment": versions(),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.machine())
