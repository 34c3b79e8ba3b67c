"""`spendloop demo`: real journeys through the whole pipeline, compared with the reference to the unit."""

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from deploy.local.stack import LocalStack
from schemas.client.publisher import Publisher
from sinks.clickhouse.client import ClickHouse
from streams.admin import registry
from streams.clickhouse import connect
from streams.demo.errors import DemoFailed
from streams.demo.journeys import ACCOUNT, anchor_day, expand, read_paths
from streams.demo.reference import reference_credit
from streams.local import start_roles, start_servers
from streams.offsets import Offsets
from streams.settings import Settings, stack_directory

__all__ = ["run_demo"]

REPORT = Path("build") / "demo.json"
#: Conversions are whole or fractions of whole ones: rounding may show in the ninth digit of a sum.
CREDIT_TOLERANCE = 1e-6
#: A row's value is rounded to micros before it is split; 10,000 rows could add up to a hundredth.
VALUE_TOLERANCE = 0.01
PROCESSING_TIMEOUT_S = 600.0
PUBLISH_ROWS = 20_000
OLDEST_ANCHOR_D = 60


def run_demo(console: Console) -> bool:
    """Run it all, print it, write build/demo.json. True where every figure matches the reference."""
    seconds: dict[str, float] = {}
    stack = LocalStack(stack_directory())
    with _stage(console, seconds, "stack", "Starting Kafka, registry, Redis, ClickHouse and the roles"):
        settings = start_servers(stack, lambda line: console.print(f"  {line}", highlight=False))
        start_roles(stack, settings)
    with _stage(console, seconds, "prepare", "Laying out the journeys"):
        anchor = anchor_day(stack.directory / "data")
        if (datetime.now(UTC).date() - anchor).days > OLDEST_ANCHOR_D:
            raise DemoFailed(
                f"the demo's day {anchor} is too long ago for its clicks to be held; start afresh with "
                "`spendloop down --wipe`"
            )
        paths = read_paths()
        clicks, conversions = expand(paths, anchor)
        reference = reference_credit()
    began = time.perf_counter()
    with _progress(console) as progress:
        with _stage(console, seconds, "publish", None):
            _publish(settings, progress, {"clicks": clicks, "conversions": conversions})
        with _stage(console, seconds, "attribute_and_load", None):
            _wait_until_loaded(stack, settings, progress)
    seconds["published_to_queryable"] = time.perf_counter() - began
    with connect(settings) as clickhouse, _stage(console, seconds, "query", "Asking ClickHouse"):
        report = _measure(clickhouse)
    report["seconds"] = {name: round(value, 2) for name, value in seconds.items()}
    problems = _problems(report, reference, clicks, conversions, sum(path.nulls for path in paths))
    report["matches"] = not problems
    REPORT.parent.mkdir(exist_ok=True)
    REPORT.write_text(json.dumps(report, indent=2) + "\n")
    _show(console, report, reference)
    for problem in problems:
        console.print(f"[red]mismatch[/red] {problem}", highlight=False)
    return not problems


def _publish(settings: Settings, progress: Progress, tables: Mapping[str, pa.Table]) -> None:
    client = registry(settings)
    with Publisher(settings.kafka.client(), client, prefix=settings.namespace) as publisher:
        for topic, table in tables.items():
            task = progress.add_task(f"Publishing {topic}", total=table.num_rows)
            for start in range(0, table.num_rows, PUBLISH_ROWS):
                publisher.publish_table(topic, table.slice(start, PUBLISH_ROWS))
                progress.advance(task, min(PUBLISH_ROWS, table.num_rows - start))
    client.close()


def _wait_until_loaded(stack: LocalStack, settings: Settings, progress: Progress) -> None:
    """Until the loader's freshness covers all inputs, attribution has read them, and its output is loaded."""
    deadline = time.monotonic() + PROCESSING_TIMEOUT_S
    offsets = Offsets(settings)
    inputs = ("clicks", "conversions")
    tasks = {name: progress.add_task(f"Loading {name}", total=None) for name in (*inputs, "attributed-conversions")}
    with connect(settings) as clickhouse:
        while True:
            ends = {name: offsets.ends(name) for name in tasks}
            loaded = _loaded(clickhouse)
            for name, task in tasks.items():
                done = sum(min(loaded.get((name, p), 0), end) for p, end in ends[name].items())
                progress.update(task, completed=done, total=sum(ends[name].values()))
            # Attribution publishes before it commits: once it is done, the end of its output stands.
            if all(offsets.committed("attribution", name) == ends[name] for name in inputs) and all(
                loaded.get((name, p), 0) >= end for name in tasks for p, end in offsets.ends(name).items()
            ):
                offsets.close()
                return
            _require_running(stack)
            if time.monotonic() > deadline:
                raise DemoFailed(f"not done within {PROCESSING_TIMEOUT_S:g} s; `spendloop status` names the logs")
            time.sleep(0.3)


def _require_running(stack: LocalStack) -> None:
    for item in stack.status():
        if item.health == "dead":
            raise DemoFailed(f"{item.name} has stopped by itself; its log is {item.log}")


def _loaded(clickhouse: ClickHouse) -> dict[tuple[str, int], int]:
    found = clickhouse.query("SELECT topic, partition, end_offset FROM freshness").to_pylist()
    return {(row["topic"], row["partition"]): row["end_offset"] for row in found}


def _measure(clickhouse: ClickHouse) -> dict[str, Any]:
    """The figures of the report, all from ClickHouse."""

    def one(sql: str) -> dict[str, Any]:
        return dict(clickhouse.query(sql.format(account=ACCOUNT)).to_pylist()[0])

    counts = one(
        "SELECT count() AS clicks, uniqExact(visitor_id) AS visitors FROM clicks FINAL WHERE account_id = '{account}'"
    )
    totals = one(
        "SELECT count() AS conversions, toFloat64(sum(value_micros) / 1000000) AS value "
        "FROM attributed_conversions FINAL WHERE account_id = '{account}'"
    )
    journeys = one(
        "SELECT count() AS journeys, countIf(conversions = 0) AS never_converted "
        "FROM journeys WHERE account_id = '{account}'"
    )
    unattributed = one("SELECT count() AS unattributed FROM conversions_unattributed WHERE account_id = '{account}'")
    credit: dict[str, dict[str, float]] = {}
    value: dict[str, dict[str, float]] = {}
    rows = clickhouse.query(
        "SELECT model, channel, conversions, toFloat64(value) AS value FROM credit_by_channel "
        f"WHERE account_id = '{ACCOUNT}' ORDER BY model, conversions DESC"
    )
    for row in rows.to_pylist():
        credit.setdefault(row["model"], {})[row["channel"]] = row["conversions"]
        value.setdefault(row["model"], {})[row["channel"]] = row["value"]
    return {**counts, **journeys, **totals, **unattributed, "credit": credit, "credited_value": value}


def _problems(
    report: Mapping[str, Any],
    reference: Mapping[str, Mapping[str, tuple[float, float]]],
    clicks: pa.Table,
    conversions: pa.Table,
    nulls: int,
) -> list[str]:
    expected = {
        "clicks": clicks.num_rows,
        "visitors": nulls + conversions.num_rows,
        "journeys": nulls + conversions.num_rows,
        "never_converted": nulls,
        "conversions": conversions.num_rows,
        "unattributed": 0,
        "value": sum(conversions.column("value_micros").to_pylist()) / 1_000_000,
    }
    problems = [f"{name}: {report[name]} instead of {want}" for name, want in expected.items() if report[name] != want]
    for model, channels in reference.items():
        for channel, (count, value) in channels.items():
            got = report["credit"].get(model, {}).get(channel, 0.0)
            worth = report["credited_value"].get(model, {}).get(channel, 0.0)
            if abs(got - count) > CREDIT_TOLERANCE:
                problems.append(f"{model} touch, {channel}: {got} conversions instead of {count}")
            if abs(worth - value) > VALUE_TOLERANCE:
                problems.append(f"{model} touch, {channel}: worth {worth} instead of {value}")
        if extra := report["credit"].get(model, {}).keys() - channels.keys():
            problems.append(f"{model} touch: channels nobody published: {', '.join(sorted(extra))}")
    return problems


def _show(
    console: Console,
    report: Mapping[str, Any],
    reference: Mapping[str, Mapping[str, tuple[float, float]]],
) -> None:
    narrow: dict[str, Any] = {"box": box.SIMPLE_HEAD, "collapse_padding": True, "pad_edge": False}
    table = Table(title="Conversions credited to each channel, and the reference", **narrow)
    table.add_column("channel")
    for model in reference:
        table.add_column(model, justify="right")
        table.add_column("reference", justify="right", style="dim")
    by_size = sorted(reference["first"], key=lambda channel: -reference["first"][channel][0])
    for channel in by_size:
        cells = [channel]
        for model, channels in reference.items():
            cells += [
                f"{report['credit'].get(model, {}).get(channel, 0.0):.4f}",
                f"{channels[channel][0]:.4f}",
            ]
        table.add_row(*cells)
    console.print(table)
    seconds = report["seconds"]
    times = Table(title="Time of each stage", **narrow)
    times.add_column("stage")
    times.add_column("seconds", justify="right")
    times.add_column("rate", justify="right")
    records = report["clicks"] + report["conversions"]
    rates = {
        "publish": f"{records / seconds['publish']:,.0f} records/s",
        "published_to_queryable": f"{records / seconds['published_to_queryable']:,.0f} records/s end to end",
    }
    for stage, taken in seconds.items():
        times.add_row(stage.replace("_", " "), f"{taken:,.1f}", rates.get(stage, ""))
    console.print(times)
    console.print(
        f"{report['clicks']:,} clicks, {report['conversions']:,} conversions worth {report['value']:,.2f}, "
        f"{report['never_converted']:,} journeys that never convert. "
        + ("Every figure matches the reference." if report["matches"] else "[red]Not every figure matches.[/red]")
    )


@contextmanager
def _stage(console: Console, seconds: dict[str, float], name: str, title: str | None) -> Iterator[None]:
    if title:
        console.print(title)
    began = time.perf_counter()
    yield
    seconds[name] = time.perf_counter() - began


def _progress(console: Console) -> Progress:
    columns = (TextColumn("{task.description:<32}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, console=console)
