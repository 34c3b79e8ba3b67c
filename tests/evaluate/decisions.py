"""`python -m tests.evaluate.decisions`: what budget decisions are worth, into build/decisions.json.

python -m tests.evaluate.decisions                everything on 200 seeds, as long as it takes (an hour of a core)
python -m tests.evaluate.decisions --minutes 8    as much as that allows; the next call goes on from there
python -m tests.evaluate.decisions --seeds 50 --first 5000
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NamedTuple

from processors.simulation.decisions.calibration import coverage_of, maturity_of
from processors.simulation.decisions.kill_curve import Stop, curves_of, stops
from processors.simulation.decisions.plan import cells
from processors.simulation.decisions.score import Account, play, score_of
from processors.simulation.decisions.worlds import DELAYS, WORLDS
from tests.evaluate.speed import speed

REPORT = Path("build") / "decisions.json"
PARTS = Path("build") / "decisions"
#: Seeds played between two looks at the clock.
PIECE = 50
COVERAGE_DAYS = (1, 3, 7, 14)
#: Settings of the kill curve: value of a conversion, daily budget of an ad, median delay in days.
KILLS = {"shop": (53.0, 50.0, 3.0), "leads": (150.0, 100.0, 1.0), "dear deals": (1350.0, 100.0, 5.0)}
KILL_DAYS = 45


class Part(NamedTuple):
    """A piece of the evaluation: its section, what its rows have in common, and what finds them."""

    section: str
    names: dict[str, Any]
    piece: str
    find: Callable[[], list[Any]]

    @property
    def path(self) -> Path:
        """Where its result is kept."""
        name = "-".join([self.section, *map(str, self.names.values()), self.piece])
        return PARTS / (name.replace(" ", "_").replace("%", "percent") + ".json")


def main(argv: Sequence[str]) -> None:
    """Find what is not found yet, and write what there is."""
    arguments = _parse(argv)
    deadline = time.monotonic() + 60 * arguments.minutes
    parts = list(_parts(range(arguments.first, arguments.first + arguments.seeds)))
    for part in parts:
        if part.path.exists():
            continue
        if time.monotonic() > deadline:
            break
        _keep(part.path, part.find())
    missing = sum(not part.path.exists() for part in parts)
    _write(parts, {"first_seed": arguments.first, "seeds": arguments.seeds, "parts_missing": missing, "speed": speed()})
    print(f"written to {REPORT}" + (f"; {missing} of {len(parts)} parts are missing: call it again" if missing else ""))
    sys.exit(missing > 0)


def _parse(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.evaluate.decisions",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--seeds", type=int, default=200, help="accounts of each cell")
    parser.add_argument("--first", type=int, default=100_000, help="number of the first; 5000 to 5059 were tuned on")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="stop after about that long")
    return parser.parse_args(argv)


def _parts(seeds: range) -> Iterator[Part]:
    pieces = {f"{part[0]}-{len(part)}": part for part in (seeds[at : at + PIECE] for at in range(0, len(seeds), PIECE))}
    few, first = next(iter(pieces.items()))
    for cell in cells():
        for piece, some in pieces.items():
            yield Part("shares", cell._asdict(), piece, lambda c=cell, s=some: list(play(c.parameters, c.make, s)))
    for name, world in WORLDS.items():
        short = replace(world, days=max(COVERAGE_DAYS) + 6)
        yield Part("coverage", {"world": name}, few, lambda w=short: _plain(coverage_of(w, first, COVERAGE_DAYS)))
        for delay in DELAYS:
            late = replace(world, delay=delay)
            names = {"world": name, "delay": delay}
            yield Part("maturity", names, few, lambda w=late: _plain([maturity_of(w, first)]))
    for name, (value, budget, median) in KILLS.items():
        world = replace(WORLDS["A"], value=value, daily_budget=10 * budget, delay_median_d=median, days=KILL_DAYS)
        for piece, some in pieces.items():
            yield Part("kills", {"setting": name}, piece, lambda w=world, s=some: list(stops(w, s)))


def _plain(rows: Sequence[Any]) -> list[dict[str, Any]]:
    return [asdict(row) for row in rows]


def _keep(path: Path, found: list[Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    waiting = path.with_suffix(".part")
    waiting.write_text(json.dumps(found) + "\n", encoding="utf-8")
    waiting.rename(path)


def _write(parts: Sequence[Part], about: dict[str, Any]) -> None:
    """What is whole: of shares and kills, that of which every piece is there."""
    found: dict[str, list[Any]] = {section: [] for section in ("shares", "coverage", "maturity", "kills")}
    rows: dict[str, list[Part]] = {}
    for part in parts:
        rows.setdefault(json.dumps([part.section, part.names]), []).append(part)
    for pieces in rows.values():
        section, names = pieces[0].section, pieces[0].names
        if not all(piece.path.exists() for piece in pieces):
            continue
        everything = [row for piece in pieces for row in json.loads(piece.path.read_text(encoding="utf-8"))]
        if section == "shares":
            everything = [asdict(score_of([Account(*row) for row in everything]))]
        if section == "kills":
            everything = _plain(curves_of(Stop(*row) for row in everything))
        found[section] += [names | row for row in everything]
    REPORT.parent.mkdir(exist_ok=True)
    REPORT.write_text(json.dumps(about | found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
