"""`python -m tests.bench [NAME ...]`, or `make bench`: measures, prints a table, writes build/bench.json."""

import json
import platform
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.bench import codec
from tests.bench.timing import Measurement

BENCHMARKS: dict[str, Callable[[], Iterator[Measurement]]] = {"codec": codec.run}
REPORT = Path("build") / "bench.json"


def main(names: Sequence[str]) -> None:
    """Run these benchmarks, or all."""
    if unknown := set(names) - BENCHMARKS.keys():
        sys.exit(f"no benchmark {', '.join(sorted(unknown))}; there are {', '.join(BENCHMARKS)}")
    console = Console()
    report = json.loads(REPORT.read_text()) if REPORT.exists() else {}
    report["python"] = platform.python_version()
    for name in names or BENCHMARKS:
        found = list(BENCHMARKS[name]())
        console.print(_table(name, found))
        report[name] = [item._asdict() for item in found]
    REPORT.parent.mkdir(exist_ok=True)
    REPORT.write_text(json.dumps(report, indent=2) + "\n")
    console.print(f"written to {REPORT}")


def _table(name: str, found: Sequence[Measurement]) -> Table:
    """A row for what was measured, a column for the data it was measured on."""
    kinds = list(dict.fromkeys(item.data for item in found))
    rows: dict[str, dict[str, float]] = {}
    for item in found:
        rows.setdefault(item.what, {})[item.data] = item.ns_per_record
    table = Table("ns a record", *kinds, title=name)
    for column in table.columns[1:]:
        column.justify = "right"
    for what, by_kind in rows.items():
        table.add_row(what, *(f"{by_kind[kind]:,.0f}" if kind in by_kind else "" for kind in kinds))
    return table


if __name__ == "__main__":
    main(sys.argv[1:])
