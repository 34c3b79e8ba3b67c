"""`python -m tests.crash [--events N] [--kills K] [--seed S] [WINDOW ...]`, or `make crash`: kills processes at named
windows under load, holds what comes out against what went in, prints a table, writes build/crash.json.
"""

import argparse
import json
import platform
import re
import shutil
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from deploy.local.stack import LocalStack
from tests.crash.run import run_window
from tests.crash.windows import WINDOWS

REPORT = Path("build") / "crash.json"
COLUMNS = ("sent", "found", "missing", "doubled", "dead_lettered", "kills")


def main() -> None:
    """Run these windows, or all."""
    parser = argparse.ArgumentParser(prog="python -m tests.crash", description=__doc__)
    parser.add_argument("--events", type=int, default=300_000, help="published in each window (default: %(default)s)")
    parser.add_argument("--kills", type=int, default=5, help="in each window (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of the load and of every moment (default: %(default)s)")
    parser.add_argument("windows", metavar="WINDOW", nargs="*", help="beginning of a name; all where none is given")
    options = parser.parse_args()
    chosen = [name for name in WINDOWS if not options.windows or name.startswith(tuple(options.windows))]
    if not chosen:
        parser.error(f"no such window; there are: {', '.join(WINDOWS)}")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # servers and workers go with us
    console = Console(width=None if sys.stdout.isatty() else 160)
    report = json.loads(REPORT.read_text()) if REPORT.exists() and options.windows else {}
    report["python"] = platform.python_version()
    report.setdefault("windows", {})
    with TemporaryDirectory() as directory:
        stack = LocalStack(Path(directory))
        try:
            stack.up(lambda line: console.print(f"  {line}", highlight=False))
            for name in chosen:
                report["windows"][name] = _run(console, name, stack, options)
                _write(report)
        finally:
            stack.down()
    found = {name: report["windows"][name] for name in chosen}
    console.print(_table(found))
    for name, window in found.items():
        for line in (*window["problems"], *window["examples"]):
            console.print(f"{name}: {line}", highlight=False, markup=False)
    console.print(f"written to {REPORT}")
    sys.exit(not all(window["is_well"] for window in found.values()))


def _run(console: Console, name: str, stack: LocalStack, options: argparse.Namespace) -> dict[str, Any]:
    with console.status(name) as status:
        outcome = run_window(
            name,
            WINDOWS[name],
            stack,
            _logs(name),
            events=options.events,
            kills=options.kills,
            seed=options.seed,
            tell=lambda text: status.update(f"{name}: {text}"),
        )
    word = "well" if outcome.is_well else "[red]NOT WELL[/red]"
    console.print(f"{name}: {word}, {outcome.kills} kills, {outcome.seconds:.0f} s")
    return outcome.report()


def _logs(name: str) -> Path:
    """An empty directory for a window's logs."""
    directory = REPORT.parent / "crash" / re.sub(r"\W+", "-", name)
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    return directory


def _write(report: Mapping[str, Any]) -> None:
    REPORT.parent.mkdir(exist_ok=True)
    REPORT.write_text(json.dumps(report, indent=2) + "\n")


def _table(found: Mapping[str, Mapping[str, Any]]) -> Table:
    names = ("window", *(name.replace("_", " ") for name in COLUMNS), "recovery s", "max", "seconds")
    table = Table(*names, box=box.SIMPLE_HEAD, collapse_padding=True, pad_edge=False)
    for column in table.columns[1:]:
        column.justify = "right"
    for name, window in found.items():
        recovery = window["seconds_to_recover"]
        table.add_row(
            name if window["is_well"] else f"[red]{name}[/red]",
            *(f"{window[column]:,}" for column in COLUMNS),
            *("" if recovery[key] is None else f"{recovery[key]:.1f}" for key in ("median", "max")),
            f"{window['seconds']:.0f}",
        )
    return table


if __name__ == "__main__":
    main()
