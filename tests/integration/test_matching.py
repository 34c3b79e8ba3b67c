"""From a simulated market through the real pipeline: learned, matched by evidence, evaluated, and asked for in SQL."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from processors.simulation.parameters import World
from processors.simulation.tables import Tables, tables_of
from processors.simulation.world import simulate
from schemas.client.publisher import Publisher
from streams.admin import registry
from streams.clickhouse import connect
from streams.settings import Settings
from tests.integration.roles import Role, running, wait_until, wait_until_attributed, wait_until_loaded
from tests.streams.replay.commands import done

WORLD = replace(World().scaled(0.06), account_id="acme", start=(datetime.now(UTC) - timedelta(days=29)).date(), days=28)
BY_EVIDENCE = ("fingerprint", "ip", "probabilistic")


def publish(settings: Settings, topic: str, table: pa.Table) -> None:
    with Publisher(settings.kafka.client(), registry(settings), prefix=settings.namespace) as publisher:
        publisher.publish_table(topic, table)


def bought_again(market: Tables) -> pa.Table:
    """The conversions of the last days, once more under other names: they arrive when there is a model."""
    since = pc.subtract(pc.max(market.conversions["event_time"]), pa.scalar(timedelta(days=8)))
    some = market.conversions.filter(pc.greater(market.conversions["event_time"], since))
    names = pa.array([f"again-{name}" for name in some["conversion_id"].to_pylist()])
    return some.set_column(some.schema.get_field_index("conversion_id"), "conversion_id", names)


def attributed(settings: Settings) -> dict[str, Mapping[str, Any]]:
    sql = (
        "SELECT conversion_id, layer, confidence_ad, model_version, is_used_for_reporting, touchpoints.ad_id AS ads"
        " FROM attributed_conversions FINAL WHERE startsWith(conversion_id, 'again-')"
    )
    with connect(settings) as clickhouse:
        return {row["conversion_id"]: row for row in clickhouse.query(sql).to_pylist()}


def evaluated(settings: Settings) -> int:
    """How many of those that an identifier matches were matched without it."""
    sql = (
        "SELECT countDistinct(conversion_id) AS n FROM evaluated_conversions WHERE startsWith(conversion_id, 'again-')"
    )
    with connect(settings) as clickhouse:
        [row] = clickhouse.query(sql).to_pylist()
    return int(row["n"])


def wait_until_settled(settings: Settings, roles: list[Role], count: int) -> None:
    def settled() -> bool:
        by_model = (row for row in attributed(settings).values() if row["model_version"].startswith("match-"))
        return sum(row["layer"] in (*BY_EVIDENCE, "none") for row in by_model) >= count

    wait_until(settled, roles, f"{count} conversions settled")


def test_conversions_without_an_identifier_are_matched_when_the_clicks_are_in(
    deployment: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    market = tables_of(simulate(WORLD, seed=31), seed=31)
    again = bought_again(market)
    true_ads = dict(
        zip(
            market.conversion_truth["conversion_id"].to_pylist(),
            market.conversion_truth["ad_id"].to_pylist(),
            strict=True,
        )
    )
    monkeypatch.setenv("SPENDLOOP_MATCHING__IN_FORCE_AFTER_S", "0")
    monkeypatch.setenv("SPENDLOOP_MATCHING__SETTLE_AFTER_S", "[1, 3]")
    monkeypatch.setenv("SPENDLOOP_MATCHING__EVALUATED_SHARE", "1")
    publish(deployment, "clicks", market.clicks)
    publish(deployment, "conversions", market.conversions)
    assert "in force from" in done("learn", "matching", "--account", "acme")
    with running(tmp_path, "attribution", "loader") as roles:
        wait_until_attributed(deployment, roles)
        publish(deployment, "conversions", again)
        wait_until_attributed(deployment, roles)
        wait_until_loaded(deployment, roles, "attributed-conversions")
        open_ = [name for name, row in attributed(deployment).items() if row["layer"] in ("none", *BY_EVIDENCE)]
        assert 100 < len(open_) < again.num_rows
        wait_until_settled(deployment, roles, len(open_))
        identified = again.num_rows - len(open_)
        wait_until(lambda: evaluated(deployment) == identified, roles, f"{identified} conversions evaluated")
    rows = attributed(deployment)
    used = {name: rows[name] for name in open_ if rows[name]["is_used_for_reporting"]}
    assert [row for row in used.values() if row["layer"] not in BY_EVIDENCE or row["confidence_ad"] < 0.5] == []
    right = [true_ads[name.removeprefix("again-")] in row["ads"] for name, row in used.items()]
    assert len(right) > 20
    assert sum(right) / len(right) > 0.7
    with connect(deployment) as clickhouse:
        methods = clickhouse.query("SELECT DISTINCT method FROM attribution_quality ORDER BY method").to_pylist()
    assert [row["method"] for row in methods] == ["knock_out", "withheld"]
