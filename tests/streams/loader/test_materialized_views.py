"""A materialized view that is written as docs/operations.md says counts every row once, whatever is repeated."""

import pytest
from prometheus_client import CollectorRegistry

from sinks.clickhouse.migrations import apply
from streams.clickhouse import connect, migrations
from streams.loader.loader import Loader
from streams.loader.refused import BlockRefused
from streams.metrics import RoleMetrics
from streams.settings import Settings, load_settings
from tests.streams.loader.loading import (
    command,
    ids,
    is_caught_up,
    load_until_caught_up,
    loaded,
    publish,
    running,
    wait_for,
)
from tests.streams.loader.proxies import AnswerLosing, through

TARGET = (
    "CREATE TABLE clicks_by_day (day Date, clicks UInt64) ENGINE = SummingMergeTree ORDER BY day "
    "SETTINGS non_replicated_deduplication_window = 1000000"
)
VIEW = (
    "CREATE MATERIALIZED VIEW count_clicks TO clicks_by_day AS "
    "SELECT toDate(event_time) AS day, count() AS clicks FROM clicks GROUP BY day"
)


@pytest.fixture
def viewed(deployment: Settings) -> Settings:
    with connect(deployment) as clickhouse:
        apply(clickhouse, migrations())
        clickhouse.command(TARGET)
        clickhouse.command(VIEW)
    return deployment


def counted(settings: Settings) -> int:
    with connect(settings) as clickhouse:
        total: int = clickhouse.query("SELECT sum(clicks) AS n FROM clicks_by_day").column("n")[0].as_py()
    return total


def test_sums_are_exact_when_answers_are_lost(viewed: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    with through(AnswerLosing, viewed.clickhouse.url) as proxy:
        monkeypatch.setenv("SPENDLOOP_CLICKHOUSE__URL", f"http://{proxy.address}")
        proxy.to_lose = 3
        publish(viewed, 0, 400)
        with running(load_settings()):
            wait_for(lambda: is_caught_up(viewed))
        assert proxy.lost == 3
    assert loaded(viewed) == ids(*range(400))
    assert counted(viewed) == 400


def test_a_view_that_failed_gets_what_the_table_already_has(viewed: Settings) -> None:
    command(viewed, "CREATE TABLE is_broken (n UInt8) ENGINE = Memory")
    command(viewed, "INSERT INTO is_broken VALUES (1)")
    command(viewed, "DROP TABLE count_clicks")
    command(viewed, VIEW.replace("GROUP BY", "WHERE NOT throwIf((SELECT count() FROM is_broken) > 0) GROUP BY"))
    publish(viewed, 0, 50, visitor_id="v")
    loader = Loader(viewed, RoleMetrics(CollectorRegistry()))
    with pytest.raises(BlockRefused, match="count_clicks"):
        loader.run(lambda: False)
    assert loaded(viewed) == ids(*range(50)), "the table had it before the view failed"
    assert counted(viewed) == 0
    command(viewed, "TRUNCATE TABLE is_broken")
    load_until_caught_up(viewed)
    assert loaded(viewed) == ids(*range(50))
    assert counted(viewed) == 50
