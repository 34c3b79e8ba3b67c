"""From what subjects report to the rows of a table."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from rich.table import Table

from tests.bench.processes import BenchmarkFailed

__all__ = ["Rate", "Row", "Run", "as_json", "as_table", "row", "with_ratios"]


class Run(NamedTuple):
    """One run of a subject.

    timed: records done within `seconds`, which are all of them but for several processes: those are timed from
    when the last of them has its partitions. cpu_s: of all processes. peak_rss_mb: of the largest.
    """

    timed: int
    seconds: float
    cpu_s: float
    peak_rss_mb: float

    @classmethod
    def of(cls, results: Sequence[Mapping[str, Any]]) -> "Run":
        """Of what its processes reported."""
        if not all(result["steps"] for result in results):
            raise BenchmarkFailed("one of several processes had nothing to do: there are too few records for them")
        began = max(result["began_s"] for result in results)
        ended = max(result["steps"][-1][0] for result in results)
        timed = sum(records for result in results for at, records in result["steps"] if at > began)
        cpu_s = sum(result["cpu_s"] for result in results)
        peak_rss_mb = max(result["peak_rss_mb"] for result in results)
        return cls(timed, ended - began, cpu_s, peak_rss_mb)


class Rate(NamedTuple):
    """Records a second, over the repeats."""

    median: float
    min: float
    max: float


@dataclass(frozen=True)
class Row:
    """A subject's figures.

    job: rows of the same job can be compared. system: whose it is. one_process: key of the row of the same subject
    in one process. Ratios are of medians, above 1 where this row is faster.
    """

    key: str
    subject: str
    job: str
    system: str
    processes: int
    events: int
    seconds: Sequence[float]
    events_per_s: Rate
    cpu_s: float
    cpu_us_per_event: float
    peak_rss_mb: float
    one_process: str = ""
    ratios: Mapping[str, float] = field(default_factory=dict)


def row(key: str, subject: str, runs: Sequence[Run], events: int, **options: Any) -> Row:
    """The figures of several runs of `events` each: medians, and the greatest peak."""
    rates = [run.timed / run.seconds for run in runs]
    cpu_s = statistics.median(run.cpu_s for run in runs)
    return Row(
        key=key,
        subject=subject,
        events=events,
        seconds=[run.seconds for run in runs],
        events_per_s=Rate(statistics.median(rates), min(rates), max(rates)),
        cpu_s=cpu_s,
        cpu_us_per_event=cpu_s / events * 1e6,
        peak_rss_mb=max(run.peak_rss_mb for run in runs),
        **options,
    )


def with_ratios(rows: Sequence[Row]) -> list[Row]:
    """The rows, each with its ratios to stock Faust and Quix at the same job, and to itself in one process."""
    return [_with_ratios(item, rows) for item in rows]


def _with_ratios(item: Row, rows: Sequence[Row]) -> Row:
    references = {
        system: next((other for other in rows if item.job and (other.job, other.system) == (item.job, system)), None)
        for system in ("faust", "quix")
    }
    references["one_process"] = next((other for other in rows if other.key == item.one_process), None)
    ratios = {name: item.events_per_s.median / other.events_per_s.median for name, other in references.items() if other}
    return Row(**{**vars(item), "ratios": ratios})


def as_json(item: Row) -> dict[str, Any]:
    """The row as it is written to a file; a ratio that cannot be had is null."""
    ratios = {f"ratio_to_{name}": item.ratios.get(name) for name in ("faust", "quix", "one_process")}
    kept = {name: value for name, value in vars(item).items() if name not in ("ratios", "one_process")}
    return {**kept, "events_per_s": item.events_per_s._asdict(), **ratios}


def as_table(title: str, rows: Sequence[Row]) -> Table:
    """The rows for people."""
    table = Table(
        "", "events/s", "min - max", "CPU us/event", "peak MB", "x Faust", "x Quix", "x 1 process", title=title
    )
    for column in table.columns[1:]:
        column.justify = "right"
    for item in rows:
        rate = item.events_per_s
        table.add_row(
            item.subject,
            f"{rate.median:,.0f}",
            f"{rate.min:,.0f} - {rate.max:,.0f}",
            f"{item.cpu_us_per_event:,.2f}",
            f"{item.peak_rss_mb:,.0f}",
            *(_ratio(item, name) for name in ("faust", "quix", "one_process")),
        )
    return table


def _ratio(item: Row, name: str) -> str:
    is_itself = item.system == name
    return "" if is_itself or name not in item.ratios else f"{item.ratios[name]:,.2f}"
