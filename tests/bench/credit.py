"""How long models take on the demo's 10,000 lines of paths, by the clock."""

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

from rich.table import Table

from processors.credit.markov import MAX_ORDER
from processors.credit.models import MODELS, credit_channels
from processors.credit.paths import PathCounts
from streams.demo.journeys import AggregatedPath, read_paths

REPEATS = 9


class Duration(NamedTuple):
    """How long `what` took: the least of several times, and their median."""

    what: str
    min_ms: float
    median_ms: float


def table(found: Sequence[Duration]) -> Table:
    """A row for what was measured."""
    table = Table("ms", "min", "median", title="credit")
    for column in table.columns[1:]:
        column.justify = "right"
    for what, least, median in found:
        table.add_row(what, f"{least:,.1f}", f"{median:,.1f}")
    return table


def run() -> Iterator[Duration]:
    """Counting the paths, and every model from their counts on."""
    paths = read_paths()
    counts = _count(paths)
    yield _duration("counting the lines", lambda: _count(paths))
    for model in MODELS:
        for order in range(1, MAX_ORDER + 1) if model == "markov" else (1,):
            what = f"markov, order {order}" if model == "markov" else model
            yield _duration(what, lambda model=model, order=order: credit_channels(counts, model, order, {"direct"}))


def _count(paths: Sequence[AggregatedPath]) -> PathCounts:
    counts = PathCounts()
    for path in paths:
        counts.add(path.channels, path.conversions, path.value_micros, path.nulls)
    return counts


def _duration(what: str, step: Callable[[], Any]) -> Duration:
    step()
    taken = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        step()
        taken.append((time.perf_counter() - began) * 1_000)
    return Duration(what, min(taken), statistics.median(taken))
