"""`python -m tests.evaluate`: how good what is learned is, on data of known truth; writes build/evaluate.json.

python -m tests.evaluate                      everything
python -m tests.evaluate drift learning       some
python -m tests.evaluate --quick drift        small, to see that it runs: no figures to quote
python -m tests.evaluate --seed 9000 drift    on other data
"""

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.evaluate import drift, learning, pipeline_value

REPORT = Path("build") / "evaluate.json"

#: By name: a function of the number of repetitions and the seed, and how many repetitions the quoted figures have.
EVALUATIONS: Mapping[str, tuple[Callable[[int, int], dict[str, Any]], int]] = {
    "drift": (drift.report, 200),
    "alerts": (drift.alerts, 2),
    "learning": (learning.report, 200),
    "pipeline_value": (pipeline_value.report, 60),
}
#: What the quoted figures were measured on, and nothing was chosen by.
SEED = 30_000


def main(argv: Sequence[str]) -> None:
    """Run what the command line names."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.evaluate", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(EVALUATIONS)}")
    parser.add_argument("--quick", action="store_true", help="a tenth of the repetitions")
    parser.add_argument("--seed", type=int, default=SEED)
    arguments = parser.parse_args(argv)
    if unknown := set(arguments.names) - EVALUATIONS.keys():
        parser.error(f"no evaluation {', '.join(sorted(unknown))}; there are {', '.join(EVALUATIONS)}")
    for name in arguments.names or EVALUATIONS:
        evaluate, repetitions = EVALUATIONS[name]
        found = evaluate(repetitions // 10 if arguments.quick else repetitions, arguments.seed)
        print(json.dumps({name: found}, indent=2))
        write(name, found)
    print(f"written to {REPORT}", file=sys.stderr)


def write(name: str, found: dict[str, Any]) -> None:
    """Put what was found into the report, in the place of what was there under this name."""
    report = json.loads(REPORT.read_text()) if REPORT.exists() else {}
    REPORT.parent.mkdir(exist_ok=True)
    REPORT.write_text(json.dumps(report | {name: found}, indent=2) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
