"""`python -m tests.evaluation`, or `make evaluate`: what budget decisions are worth, into build/decisions.json.

python -m tests.evaluation                    everything on 200 seeds, as long as it takes
python -m tests.evaluation --minutes 8        as much as that allows; the next call goes on from there
python -m tests.evaluation --seeds 20 --first 5000
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from processors.simulation.decisions.plan import Cell, cells
from processors.simulation.decisions.score import Account, play, score_of

REPORT = Path("build") / "decisions.json"
PARTS = Path("build") / "decisions"
#: Seeds played between two looks at the clock.
PIECE = 50


def main(argv: Sequence[str]) -> None:
    """Play what is not played yet, and write the report once everything is."""
    arguments = _parse(argv)
    deadline = time.monotonic() + 60 * arguments.minutes
    plan = list(cells())
    for number, cell in enumerate(plan):
        for first in range(arguments.first, arguments.first + arguments.seeds, PIECE):
            count = min(PIECE, arguments.first + arguments.seeds - first)
            if _kept(f"{cell.title} {first}-{count}", lambda c=cell, f=first, n=count: _play(c, range(f, f + n))):
                continue
            if time.monotonic() > deadline:
                sys.exit(f"{number} of {len(plan)} cells are done; call it again to go on")
    _write(plan, arguments)
    print(f"written to {REPORT}")


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make evaluate", description=__doc__)
    parser.add_argument("--seeds", type=int, default=200, help="accounts of each cell")
    parser.add_argument("--first", type=int, default=100_000, help="number of the first; 5000 to 5999 were tuned on")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="stop after about that long")
    return parser.parse_args(argv)


def _path(name: str) -> Path:
    return PARTS / (name.replace(" ", "_").replace("%", "percent") + ".json")


def _kept(name: str, make: Callable[[], Any]) -> bool:
    """Whether this part was there before; if not, it is now."""
    path = _path(name)
    if path.exists():
        return True
    found = make()
    path.parent.mkdir(parents=True, exist_ok=True)
    waiting = path.with_suffix(".part")
    waiting.write_text(json.dumps(found) + "\n", encoding="utf-8")
    waiting.rename(path)
    return False


def _play(cell: Cell, seeds: range) -> list[list[Any]]:
    return [list(account) for account in play(cell.parameters, cell.make, seeds)]


def _write(plan: Sequence[Cell], arguments: argparse.Namespace) -> None:
    rows = []
    for cell in plan:
        accounts = []
        for first in range(arguments.first, arguments.first + arguments.seeds, PIECE):
            count = min(PIECE, arguments.first + arguments.seeds - first)
            part = json.loads(_path(f"{cell.title} {first}-{count}").read_text(encoding="utf-8"))
            accounts += [Account(*one) for one in part]
        rows.append(cell._asdict() | asdict(score_of(accounts)))
    found = {"first_seed": arguments.first, "seeds": arguments.seeds, "shares": rows}
    REPORT.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
