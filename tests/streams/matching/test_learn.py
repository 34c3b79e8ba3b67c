"""`spendloop learn matching` on a simulated market in the real stack: the model is that of all its clicks."""

import json
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from processors.matching.candidates import ClickIndex
from processors.matching.evidence import evidence_of, hash_text, hashes_of
from processors.matching.learning import Learned, learn
from processors.matching.lesson import lesson
from processors.matching.model import MatchModel
from processors.matching.statistics import Statistics
from processors.simulation.parameters import World
from processors.simulation.tables import Tables, tables_of
from processors.simulation.world import simulate
from schemas.client.publisher import Publisher
from schemas.errors import RegistryUnavailable
from streams.admin import registry
from streams.matching.columns import Columns
from streams.matching.learn import CONVERSIONS_AT_ONCE, _groups
from streams.matching.models import MODELS, MatchModels
from streams.settings import Settings
from tests.streams.replay.commands import done, spendloop

HOUR_MS = 3_600_000
#: It lies whole within the last 30 days.
WORLD = replace(World().scaled(0.06), account_id="acme", start=(datetime.now(UTC) - timedelta(days=29)).date(), days=28)


@pytest.fixture(scope="module")
def market() -> Tables:
    return tables_of(simulate(WORLD, seed=31), seed=31)


@pytest.fixture(scope="module")
def settings(shared_deployment: Settings, market: Tables) -> Settings:
    """A deployment in which the market has happened, and another tenant has sold twice."""
    with publisher(shared_deployment) as publish:
        publish.publish_table("clicks", market.clicks)
        publish.publish_table("conversions", market.conversions)
        # Each of them once more, and two of a tenant with nothing to learn from.
        publish.publish_table("conversions", market.conversions.slice(0, 300))
        publish.publish_table("conversions", of_account(market.conversions.slice(0, 2), "small"))
    return shared_deployment


def publisher(settings: Settings) -> Publisher:
    return Publisher(settings.kafka.client(), registry(settings), prefix=settings.namespace)


def of_account(table: pa.Table, account_id: str) -> pa.Table:
    column = pa.array([account_id] * table.num_rows, pa.string())
    return table.set_column(table.schema.get_field_index("account_id"), "account_id", column)


@pytest.fixture(scope="module")
def expected(market: Tables) -> Learned:
    """From all clicks at once."""
    order = np.argsort([hash_text(name) for name in market.conversions["conversion_id"].to_pylist()])
    conversions = evidence_of(market.conversions.take(pa.array(order)), "event_source_url")
    ads = np.unique(hashes_of(market.clicks, "ad_id"), return_inverse=True)[1]
    return learn(lesson(conversions, ClickIndex(evidence_of(market.clicks, "landing_url")), ads))


def follow_until(models: MatchModels, condition: Callable[[], object]) -> None:
    """What was published may be a moment away."""
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        models.follow()
        time.sleep(0.1)


def records(settings: Settings, account_id: str = "acme") -> list[dict]:
    client = registry(settings)
    try:
        parts = list(Columns(settings, client, MODELS).everything())
    finally:
        client.close()
    rows = [row for part in parts for row in part.batch.to_pylist() if row["account_id"] == account_id]
    # Times as a publisher takes them.
    return [
        {name: value.astimezone(UTC) if isinstance(value, datetime) else value for name, value in row.items()}
        for row in rows
    ]


@pytest.fixture(scope="module")
def models(settings: Settings) -> Iterator[MatchModels]:
    client = registry(settings)
    with MatchModels(settings, client) as found:
        found.load()
        yield found
    client.close()


def test_the_model_is_that_of_all_clicks(settings: Settings, expected: Learned, models: MatchModels) -> None:
    assert models.model_for("acme", 2**62) is None
    said = done("learn", "matching", "--account", "acme", "--dry-run")
    assert expected.model.version in said
    assert "not published" in said
    assert records(settings) == []

    before_ms = int(time.time() * 1000)
    said = done("learn", "matching", "--all")
    assert f"acme: {expected.model.version} from 1125 conversions and 12000 clicks" in said
    assert "small: no model: 0 conversions match a click by e-mail" in said
    [record] = records(settings)
    assert record["version"] == expected.model.version
    assert MatchModel.from_json(record["model"]).version == expected.model.version
    assert Statistics.from_json(record["sums"]).identified == pytest.approx(expected.sums.identified)
    assert record["identifier_matches"] == pytest.approx(expected.sums.identified)
    assert record["organic_share"] == expected.model.organic
    lead_ms = record["in_force_from"].timestamp() * 1000 - before_ms
    assert 600_000 <= lead_ms < 900_000
    assert records(settings, "small") == []

    from_ms = int(record["in_force_from"].timestamp() * 1000)
    follow_until(models, lambda: models.model_for("acme", from_ms))
    assert models.model_for("acme", from_ms - 1) is None
    found = models.model_for("acme", from_ms)
    assert found is not None
    assert found.version == expected.model.version
    assert models.model_for("small", from_ms) is None


def test_a_run_is_repeated_without_learning_twice(settings: Settings) -> None:
    published = len(records(settings))
    assert "left alone: learned 0.0 h ago" in done("learn", "matching", "--account", "acme")
    assert len(records(settings)) == published
    done("learn", "matching", "--account", "acme", "--again")
    *_, before, after = records(settings)
    assert after["identifier_matches"] == before["identifier_matches"]
    assert after["organic_share"] == pytest.approx(before["organic_share"], abs=1e-3)


def test_audits_calibrate_a_version_of_its_own(settings: Settings, market: Tables, tmp_path) -> None:
    truth = {row["conversion_id"]: row["ad_id"] for row in market.conversion_truth.to_pylist()}
    names = [name for name in truth if truth[name]][:150] + [name for name in truth if not truth[name]][:150]
    version = records(settings)[-1]["version"]
    attributed = [
        {
            "account_id": "acme",
            "conversion_id": name,
            "event_name": "Purchase",
            "event_time": datetime.now(UTC),
            "consent": "granted",
            "limited_data_use": False,
            "conversion_ingest_time": datetime.now(UTC),
            "epoch": 0,
            "facts_held": held,
            "origin_topic": "clicks",
            "origin_topic_id": "t",
            "origin_partition": 0,
            "origin_offset": 0,
            "layer": "click_id" if number % 10 == 0 else "probabilistic",
            "confidence_person": 0.9 if held else 0.2,
            "confidence_ad": 0.8 if held else 0.1,
            "candidates": [{"click_id": "k1", "ad_id": truth[name] or "ad-0", "probability": 0.9}],
            "lookback_window_s": 1,
            "model_version": version,
            "touchpoints": [
                {
                    "click_id": "k1",
                    "ad_id": truth[name] or "ad-0",
                    "event_time": datetime.now(UTC),
                    "interaction": "click",
                }
            ],
            "credits": [],
        }
        for number, name in enumerate(names)
        for held in (1, 0)
    ]
    with publisher(settings) as publish:
        publish.publish_records("attributed-conversions", attributed)
    file = tmp_path / "audits.csv"
    lines = [f"{name},{truth[name] or ''}" for name in names] + ["of-nobody,ad-1"]
    file.write_text("\n".join(["conversion_id,ad_id", *lines]) + "\n")
    assert "301 audits imported" in done("audit", "import", str(file), "--account", "acme")

    said = done("learn", "matching", "--account", "acme", "--again")
    assert "301 audits: 270 calibrate its confidences" in said
    assert "of 30 whose click an identifier names 50.0% have the right ad" in said
    assert "1 are of conversions that have not been attributed" in said
    *_, before, after = records(settings)
    assert after["audits"] == 270
    assert after["calibration_version"].startswith("audits-")
    assert before["calibration_version"] == ""
    model = MatchModel.from_json(after["model"])
    # Stated at .8, and half of them right.
    assert 0.5 < model.calibrate_ad(np.array([0.8]))[0] < 0.6
    assert model.version == after["version"] != before["version"]


def test_a_model_without_matches_to_learn_from_is_withdrawn(settings: Settings, models: MatchModels) -> None:
    *_, last = records(settings)
    few = Statistics.from_json(last["sums"])
    known = last | {"sums": few.times(10 / few.identified).to_json(), "account_id": "small"}
    with publisher(settings) as publish:
        publish.publish("match-models", known)
    follow_until(models, lambda: models.model_for("small", 2**62))
    said = done("learn", "matching", "--account", "small", "--again")
    assert "small: the model is withdrawn: 10 conversions match" in said
    [_, withdrawn] = records(settings, "small")
    assert withdrawn["model"] is None
    from_ms = int(withdrawn["in_force_from"].timestamp() * 1000)
    follow_until(models, lambda: models.model_for("small", from_ms) is None)
    assert models.model_for("small", from_ms - 1).version == last["version"]
    # It does not come back by itself.
    assert "small: no model:" in done("learn", "matching", "--account", "small", "--again")


def test_a_reader_that_starts_finds_what_one_that_followed_has(settings: Settings, models: MatchModels) -> None:
    *_, last = records(settings)
    follow_until(models, lambda: models.model_for("acme", 2**62).version == last["version"])
    client = registry(settings)
    with MatchModels(settings, client) as started:
        assert started.load() == len(records(settings)) + len(records(settings, "small"))
        for account_id in ("acme", "small"):
            for row in records(settings, account_id):
                from_ms = int(row["in_force_from"].timestamp() * 1000)
                for at_ms in (from_ms - 1, from_ms, from_ms + HOUR_MS):
                    one, other = (found.model_for(account_id, at_ms) for found in (started, models))
                    assert (one and one.version) == (other and other.version)
    client.close()


def test_what_has_come_is_kept_until_the_registry_answers(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    client = registry(settings)
    *_, last = records(settings)
    with MatchModels(settings, client) as found:
        decode, outages = found._decoder.decode, iter([RegistryUnavailable("away"), RegistryUnavailable("away")])

        def failing(*arguments: Any) -> Any:
            for error in outages:
                raise error
            return decode(*arguments)

        monkeypatch.setattr(found._decoder, "decode", failing)
        with pytest.raises(RegistryUnavailable):
            found.load()
        with pytest.raises(RegistryUnavailable):
            found.follow()
        follow_until(found, lambda: found.model_for("acme", 2**62) is not None)
        follow_until(found, lambda: found.model_for("acme", 2**62).version == last["version"])
    client.close()


def test_a_model_of_another_build_matches_nothing(settings: Settings, models: MatchModels) -> None:
    last = records(settings)[-1]
    content = json.dumps(json.loads(last["model"]) | {"format": 99})
    with publisher(settings) as publish:
        publish.publish("match-models", last | {"account_id": "newer", "model": content, "version": "match-99-x"})
    assert any(models.follow() or time.sleep(0.1) for _ in range(600))
    assert models.model_for("newer", 2**62) is None


@pytest.mark.parametrize("arguments", [(), ("--all", "--account", "acme"), ("--all", "--days", "31")])
def test_wrong_usage(arguments: tuple[str, ...]) -> None:
    assert spendloop("learn", "matching", *arguments).exit_code == 2


def test_nobody_there(settings: Settings) -> None:
    assert "nobody: no model: no conversions in 7 days" in done(
        "learn", "matching", "--account", "nobody", "--days", "7"
    )


@given(
    counts=st.dictionaries(st.text("abcdef", min_size=1, max_size=3), st.integers(0, 900_000), max_size=12),
    most=st.integers(1, 500_000),
)
def test_accounts_that_share_a_pass_fit_into_memory(counts: dict[str, int], most: int) -> None:
    accounts = sorted(counts)
    groups = list(_groups(accounts, Counter(counts), most))
    assert [account for group in groups for account in group] == accounts
    sizes = [[min(counts[account], most) for account in group] for group in groups]
    assert all(sum(size) <= CONVERSIONS_AT_ONCE or len(size) == 1 for size in sizes)
    assert all(sum(one) + other[0] > CONVERSIONS_AT_ONCE for one, other in pairwise(sizes))
