"""The names of metrics are a contract: the page that describes them and the code agree."""

import re
import urllib.request
from pathlib import Path

from prometheus_client import CollectorRegistry

from streams.metrics import RoleMetrics, serve_metrics

PAGE = Path(__file__).parents[2] / "docs" / "operations.md"


def declared() -> dict[str, tuple[str, ...]]:
    registry = CollectorRegistry()
    metrics = RoleMetrics(registry)
    found = {}
    for metric in vars(metrics).values():
        name = metric._name + ("_total" if metric._type == "counter" else "")
        found[name] = tuple(metric._labelnames)
    return found


def documented() -> dict[str, tuple[str, ...]]:
    rows = re.findall(r"^\| `(\w+)` \| ([\w, ]+) \|", PAGE.read_text(), re.MULTILINE)
    return {name: tuple(labels.split(", ")) for name, labels in rows}


def test_every_metric_is_documented_and_the_other_way_round() -> None:
    assert declared() == documented()


def test_the_port_is_served_and_said() -> None:
    port = serve_metrics("127.0.0.1", 0)
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as response:
        assert response.status == 200
