"""Blocks that ClickHouse refuses, by constraints, views and tables that somebody changed."""

import io
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import fastavro
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from schemas import wire
from schemas.definitions import definition, parse
from sinks.clickhouse.migrations import apply
from sinks.errors import Refused
from streams.clickhouse import connect, migrations
from streams.loader.loader import Loader
from streams.loader.refused import BlockRefused, refused_rows
from streams.metrics import RoleMetrics
from streams.offsets import Offsets
from streams.settings import Settings, load_settings
from tests.schemas.client.gate import gate_to
from tests.streams.loader.loading import (
    Crash,
    CrashingLoader,
    command,
    dead_letters,
    ids,
    is_caught_up,
    load_until_caught_up,
    loaded,
    publish,
    publish_clicks,
    running,
    wait_for,
)

GUARD = "ALTER TABLE clicks ADD CONSTRAINT guard CHECK channel != 'forbidden'"


@pytest.fixture
def guarded(deployment: Settings) -> Settings:
    """A deployment whose table of clicks refuses those of one channel."""
    with connect(deployment) as clickhouse:
        apply(clickhouse, migrations())
        clickhouse.command(GUARD)
    return deployment


def publish_with_bad_ones(settings: Settings, first: int, count: int, bad: set[int], **values: Any) -> None:
    channel = {number: "forbidden" if number in bad else "search" for number in range(first, first + count)}
    publish_clicks(settings, [{"click_id": f"c{n}", "channel": name, **values} for n, name in channel.items()])


def click_of(letter: dict[str, Any]) -> str:
    """The click whose original bytes a dead letter holds."""
    body = io.BytesIO(letter["value"][wire.HEADER_BYTES :])
    click: Any = fastavro.schemaless_reader(body, parse(definition("clicks").text), None)
    return str(click["click_id"])


def require_exact(settings: Settings, count: int, bad: set[int]) -> None:
    """Each click is in the table once, or in the dead letters, by id; nothing is left over."""
    assert loaded(settings) == ids(*(set(range(count)) - bad))
    letters = dead_letters(settings)
    assert sorted(map(click_of, letters)) == ids(*bad)
    assert {letter["error_class"] for letter in letters} <= {"refused_by_clickhouse"}
    assert is_caught_up(settings)
    assert twins(settings) == []


def twins(settings: Settings) -> list[str]:
    with connect(settings) as clickhouse:
        names: list[str] = clickhouse.query("SHOW TABLES").column("name").to_pylist()
    return [name for name in names if "twin" in name]


def always(*args: Any) -> bool:
    return True


def is_clicks(topic: str, block: Any, table: str, *rest: Any) -> bool:
    return table == "clicks"


def is_progress(topic: str, block: Any, table: str, *rest: Any) -> bool:
    return table == "load_progress"


WINDOWS: dict[str, tuple[str, bool, Callable[..., bool]]] = {
    "refused, its bad rows not found": ("_refused_rows", True, always),
    "bad rows found, not dead-lettered": ("_bury", True, always),
    "dead-lettered, the good rows not inserted": ("_bury", False, always),
    "good rows inserted, progress not recorded": ("_insert", False, is_clicks),
    "progress recorded, end not committed": ("_insert", False, is_progress),
}


@pytest.mark.parametrize("window", WINDOWS)
def test_a_crash_around_a_refused_block(guarded: Settings, window: str) -> None:
    bad = {0, 77, 78, 199, 250}
    publish_with_bad_ones(guarded, 0, 300, bad)
    loader = CrashingLoader(guarded, *WINDOWS[window])
    with pytest.raises(Crash):
        loader.run(lambda: False)
    # What arrives in between would move the ends of the blocks.
    publish_with_bad_ones(guarded, 300, 100, {333})
    load_until_caught_up(guarded)
    require_exact(guarded, 400, bad | {333})


def test_a_refused_block_half_landed(guarded: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server died between the parts of a block's two months."""
    now = datetime.now(UTC)
    months = [now - timedelta(minutes=1), now - timedelta(days=40)]
    bad = {10, 11, 30}
    for number, month in enumerate(months):
        publish_with_bad_ones(guarded, number * 20, 20, bad, event_time=month, visitor_id="v")
    loader = Loader(guarded, RoleMetrics(CollectorRegistry()))

    def land_a_month(topic: str, block: Any, table: str, rows: pa.Table, token: str) -> None:
        newest = pa.array([time.month == now.month for time in rows.column("event_time").to_pylist()])
        good = pa.array([name != "forbidden" for name in rows.column("channel").to_pylist()])
        with connect(guarded) as clickhouse:
            clickhouse.insert(table, rows.filter(newest).filter(good.filter(newest)), token)
        raise Crash

    monkeypatch.setattr(loader, "_insert", land_a_month)
    with pytest.raises(Crash):
        loader.run(lambda: False)
    assert loaded(guarded) == ids(*(set(range(20)) - bad))
    load_until_caught_up(guarded)
    require_exact(guarded, 40, bad)


def test_a_letter_says_what_and_where_and_nothing_of_the_data(guarded: Settings) -> None:
    publish_with_bad_ones(guarded, 0, 3, {1}, visitor_id="v")
    load_until_caught_up(guarded)
    [letter] = dead_letters(guarded)
    assert letter["error_message"] == "ClickHouse refused: VIOLATED_CONSTRAINT (code 469)"
    assert (letter["offset"], letter["key"], click_of(letter)) == (1, b"v", "c1")


def test_a_block_of_bad_rows_alone(guarded: Settings) -> None:
    bad = set(range(40))
    publish_with_bad_ones(guarded, 0, 40, bad)
    load_until_caught_up(guarded)
    require_exact(guarded, 40, bad)


def test_an_outage_while_bad_rows_are_looked_for(guarded: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    with gate_to(guarded.clickhouse.url.removeprefix("http://")) as gate:
        gate.open()
        monkeypatch.setenv("SPENDLOOP_CLICKHOUSE__URL", f"http://{gate.address}")
        publish_with_bad_ones(guarded, 0, 200, {7, 150}, visitor_id="v")
        attempts: list[int] = []
        original = refused_rows

        def interrupted(rows: pa.Table, refusal: Refused, attempt: Callable[[pa.Table], None]) -> Any:
            def shut_once(part: pa.Table) -> None:
                attempts.append(part.num_rows)
                if len(attempts) == 5:
                    gate.shut()
                attempt(part)

            return original(rows, refusal, shut_once)

        monkeypatch.setattr("streams.loader.loader.refused_rows", interrupted)
        with running(load_settings()) as loader:
            wait_for(lambda: loader.metric("waiting_for_dependency", stage="refused"))
            gate.open()
            wait_for(lambda: is_caught_up(guarded))
    require_exact(guarded, 200, {7, 150})


@pytest.fixture
def loader(deployment: Settings) -> Loader:
    return Loader(deployment, RoleMetrics(CollectorRegistry()))


def require_stopped_with_nothing_done(settings: Settings) -> None:
    assert dead_letters(settings) == []
    assert twins(settings) == []
    with Offsets(settings) as offsets:
        assert set(offsets.committed("loader", "clicks").values()) == {0}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("ALTER TABLE clicks DROP COLUMN channel", "NO_SUCH_COLUMN_IN_TABLE"),
        ("DROP TABLE clicks", "Table .* does not exist"),
        ("ALTER TABLE clicks DROP COLUMN channel, ADD COLUMN channel Map(String, String)", "TYPE_MISMATCH"),
    ],
)
def test_where_it_is_not_the_rows_it_stops_with_the_reason(
    deployment: Settings, loader: Loader, change: str, reason: str
) -> None:
    publish(deployment, 0, 50, channel="search")
    command(deployment, change)
    with pytest.raises(Refused, match=reason):
        loader.run(lambda: False)
    require_stopped_with_nothing_done(deployment)


def test_a_view_that_throws_stops_it_by_name_and_rows_are_exact_once_it_is_mended(
    deployment: Settings, loader: Loader
) -> None:
    publish(deployment, 0, 50, visitor_id="v")
    command(deployment, "CREATE TABLE counts (day Date, clicks UInt64) ENGINE = SummingMergeTree ORDER BY day")
    view = "CREATE MATERIALIZED VIEW broken TO counts AS SELECT toDate(event_time) AS day, {} AS clicks FROM clicks"
    command(deployment, view.format("toUInt64(throwIf(click_id = 'c7'))"))
    with pytest.raises(BlockRefused, match=r"in the view \S*broken.*something attached to the table"):
        loader.run(lambda: False)
    require_stopped_with_nothing_done(deployment)
    command(deployment, "DROP TABLE broken")
    load_until_caught_up(deployment)
    require_exact(deployment, 50, set())


def attempt_with(bad: set[int], calls: list[int]) -> Callable[[pa.Table], None]:
    def attempt(rows: pa.Table) -> None:
        calls.append(rows.num_rows)
        if bad & set(rows.column("n").to_pylist()):
            raise Refused("bad", "VIOLATED_CONSTRAINT")

    return attempt


@given(st.integers(1, 300), st.data())
def test_exactly_the_bad_rows_are_found(count: int, data: st.DataObject) -> None:
    bad = data.draw(st.sets(st.integers(0, count - 1), min_size=1, max_size=20))
    calls: list[int] = []
    found = refused_rows(pa.table({"n": range(count)}), Refused("all"), attempt_with(bad, calls))
    assert set(found) == bad
    assert len(calls) <= 2 + 2 * len(bad) * max(1, count.bit_length())


def test_rows_that_are_only_refused_together_stop_it() -> None:
    def attempt(rows: pa.Table) -> None:
        if rows.num_rows > 1:
            raise Refused("too many", "TOO_MANY")

    with pytest.raises(BlockRefused, match=r"all of it\. It takes the rows"):
        refused_rows(pa.table({"n": range(8)}), Refused("all of it"), attempt)
