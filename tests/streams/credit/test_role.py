"""Model credit on the real stack: what is published is what the batch makes of the same journeys."""

import json
import random
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from deploy.local.stack import LocalStack
from processors.credit.markov import markov
from processors.credit.paths import PathCounts
from processors.credit.shapley import shapley
from schemas.client.publisher import Publisher
from sinks.clickhouse.migrations import apply
from streams.admin import apply_topics, registry
from streams.clickhouse import connect, migrations
from streams.settings import Settings, load_settings
from streams.ticks.ownership import partition_of
from tests.conftest import isolate
from tests.integration.roles import Role, running, wait_until

NOW = datetime.now(UTC).replace(microsecond=0)
ACCOUNTS = ("acme", "globex", "initech")
MODELS = (("markov", 1), ("markov", 2), ("markov", 3), ("shapley", 0))


@dataclass(frozen=True)
class Journey:
    """A visitor's clicks, half an hour apart, and the conversion half an hour after them, if there is one."""

    account: str
    visitor: str
    channels: Sequence[str]
    began: datetime
    value_micros: int | None = None
    version: int = 0
    late: Sequence[str] = field(default=())

    @property
    def path(self) -> tuple[str, ...]:
        return (*self.channels, *self.late)

    def clicks(self) -> list[dict[str, Any]]:
        return [
            {
                "account_id": self.account,
                "click_id": f"{self.visitor}-{number}",
                "visitor_id": self.visitor,
                "event_time": self.began + timedelta(minutes=30 * number),
                "channel": channel,
            }
            for number, channel in enumerate(self.path)
        ]

    def conversions(self) -> list[dict[str, Any]]:
        if self.value_micros is None:
            return []
        return [
            {
                "account_id": self.account,
                "conversion_id": f"c-{self.visitor}",
                "visitor_id": self.visitor,
                "event_name": "Purchase",
                "event_time": self.began + timedelta(hours=12),
                "value_micros": self.value_micros,
                "currency": "EUR",
                "source_version": self.version,
            }
        ]


def some_journeys(seed: int) -> list[Journey]:
    """A third of them convert; all windows of a day have closed."""
    dice = random.Random(seed)
    return [
        Journey(
            account,
            f"{account}-v{number}",
            dice.choices(("search", "social", "mail", "video"), k=dice.randrange(1, 6)),
            NOW - timedelta(days=dice.randrange(3, 9), minutes=dice.randrange(600)),
            dice.choice([None, None, dice.randrange(10**9)]),
        )
        for account in ACCOUNTS
        for number in range(60)
    ]


def counts_of(journeys: Sequence[Journey], account: str) -> PathCounts:
    """The batch: every journey once, as it is now."""
    counts = PathCounts()
    for journey in journeys:
        if journey.account == account:
            if journey.value_micros is None:
                counts.add(journey.path, nulls=1)
            else:
                counts.add(journey.path, 1, journey.value_micros)
    return counts


def publish(settings: Settings, journeys: Sequence[Journey]) -> None:
    common = {"consent": "granted", "limited_data_use": False}
    with Publisher(settings.kafka.client(), registry(settings), prefix=settings.namespace) as publisher:
        publisher.publish_records("clicks", [common | row for journey in journeys for row in journey.clicks()])
        publisher.publish_records(
            "conversions", [common | row for journey in journeys for row in journey.conversions()]
        )


def published(settings: Settings, since_ms: int) -> dict[tuple[str, str, int], dict[str, tuple[float, int]]]:
    """Credit by account and model, of the first time from `since_ms` on for which an account has every model."""
    with connect(settings) as clickhouse:
        rows = clickhouse.query(
            "SELECT account_id, model, chain_order, channels.channel AS channels, channels.conversions AS parts, "
            "amounts.value_micros[1] AS micros FROM model_credit_versions FINAL "
            f"WHERE toUnixTimestamp64Milli(as_of) >= {since_ms} ORDER BY as_of "
            "LIMIT 1 BY account_id, model, chain_order"
        ).to_pylist()
    return {
        (row["account_id"], row["model"], row["chain_order"]): {
            channel: (part, micros)
            for channel, part, micros in zip(row["channels"], row["parts"], row["micros"], strict=True)
        }
        for row in rows
    }


def expected(journeys: Sequence[Journey]) -> dict[tuple[str, str, int], dict[str, tuple[float, int]]]:
    found = {}
    for account in ACCOUNTS:
        counts = counts_of(journeys, account)
        for model, order in MODELS:
            credit = markov(counts, order) if order else shapley(counts)
            found[account, model, order] = {
                channel: (part, micros)
                for channel, part, micros in zip(
                    credit.channels, credit.conversions.tolist(), credit.value_micros.tolist(), strict=True
                )
            }
    return found


def require_credit(settings: Settings, roles: list[Role], journeys: Sequence[Journey]) -> None:
    """What is published for a time after now equals the batch, to the last bit."""
    since_ms = int(time.time() * 1000)

    def is_published() -> bool:
        return len(published(settings, since_ms)) == len(ACCOUNTS) * len(MODELS)

    wait_until(is_published, roles, "credit of everything published")
    assert published(settings, since_ms) == expected(journeys)


@pytest.fixture(scope="module")
def deployment(stack: LocalStack) -> Iterator[Settings]:
    with pytest.MonkeyPatch.context() as patch:
        isolate(stack, patch)
        patch.setenv("SPENDLOOP_CREDIT__INTERVAL_S", "1")
        patch.setenv("SPENDLOOP_ATTRIBUTION__LOOKBACK_D", "1")
        settings = load_settings()
        apply_topics(settings)
        with connect(settings) as clickhouse:
            apply(clickhouse, migrations())
        yield settings


@pytest.fixture(scope="module")
def roles(deployment: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Role]]:
    with running(tmp_path_factory.mktemp("roles"), "attribution", "loader", "credit", "credit") as roles:
        yield roles


def revised(journeys: Sequence[Journey]) -> list[Journey]:
    """A value corrected, a click that came late, a conversion where there was none, another click of a null."""
    changed = list(journeys)
    converting = [n for n, journey in enumerate(journeys) if journey.value_micros is not None]
    others = [n for n, journey in enumerate(journeys) if journey.value_micros is None]
    changed[converting[0]] = replace(journeys[converting[0]], value_micros=7, version=1)
    changed[converting[1]] = replace(journeys[converting[1]], late=("display",))
    changed[others[0]] = replace(journeys[others[0]], value_micros=123_456_789)
    changed[others[1]] = replace(journeys[others[1]], late=("display",))
    return changed


def test_it_is_the_batch_also_after_redelivery_revisions_and_a_crash(
    deployment: Settings, roles: list[Role], tmp_path: Path
) -> None:
    journeys = some_journeys(1)
    publish(deployment, journeys)
    require_credit(deployment, roles, journeys)
    publish(deployment, journeys)
    require_credit(deployment, roles, journeys)
    publish(deployment, [item for item in revised(journeys) if item not in journeys])
    require_credit(deployment, roles, revised(journeys))
    assert all(role.metric('sent_events_total{target="model-credit"}') for role in roles[2:]), "both had their share"

    roles[2].process.kill()
    roles[2].process.wait()
    with running(tmp_path, "credit") as fresh:
        require_credit(deployment, [*roles[:2], roles[3], *fresh], revised(journeys))

    require_versions(deployment)
    require_shared_out(deployment)
    require_on_demand(counts_of(revised(journeys), "acme"))


def require_versions(settings: Settings) -> None:
    """All are kept, each says what it was computed from, and its totals are those of the journeys."""
    with connect(settings) as clickhouse:
        rows = clickhouse.query(
            "SELECT as_of, records_read, cut.end_offset AS ends, conversions, nulls, "
            "arraySum(channels.conversions) AS credited FROM model_credit_versions FINAL "
            "WHERE account_id = 'acme' AND model = 'markov' AND chain_order = 2 ORDER BY as_of"
        ).to_pylist()
        newest = clickhouse.query(
            "SELECT DISTINCT as_of FROM model_credit WHERE account_id = 'acme' AND chain_order = 2"
        ).to_pylist()
    assert len(rows) > 3
    assert [row["records_read"] for row in rows] == sorted(sum(row["ends"]) for row in rows)
    assert all(row["credited"] == pytest.approx(row["conversions"]) for row in rows)
    assert rows[-1]["conversions"] + rows[-1]["nulls"] == 60
    assert newest[0]["as_of"] >= rows[-1]["as_of"]


def require_shared_out(settings: Settings) -> None:
    """An account is whose process its records' partition is."""
    with connect(settings) as clickhouse:
        rows = clickhouse.query("SELECT DISTINCT account_id, kafka_partition FROM model_credit_versions").to_pylist()
    found = {row["account_id"]: row["kafka_partition"] for row in rows}
    assert found == {account: partition_of(account, settings.kafka.partitions) for account in ACCOUNTS}
    assert len(rows) == len(found)
    assert len(set(found.values())) > 1


def require_on_demand(counts: PathCounts) -> None:
    command = ["credit", "--account", "acme", "--model", "markov", "--order", "2", "--format", "json"]
    done = subprocess.run(
        [sys.executable, "-m", "streams.cli.main", *command], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    rows = {row["channel"]: row for row in map(json.loads, done.stdout.splitlines())}
    credit = markov(counts, 2)
    assert [rows[name]["conversions"] for name in credit.channels] == credit.conversions.tolist()
    assert [rows[name]["value_micros"] for name in credit.channels] == credit.value_micros.tolist()
