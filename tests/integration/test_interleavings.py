"""The result does not depend on how the topics interleave, nor on which worker has which partition."""

import itertools
from collections import defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest

from schemas.client.publisher import Publisher
from streams.admin import registry
from streams.clickhouse import connect
from streams.demo.journeys import AggregatedPath, expand, read_paths
from streams.settings import Settings
from tests.integration.roles import Role, running, wait_until_attributed, wait_until_loaded

PATHS = [path for path in read_paths() if path.conversions][200:290]
#: What a touchpoint weighs in a path, by its place and the path's length: clicks are an hour apart, a half-life is
#: seven days, and no channel is direct.
WEIGHTS = {
    "first": lambda place, length: place == 0,
    "last": lambda place, length: place == length - 1,
    "linear": lambda place, length: 1,
    "position_based": lambda place, length: 0.4 if place in (0, length - 1) else 0.2 / (length - 2),
    "time_decay": lambda place, length: 2 ** (place / (7 * 24)),
    "last_non_direct": lambda place, length: place == length - 1,
}


@pytest.fixture(scope="module")
def roles(shared_deployment: Settings, tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Role]]:
    with running(tmp_path_factory.mktemp("roles"), "attribution", "attribution", "loader") as roles:
        yield roles


@pytest.fixture(scope="module")
def publisher(shared_deployment: Settings) -> Iterator[Publisher]:
    with Publisher(
        shared_deployment.kafka.client(), registry(shared_deployment), prefix=shared_deployment.namespace
    ) as publisher:
        yield publisher


@pytest.fixture(scope="module")
def tables() -> tuple[pa.Table, pa.Table]:
    return expand(PATHS, datetime.now(UTC).date() - timedelta(days=1))


def expected(paths: list[AggregatedPath]) -> dict[tuple[str, str], float]:
    credit: defaultdict[tuple[str, str], float] = defaultdict(float)
    for path in paths:
        length = len(path.channels)
        for model, weigh in WEIGHTS.items():
            weights = [weigh(place, length) for place in range(length)]
            for channel, weight in zip(path.channels, weights, strict=True):
                credit[model, channel] += path.conversions * weight / sum(weights)
    return dict(credit)


def measured(settings: Settings, account: str) -> dict[tuple[str, str], float]:
    with connect(settings) as clickhouse:
        rows = clickhouse.query(
            f"SELECT model, channel, conversions FROM credit_by_channel WHERE account_id = '{account}'"
        ).to_pylist()
    return {(row["model"], row["channel"]): row["conversions"] for row in rows}


def of(account: str, table: pa.Table) -> pa.Table:
    return table.set_column(0, "account_id", pa.array([account] * table.num_rows))


def check(settings: Settings, roles: list[Role], account: str) -> None:
    wait_until_attributed(settings, roles)
    wait_until_loaded(settings, roles, "clicks", "conversions", "attributed-conversions")
    found = measured(settings, account)
    assert found.keys() == expected(PATHS).keys()
    assert found == pytest.approx(expected(PATHS), abs=1e-9)


def test_clicks_before_conversions(
    shared_deployment: Settings, roles: list[Role], publisher: Publisher, tables: tuple[pa.Table, pa.Table]
) -> None:
    clicks, conversions = (of("clicks-first", table) for table in tables)
    publisher.publish_table("clicks", clicks)
    publisher.flush()
    wait_until_attributed(shared_deployment, roles)
    publisher.publish_table("conversions", conversions)
    publisher.flush()
    check(shared_deployment, roles, "clicks-first")


def test_conversions_entirely_before_clicks(
    shared_deployment: Settings, roles: list[Role], publisher: Publisher, tables: tuple[pa.Table, pa.Table]
) -> None:
    clicks, conversions = (of("conversions-first", table) for table in tables)
    publisher.publish_table("conversions", conversions)
    publisher.flush()
    wait_until_attributed(shared_deployment, roles)
    publisher.publish_table("clicks", clicks)
    publisher.flush()
    check(shared_deployment, roles, "conversions-first")


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_random_interleavings_with_duplicates(
    shared_deployment: Settings, roles: list[Role], publisher: Publisher, tables: tuple[pa.Table, pa.Table], seed: int
) -> None:
    random = np.random.default_rng(seed)
    account = f"random-{seed}"
    pieces: list[tuple[str, pa.Table]] = []
    for topic, table in zip(("clicks", "conversions"), tables, strict=True):
        shuffled = of(account, table).take(random.permutation(table.num_rows))
        cuts = np.sort(random.integers(0, table.num_rows, 12))
        bounds = [0, *cuts.tolist(), table.num_rows]
        pieces += [(topic, shuffled.slice(a, b - a)) for a, b in itertools.pairwise(bounds)]
    pieces += [pieces[index] for index in random.integers(0, len(pieces), 4)]
    for index in random.permutation(len(pieces)):
        publisher.publish_table(*pieces[index])
        publisher.flush()
    check(shared_deployment, roles, account)


def test_both_workers_took_part(roles: list[Role]) -> None:
    """Or the tests above have not tested what they say."""
    for worker in roles[:2]:
        assert worker.metric('received_events_total{topic="clicks"}') > 0
        assert worker.metric('received_events_total{topic="conversions"}') > 0
