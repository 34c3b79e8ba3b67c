"""Totals out of the real stack are those that are computed in memory of the same market."""

import json
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from prometheus_client import CollectorRegistry

from deploy.local.stack import LocalStack
from processors.matching.learning import learn
from processors.matching.lesson import Lesson, lesson
from processors.simulation.evaluation import Exam, exam_of
from processors.simulation.parameters import World
from processors.simulation.tables import Tables, tables_of
from processors.simulation.totals import sums
from processors.simulation.world import simulate
from processors.totals.estimate import estimate
from processors.totals.records import Published, total_records
from processors.totals.state import MICRO
from schemas.client.publisher import Publisher
from schemas.definitions import definition
from sinks.clickhouse.migrations import apply
from streams.admin import apply_topics, registry
from streams.clickhouse import connect, migrations
from streams.matching.columns import Columns
from streams.matching.models import MODELS
from streams.metrics import RoleMetrics
from streams.settings import Settings, load_settings
from streams.ticks.ticks import Tick
from streams.totals.role import OUTPUT, AttributionTotals
from tests.conftest import isolate
from tests.integration.roles import Role, running, wait_until, wait_until_loaded
from tests.streams.replay.commands import done

DAY_MS = 86_400_000
#: It lies whole within the last 30 days.
WORLD = replace(World().scaled(0.06), account_id="acme", start=(datetime.now(UTC) - timedelta(days=29)).date(), days=28)
#: What a record replaces another by.
KEY = ("account_id", "ad_account_id", "ad_id", "is_organic", "day", "days")
FIGURES = ("total_micros", "low_micros", "high_micros", "deterministic_micros", "value_micros", "is_range_only")


@pytest.fixture(scope="module")
def market() -> Tables:
    return tables_of(simulate(WORLD, seed=31), seed=31)


@pytest.fixture(scope="module")
def deployment(stack: LocalStack, market: Tables) -> Iterator[Settings]:
    """The market has happened, and a model of it is in force; others have sold a little."""
    with pytest.MonkeyPatch.context() as patch:
        isolate(stack, patch)
        patch.setenv("SPENDLOOP_MATCHING__IN_FORCE_AFTER_S", "0")
        patch.setenv("SPENDLOOP_TOTALS__INTERVAL_S", "2")
        settings = load_settings()
        apply_topics(settings)
        with connect(settings) as clickhouse:
            apply(clickhouse, migrations())
        publish(settings, "clicks", market.clicks)
        publish(settings, "conversions", market.conversions)
        # Some of them once more, and two of tenants with nothing to learn from.
        publish(settings, "conversions", market.conversions.slice(0, 300))
        for account_id in ("modelless", "clickless"):
            publish(settings, "conversions", of_account(market.conversions.slice(0, 2), account_id))
        # One of them so often that it would be several slices, most of which have nothing.
        again = pa.array([0] * 900)
        publish(settings, "conversions", of_account(market.conversions.take(again), "clickless"))
        assert "in force from" in done("learn", "matching", "--account", "acme")
        lend_model(settings, "clickless")
        yield settings


@pytest.fixture(scope="module")
def loader(deployment: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Role]:
    with running(tmp_path_factory.mktemp("loader"), "loader") as roles:
        yield roles[0]


def publish(settings: Settings, topic: str, table: pa.Table) -> None:
    with Publisher(settings.kafka.client(), registry(settings), prefix=settings.namespace) as publisher:
        publisher.publish_table(topic, table)


def of_account(table: pa.Table, account_id: str) -> pa.Table:
    return with_column(table, "account_id", pa.array([account_id] * table.num_rows, pa.string()))


def with_column(table: pa.Table, name: str, column: pa.Array) -> pa.Table:
    return table.set_column(table.schema.get_field_index(name), table.schema.field(name), column)


def lend_model(settings: Settings, account_id: str) -> None:
    """The newest model there is, as that of another tenant."""
    client = registry(settings)
    *_, part = Columns(settings, client, MODELS).everything()
    record = part.batch.to_pylist()[-1]
    times = {name: value.astimezone(UTC) for name, value in record.items() if isinstance(value, datetime)}
    with Publisher(settings.kafka.client(), client, prefix=settings.namespace) as publisher:
        publisher.publish(MODELS, record | times | {"account_id": account_id})
    client.close()


def a_role(settings: Settings, metrics: RoleMetrics | None = None) -> "closing[AttributionTotals]":
    """In this process; one that is left open stays in the group, and those that join wait for it."""
    return closing(AttributionTotals(settings, metrics or RoleMetrics(CollectorRegistry()), lambda: False))


def compute(settings: Settings, loader: Role, metrics: RoleMetrics | None = None) -> int:
    """Totals as of now; says which time that is."""
    as_of_ms = int(time.time() * 1000) + 1
    with a_role(settings, metrics) as role:
        role.compute(Tick(as_of_ms, lambda account_id: True))
    wait_until_loaded(settings, [loader], OUTPUT)
    return as_of_ms


def rows(settings: Settings, where: str = "account_id = 'acme'") -> list[dict[str, Any]]:
    """The current rows, in the order of their keys."""
    with connect(settings) as clickhouse:
        return clickhouse.query(
            f"SELECT *, toUnixTimestamp64Milli(as_of) AS as_of_ms FROM attribution_totals FINAL WHERE {where} "
            f"ORDER BY {', '.join(KEY)}"
        ).to_pylist()


def records(settings: Settings) -> list[dict[str, Any]]:
    """All there are on the topic."""
    client = registry(settings)
    try:
        return [row for part in Columns(settings, client, OUTPUT).everything() for row in part.batch.to_pylist()]
    finally:
        client.close()


def in_memory(market: Tables, as_of_ms: int, learned_of: Tables | None = None) -> list[dict[str, Any]]:
    """What should be there: nothing of it has been near a server. `learned_of`: the market its model is of."""
    last = (as_of_ms - 1) // DAY_MS
    published = Published("acme", as_of_ms, last - 29, last, "USD")
    exam = exam_of(market)
    model = learn(taught(exam_of(learned_of or market))).model
    found = total_records(estimate(sums(market, exam, taught(exam), model)), published).to_pylist()
    absent = {"ad_id": "", "ad_account_id": ""}
    return sorted(
        [row | {name: row[name] or empty for name, empty in absent.items()} for row in found],
        key=lambda row: tuple(row[name] for name in KEY),
    )


def taught(exam: Exam) -> Lesson:
    return lesson(exam.conversions, exam.click_index, exam.ads)


def require_equal(found: list[dict[str, Any]], wanted: list[dict[str, Any]]) -> None:
    names = wanted[0].keys() - {"as_of", "day", "currency", "holdout", "estimator_version"}
    assert [{name: row[name] for name in names} for row in found] == [
        {name: row[name] for name in names} for row in wanted
    ]
    assert [as_date(row["day"]) for row in found] == [row["day"] for row in wanted]


def as_date(day: Any) -> date:
    return day if isinstance(day, date) else date(1970, 1, 1) + timedelta(days=int(day))


def test_they_are_those_computed_in_memory(deployment: Settings, loader: Role, market: Tables) -> None:
    as_of_ms = compute(deployment, loader)
    found = rows(deployment)
    assert {row["as_of_ms"] for row in found} == {as_of_ms}
    require_equal(found, in_memory(market, as_of_ms))
    with connect(deployment) as clickhouse:
        [total] = clickhouse.query(
            "SELECT count() AS n, sum(total_micros) AS micros, any(account_conversions_micros) AS all "
            "FROM attribution_totals FINAL WHERE account_id = 'acme' AND days = 30"
        ).to_pylist()
        [view] = clickhouse.query("SELECT count() AS n FROM latest_totals_by_ad WHERE account_id = 'acme'").to_pylist()
    assert total["micros"] == total["all"] == market.conversions.num_rows * MICRO
    assert view["n"] == total["n"] > 20


def test_slices_come_to_the_same(
    deployment: Settings, loader: Role, market: Tables, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPENDLOOP_TOTALS__CONVERSIONS_AT_ONCE", "300")
    as_of_ms = compute(load_settings(), loader)
    require_equal(rows(deployment), in_memory(market, as_of_ms))
    [organic] = rows(deployment, "account_id = 'clickless'")
    assert (organic["as_of_ms"], organic["total_micros"]) == (as_of_ms, 2 * MICRO)


def test_what_was_broken_off_is_said_again_to_the_letter(
    deployment: Settings, loader: Role, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also what it says is empty: another estimate had it."""
    gone = {
        **definition(OUTPUT).defaults,
        "account_id": "acme",
        "ad_id": "gone",
        "day": datetime.now(UTC).date() - timedelta(days=3),
        "as_of": datetime.now(UTC) - timedelta(days=1),
        **dict.fromkeys(("total_micros", "low_micros", "high_micros"), 5 * MICRO),
        **{f"account_{name}_micros": 0 for name in ("conversions", "total", "identifiers", "evidence", "withheld")},
    }
    with Publisher(deployment.kafka.client(), registry(deployment), prefix=deployment.namespace) as publisher:
        publisher.publish(OUTPUT, gone)
    wait_until_loaded(deployment, [loader], OUTPUT)

    tick = Tick(int(time.time() * 1000) + 1, lambda account_id: account_id == "acme")
    with monkeypatch.context() as patch:
        whole = Publisher.publish_batch

        def half(publisher: Publisher, topic: str, batch: pa.RecordBatch) -> None:
            whole(publisher, topic, batch.slice(batch.num_rows // 2))
            publisher.flush()
            raise KeyboardInterrupt

        patch.setattr(Publisher, "publish_batch", half)
        with a_role(deployment) as broken, pytest.raises(KeyboardInterrupt):
            broken.compute(tick)
    for _ in range(2):
        with a_role(deployment) as role:
            role.compute(tick)
    wait_until_loaded(deployment, [loader], OUTPUT)

    said = defaultdict(list)
    for row in records(deployment):
        if row["as_of"].timestamp() * 1000 == pytest.approx(tick.as_of_ms, abs=0.5):
            said[tuple(row[name] for name in KEY)].append(row)
    assert {len(again) for again in said.values()} == {2, 3}
    assert all(row == again[0] for again in said.values() for row in again)
    [empty] = rows(deployment, "account_id = 'acme' AND ad_id = 'gone'")
    assert (empty["total_micros"], empty["high_micros"], empty["as_of_ms"]) == (0, 0, tick.as_of_ms)
    # Said once to be empty, it is not said again.
    later = compute(deployment, loader)
    [empty] = rows(deployment, "account_id = 'acme' AND ad_id = 'gone'")
    assert empty["as_of_ms"] == tick.as_of_ms < later


def corrections(conversions: pa.Table) -> pa.Table:
    """Of a third the value is twice as much, and nobody knows the click any more."""
    chosen = pa.array([number % 3 == 0 for number in range(conversions.num_rows)])
    doubled = pc.multiply(conversions["value_micros"], 2)
    nobody = pa.scalar(None, pa.string())
    for name, value in (("value_micros", doubled), ("click_id", nobody), ("fbclid", nobody)):
        conversions = with_column(conversions, name, pc.if_else(chosen, value, conversions[name]))
    return conversions


def test_corrections_replace_and_tests_calibrate(
    deployment: Settings, loader: Role, market: Tables, tmp_path: Path
) -> None:
    corrected = corrections(market.conversions)
    versions = pa.array([1] * corrected.num_rows, pa.int64())
    publish(deployment, "conversions", corrected.append_column("source_version", versions))
    first = "ad-1"
    day = datetime.now(UTC).date()
    file = tmp_path / "tests.jsonl"
    common = {"account_id": "acme", "from_day": str(day), "to_day": str(day)}
    shares = {"incremental_share": 0.5, "low": 0.4, "high": 0.6}
    lines = [
        {**common, "scope": "account", "test": "geo", **shares},
        {**common, "scope": "ad", "scope_id": first, "test": "lift", **shares, "incremental_share": 0.6},
    ]
    file.write_text("\n".join(map(json.dumps, lines)))
    assert "2 hold-out tests imported" in done("holdout", "import", str(file))

    as_of_ms = compute(deployment, loader)
    found = [row for row in rows(deployment) if row["as_of_ms"] == as_of_ms]
    wanted = {
        (*tuple(row[name] for name in KEY if name != "day"), row["day"]): row
        for row in in_memory(market._replace(conversions=corrected), as_of_ms, market)
    }
    for row in found:
        same = wanted.pop((*tuple(row[name] for name in KEY if name != "day"), as_date(row["day"])), None)
        if same is None:
            assert (row["total_micros"], row["high_micros"]) == (0, 0)
        else:
            assert {name: row[name] for name in FIGURES} == {name: same[name] for name in FIGURES}
        if row["is_organic"] or same is None:
            assert row["incremental_micros"] is None
        else:
            share, name = (0.6, "lift") if row["ad_id"] == first else (0.5, "geo")
            assert (row["holdout"], row["incremental_micros"]) == (
                name,
                pytest.approx(share * row["total_micros"], abs=1),
            )
    assert wanted == {}
    assert {row["holdout"] for row in found} == {"", "geo", "lift"}
    # What was not said again is of other days, or was empty before.
    assert all(row["high_micros"] == 0 for row in rows(deployment) if row["as_of_ms"] != as_of_ms)


def test_little_is_no_failure(deployment: Settings, loader: Role, caplog: pytest.LogCaptureFixture) -> None:
    metrics = RoleMetrics(CollectorRegistry())
    as_of_ms = compute(deployment, loader, metrics)
    assert rows(deployment, "account_id = 'modelless'") == []
    assert "modelless has no totals: there is no model of matching" in caplog.text
    assert metrics.discarded.labels(OUTPUT, "no_model")._value.get() == 1
    [organic] = rows(deployment, "account_id = 'clickless'")
    assert (organic["is_organic"], organic["total_micros"], organic["low_micros"]) == (True, 2 * MICRO, 2 * MICRO)
    assert metrics.totals_as_of.labels("acme")._value.get() == as_of_ms / 1000
    assert metrics.totals_alarm.labels("acme")._value.get() in (0, 1)


def test_processes_share_the_accounts_and_take_over(deployment: Settings, loader: Role, tmp_path: Path) -> None:
    def newest() -> int:
        return max((row["as_of_ms"] for row in rows(deployment)), default=0)

    with running(tmp_path, "totals", "totals") as roles:
        began = int(time.time() * 1000)
        wait_until(lambda: newest() > began, [loader, *roles], "totals of a time after the start")
        busy = max(roles, key=lambda role: role.metric('totals_as_of_timestamp_seconds{account="acme"}'))
        busy.process.kill()
        busy.process.wait()
        [other] = [role for role in roles if role is not busy]
        killed = int(time.time() * 1000)
        wait_until(lambda: newest() > killed, [loader, other], "totals by the other")
    said = defaultdict(set)
    for row in records(deployment):
        said[row["as_of"], *(row[name] for name in KEY)].add(tuple(row.values()))
    assert {len(contents) for contents in said.values()} == {1}
