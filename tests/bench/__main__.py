"""`python -m tests.bench`, or `make bench`: measures, prints tables, writes build/bench.json.

python -m tests.bench                         codec and throughput
python -m tests.bench --quick throughput      small, to see that it runs: no figures to quote
python -m tests.bench throughput --subjects lane,clicks
python -m tests.bench credit                  how long models take on the demo's paths
python -m tests.bench steps                   what each step of the attribution role costs a record
python -m tests.bench memory --millions 20    whether a role's memory stays what it was
python -m tests.bench profile clicks          where a subject's processor time goes
"""

import argparse
import json
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from tests.bench import codec, credit, memory, profiling, steps, throughput
from tests.bench.machine import facts
from tests.bench.processes import BenchmarkFailed
from tests.bench.testbed import QUICK, Sizes, open_testbed

REPORT = Path("build") / "bench.json"
#: Of a line that goes to a file.
WIDTH = 140
DEFAULT = ("codec", "throughput")

Arguments = argparse.Namespace


def main(argv: Sequence[str]) -> None:
    """Run what the command line names."""
    arguments = _parse(argv)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # servers and data go with us
    console = Console(highlight=False, width=None if sys.stdout.isatty() else WIDTH)
    try:
        if arguments.names[:1] == ["profile"]:
            _profile(arguments, console)
            return
        for name in arguments.names or DEFAULT:
            for found in BENCHMARKS[name](arguments, console):
                write(name, found)
            console.print(f"written to {REPORT}")
    except BenchmarkFailed as error:
        sys.exit(str(error))


def write(name: str, found: Any) -> None:
    """Put what was found into the report, in the place of what was there under this name."""
    report = json.loads(REPORT.read_text()) if REPORT.exists() else {}
    report |= {"machine": facts(), name: found}
    REPORT.parent.mkdir(exist_ok=True)
    REPORT.write_text(json.dumps(report, indent=2) + "\n")


def _parse(argv: Sequence[str]) -> Arguments:
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(BENCHMARKS)}; or profile SUBJECT")
    parser.add_argument("--quick", action="store_true", help="few records, one run each")
    parser.add_argument("--subjects", default="", help="some only, by their keys, with commas between")
    parser.add_argument("--millions", type=int, help="of events for memory; 20, or 1 with --quick")
    arguments = parser.parse_intermixed_args(argv)
    if arguments.names[:1] == ["profile"]:
        if len(arguments.names) != 2:
            parser.error("profile takes one subject")
    elif unknown := set(arguments.names) - BENCHMARKS.keys():
        parser.error(f"no benchmark {', '.join(sorted(unknown))}; there are {', '.join(BENCHMARKS)}")
    return arguments


def _sizes(arguments: Arguments) -> Sizes:
    sizes = QUICK if arguments.quick else Sizes()
    millions = arguments.millions or (1 if arguments.quick else 20)
    return sizes._replace(rounds=millions * 1_000_000 // sizes.replay)


def _codec(arguments: Arguments, console: Console) -> Iterator[Any]:
    found = list(codec.run())
    console.print(codec.table(found))
    yield [item._asdict() for item in found]


def _credit(arguments: Arguments, console: Console) -> Iterator[Any]:
    found = list(credit.run())
    console.print(credit.table(found))
    yield [item._asdict() for item in found]


def _steps(arguments: Arguments, console: Console) -> Iterator[Any]:
    found = list(steps.run())
    console.print(steps.table(found))
    yield [item._asdict() for item in found]


def _throughput(arguments: Arguments, console: Console) -> Iterator[Any]:
    wanted = [throughput.subject_named(key) for key in arguments.subjects.split(",") if key] or throughput.SUBJECTS
    with open_testbed(_sizes(arguments), console.print) as bed:
        repeats = throughput.Repeats(1, 0) if arguments.quick else throughput.Repeats()
        yield from throughput.run(bed, wanted, repeats, console)


def _memory(arguments: Arguments, console: Console) -> Iterator[Any]:
    with open_testbed(_sizes(arguments), console.print) as bed:
        yield from memory.run(bed, console)


def _profile(arguments: Arguments, console: Console) -> None:
    subject = throughput.subject_named(arguments.names[1])
    with open_testbed(_sizes(arguments), console.print) as bed:
        profiling.run(bed, subject, console)


BENCHMARKS: Mapping[str, Callable[[Arguments, Console], Iterator[Any]]] = {
    "codec": _codec,
    "credit": _credit,
    "steps": _steps,
    "throughput": _throughput,
    "memory": _memory,
}

if __name__ == "__main__":
    main(sys.argv[1:])
