"""Events a second, end to end on the real stack, ours beside the Kafka clients, stock Faust and Quix Streams.

Each subject is a process of its own, pinned to one core; the servers run where they like. It is run once to warm
the stack up and then several times, each time from the beginning of the same topics, and every run must have dealt
with exactly the records there are. A run is timed from the moment the subject has its partitions and
begins to fetch, so that no start-up is in it, to the last record counted, stored, inserted or acknowledged by Kafka.
"""

import sys
import uuid
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from rich.console import Console

from tests.bench.processes import BenchmarkFailed, cores, run_processes
from tests.bench.quix_environment import quix_python
from tests.bench.report import Row, Run, as_json, as_table, row, with_ratios
from tests.bench.subjects.process import Job
from tests.bench.testbed import OUTPUT, Sizes, Testbed

__all__ = ["SUBJECTS", "Repeats", "Subject", "execute", "only_clicks", "run", "subject_named"]

FAUST, QUIX = "faust", "quix"


class Repeats(NamedTuple):
    """Runs of a subject: those that count, after those that do not."""

    counted: int = 3
    warm_up: int = 1


@dataclass(frozen=True)
class Subject:
    """What is measured.

    code: module of tests.bench.subjects, and the name it has there. dataset, contract: the topic it reads, or none.
    size: the field of Sizes that says how many records, where it is not the data set's. role: whose consumer group
    it reads with, or none for one of its own. job, system: subjects of the same job are compared, with those of other
    systems. one_process: key of the same in one process. prepare: what has to be done before each run. outputs: counts
    what it has written so far. settings: overrides, as environment variables.
    """

    key: str
    title: str
    code: tuple[str, str]
    dataset: str
    contract: str = "clicks"
    size: str = ""
    role: str = ""
    job: str = ""
    system: str = ""
    processes: int = 1
    one_process: str = ""
    prepare: Callable[[Testbed], None] = lambda bed: None
    outputs: Callable[[Testbed, Mapping[str, str]], int] | None = None
    settings: Mapping[str, str] = field(default_factory=dict)

    def events(self, sizes: Sizes) -> int:
        """How many records it has to deal with."""
        return int(getattr(sizes, self.size or self.dataset))


def _produced(bed: Testbed, environment: Mapping[str, str]) -> int:
    return bed.records(OUTPUT, "clicks")


def _attributed(bed: Testbed, environment: Mapping[str, str]) -> int:
    return bed.records("journeys", "attributed-conversions")


def _loaded(bed: Testbed, environment: Mapping[str, str]) -> int:
    return bed.rows(environment["SPENDLOOP_CLICKHOUSE__DATABASE"], "clicks")


def only_clicks(dataset: str) -> Callable[[Testbed], None]:
    """A preparation: nothing is held, and the conversions there may be are passed over."""

    def prepare(bed: Testbed) -> None:
        bed.renew_state(dataset)

    return prepare


def _only_conversions(bed: Testbed) -> None:
    """Index the clicks, and let the conversions come after them."""
    execute(CLICKS, bed)


_ROLE: dict[str, Any] = {"code": ("roles", "attribution"), "dataset": "journeys", "role": "attribution"}
CLICKS = Subject(
    "clicks", "clicks -> index, visitor and click id", job="state", prepare=only_clicks("journeys"), **_ROLE
)
SUBJECTS = (
    Subject("confluent", "confluent-kafka, consume(n)", ("raw", "confluent"), "stream", job="read"),
    Subject("aiokafka", "aiokafka, getmany", ("raw", "aiokafka"), "stream", job="read"),
    Subject("faust", "stock Faust, read", ("stock_faust", "read"), "short", job="read", system=FAUST),
    Subject(
        "faust-produce",
        "stock Faust, read and produce",
        ("stock_faust", "produce"),
        "short",
        job="produce",
        system=FAUST,
        outputs=_produced,
    ),
    Subject("quix", "Quix Streams, read", ("quix", "read"), "journeys", job="read", system=QUIX),
    Subject(
        "quix-produce",
        "Quix Streams, read and produce",
        ("quix", "produce"),
        "journeys",
        job="produce",
        system=QUIX,
        outputs=_produced,
    ),
    Subject("quix-state", "Quix Streams, state by key", ("quix", "state"), "journeys", job="state", system=QUIX),
    Subject("quix-local-state", "Quix Streams, state, no changelog", ("quix", "local_state"), "journeys", system=QUIX),
    Subject("lane", "lane, read", ("lane", "read"), "stream", role="lane", job="read"),
    Subject(
        "lane-produce",
        "lane, read and produce",
        ("lane", "produce"),
        "stream",
        role="lane",
        job="produce",
        outputs=_produced,
    ),
    Subject("lane-decode", "lane, decode and check", ("lane", "decode"), "stream", role="lane"),
    replace(
        CLICKS,
        key="clicks-visitor",
        title="clicks -> index, visitor only",
        settings={"SPENDLOOP_ATTRIBUTION__MATCH_ON": '["visitor_id"]'},
    ),
    CLICKS,
    replace(
        CLICKS,
        key="clicks-evidence",
        title="clicks -> index, with all evidence",
        dataset="market",
        job="",
        prepare=only_clicks("market"),
    ),
    Subject(
        "conversions",
        "conversions -> attributed",
        contract="conversions",
        size="conversions",
        prepare=_only_conversions,
        outputs=_attributed,
        **_ROLE,
    ),
    Subject("loader", "clicks -> ClickHouse rows", ("roles", "load"), "stream", role="loader", outputs=_loaded),
    Subject(
        "publish-table",
        "publish_table",
        ("publishing", "table"),
        OUTPUT,
        contract="",
        size="stream",
        outputs=_produced,
    ),
    Subject(
        "publish-records",
        "publish_records",
        ("publishing", "records"),
        OUTPUT,
        contract="",
        size="records",
        outputs=_produced,
    ),
    Subject(
        "lane-2", "lane, read, 2 processes", ("lane", "read"), "stream", role="lane", processes=2, one_process="lane"
    ),
    replace(CLICKS, key="clicks-2", title="clicks -> index, 2 processes", job="", processes=2, one_process="clicks"),
)


def subject_named(key: str) -> Subject:
    """Raises BenchmarkFailed where there is none."""
    for subject in SUBJECTS:
        if subject.key == key:
            return subject
    raise BenchmarkFailed(f"no subject {key}; there are {', '.join(subject.key for subject in SUBJECTS)}")


def run(bed: Testbed, wanted: Collection[Subject], repeats: Repeats, console: Console) -> Iterator[dict[str, Any]]:
    """Measure these subjects and print a table. Yields the report so far, after each. Raises BenchmarkFailed."""
    pinned = (
        "Each process of a subject is pinned to one core." if cores() else "Subjects cannot be pinned to a core here."
    )
    console.print(pinned)
    left_out = dict(_left_out(wanted))
    for key, reason in left_out.items():
        console.print(f"{subject_named(key).title}: left out, {reason}")
    rows: list[Row] = []
    for subject in wanted:
        if subject.key in left_out:
            continue
        rows = with_ratios([*rows, _measure(subject, bed, repeats, console)])
        yield {
            "sizes": bed.sizes._asdict(),
            "repeats": repeats._asdict(),
            "pinned": pinned,
            "left_out": left_out,
            "rows": [as_json(item) for item in rows],
        }
    console.print(as_table("throughput", rows))


def _left_out(wanted: Collection[Subject]) -> Iterator[tuple[str, str]]:
    """Keys of what cannot be had, and why."""
    for subject in wanted:
        if subject.system == QUIX:
            try:
                quix_python()
            except BenchmarkFailed as error:
                yield subject.key, str(error)


def _measure(subject: Subject, bed: Testbed, repeats: Repeats, console: Console) -> Row:
    runs = []
    for number in range(-repeats.warm_up, repeats.counted):
        found = Run.of(execute(subject, bed))
        which = f"{number + 1} of {repeats.counted}" if number >= 0 else "to warm up"
        console.print(
            f"{subject.title}: {found.timed / found.seconds:,.0f} events/s in {found.seconds:.1f} s ({which})"
        )
        if number >= 0:
            runs.append(found)
    return row(
        subject.key,
        subject.title,
        runs,
        subject.events(bed.sizes),
        job=subject.job,
        system=subject.system,
        processes=subject.processes,
        one_process=subject.one_process,
    )


def execute(subject: Subject, bed: Testbed, watch: str = "") -> list[dict[str, Any]]:
    """What the processes of one run report. Raises BenchmarkFailed where they did not do exactly what there is."""
    environment = bed.environment(subject.dataset) | subject.settings
    subject.prepare(bed)
    events = subject.events(bed.sizes)
    outputs = subject.outputs or (lambda bed, environment: 0)
    outputs_before = outputs(bed, environment)
    jobs = list(_jobs(subject, bed, watch))
    if subject.contract:
        bed.rewind(subject.dataset, subject.contract, jobs[0].group)
    unread = _unread(subject, bed, jobs[0].group)
    python = quix_python() if subject.system == QUIX else sys.executable
    with _gate(subject, bed, jobs[0].group) as open_gate:
        results = run_processes(
            subject.code, jobs, environment, on_started=open_gate, is_done=lambda: unread() == 0, python=python
        )
    done = sum(result["count"] for result in results)
    found = {"records counted": done, "records not committed": unread()}
    expected = {"records counted": events, "records not committed": 0}
    if subject.outputs:
        found["outputs"], expected["outputs"] = outputs(bed, environment) - outputs_before, events
    if found != expected:
        raise BenchmarkFailed(f"{subject.title}: {found}, not {expected}")
    return results


def _jobs(subject: Subject, bed: Testbed, watch: str) -> Iterator[Job]:
    settings = bed.settings(subject.dataset)
    unique = uuid.uuid4().hex[:8]
    available = cores()
    for number in range(subject.processes):
        directory = bed.directory / f"{subject.key}-{unique}-{number}"
        directory.mkdir()
        yield Job(
            servers=settings.kafka.bootstrap_servers,
            topic=bed.topic(subject.dataset, subject.contract) if subject.contract else "",
            output=bed.topic(OUTPUT, "clicks"),
            group=settings.group(subject.role) if subject.role else f"{settings.namespace}{subject.key}-{unique}",
            events=subject.events(bed.sizes),
            directory=str(directory),
            core=available[number % len(available)] if available else None,
            watch=watch,
        )


def _gate(subject: Subject, bed: Testbed, group: str) -> AbstractContextManager[Callable[[], None]]:
    """What makes several processes begin together; what it yields is to be called when they have started."""
    if subject.processes == 1:
        return nullcontext(lambda: None)
    return bed.gate(subject.dataset, subject.contract, group, subject.processes)


def _unread(subject: Subject, bed: Testbed, group: str) -> Callable[[], int]:
    if not subject.contract:
        return lambda: 0
    return lambda: bed.unread(subject.dataset, subject.contract, group)
