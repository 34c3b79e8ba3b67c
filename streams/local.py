"""The local stack with the roles on it: what `spendloop up` and the demo start."""

import sys
import urllib.error
import urllib.request
from collections.abc import Callable
from functools import partial

from deploy.local.processes import free_ports
from deploy.local.stack import LocalStack
from streams.admin import apply_topics
from streams.roles import ROLES
from streams.settings import Settings, load_settings

__all__ = ["start_roles", "start_servers"]


def start_servers(stack: LocalStack, report: Callable[[str], None]) -> Settings:
    """Start the servers and apply the topics. Returns the settings that lead there."""
    stack.up(report)
    settings = load_settings()
    apply_topics(settings)
    return settings


def start_roles(stack: LocalStack, settings: Settings) -> None:
    """Start every role that does not run, and wait until each serves its metrics."""
    for role in ROLES.values():
        recorded = next((status for status in stack.status() if status.name == role.name), None)
        if recorded is not None and recorded.health == "running":
            continue
        port = free_ports(1)[0]
        address = f"http://127.0.0.1:{port}/metrics"
        stack.start_process(
            role.name,
            [sys.executable, "-m", "streams.cli.main", *role.command.split(), "--metrics-port", str(port)],
            address=address,
            is_healthy=partial(_answers, address),
        )


def _answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(address, timeout=2) as response:  # noqa: S310  # our own http address
            return bool(response.status == 200)
    except (urllib.error.URLError, OSError):
        return False
