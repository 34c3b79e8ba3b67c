"""Each view beside the same question answered in plain Python over the records."""

import random
from collections import Counter, defaultdict
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from sinks.clickhouse.client import ClickHouse
from tests.sinks.clickhouse.loading import load

DAY_MS = 86_400_000
BASE_MS = 20_000 * DAY_MS
REQUIRED = {"consent": "granted", "limited_data_use": False}
ACCOUNTS, CURRENCIES, CHANNELS = ("a", "b"), ("EUR", "USD", None), ("search", "social", None)
MODELS = ("first", "linear")
Row = dict[str, Any]


def as_time(value_ms: int) -> datetime:
    return datetime.fromtimestamp(value_ms / 1000, UTC)


def touchpoint(dice: random.Random) -> Row:
    return {
        "click_id": f"k{dice.randrange(9)}",
        "visitor_id": "v1",
        "event_time": as_time(BASE_MS),
        "interaction": "click",
        "channel": dice.choice(CHANNELS),
        "ad_account_id": dice.choice(["aa1", "aa2"]),
        "campaign_id": dice.choice(["c1", "c2", None]),
        "adset_id": "s",
        "ad_id": dice.choice(["ad1", "ad2"]),
        "creative_id": dice.choice(["r1", None]),
    }


def credits_of(value: int | None, count: int) -> list[Row]:
    def entry(model: str, shares: list[float]) -> Row:
        return {
            "model": model,
            "shares": shares,
            "value_micros": [] if value is None else [int(value * share) for share in shares],
        }

    if not count:
        return []
    return [entry("first", [1.0] + [0.0] * (count - 1)), entry("linear", [1 / count] * count)]


def attributed(dice: random.Random, number: int, facts_held: int) -> Row:
    path = [touchpoint(dice) for _ in range(dice.randrange(4))]
    value = dice.choice([None, 0, -24_000_000, 12_000_012, 10**18])
    return {
        **REQUIRED,
        "account_id": ACCOUNTS[number % 2],
        "conversion_id": f"c{number // 2}",  # the same ids in both accounts
        "event_name": ("Purchase", "Lead")[number // 2 % 2],
        "event_time": as_time(BASE_MS + dice.randrange(90) * DAY_MS),
        "conversion_ingest_time": as_time(BASE_MS),
        "value_micros": value,
        "currency": dice.choice(CURRENCIES),
        "visitor_id": "v1",
        "epoch": dice.choice([0, 0, 5]),
        "facts_held": facts_held,
        "origin_topic": "clicks",
        "origin_topic_id": "x",
        "origin_partition": 0,
        "origin_offset": 0,
        "layer": "visitor_id" if path else "none",
        "confidence_person": dice.choice([None, 0.5, 0.9, 1.0]),
        "confidence_ad": dice.choice([None, 0.2, 0.9]),
        "lookback_window_s": 1,
        "model_version": "m",
        "touchpoints": path,
        "credits": credits_of(value, len(path)),
    }


def rich(dice: random.Random, number: int) -> Row:
    """One of the largest values there may be; ten of them are more than an Int64."""
    value, path = 10**18, [touchpoint(random.Random(1))]
    whose = {"account_id": "rich", "conversion_id": f"c{number}", "event_time": as_time(BASE_MS), "currency": "EUR"}
    given = {"value_micros": value, "touchpoints": path, "credits": credits_of(value, 1), "layer": "visitor_id"}
    return {**attributed(dice, 0, 1), **whose, **given, "confidence_person": 1.0, "confidence_ad": 1.0}


def click(dice: random.Random) -> Row:
    return {
        **REQUIRED,
        "account_id": dice.choice(ACCOUNTS),
        "click_id": f"k{dice.randrange(25)}",
        "visitor_id": dice.choice(["v1", "v2", "v3", "v4", None]),
        "event_time": as_time(BASE_MS + dice.randrange(70) * DAY_MS),
        "channel": dice.choice(CHANNELS),
        "source_version": dice.randrange(3),
    }


def conversion(dice: random.Random) -> Row:
    return {
        **REQUIRED,
        "account_id": dice.choice(ACCOUNTS),
        "conversion_id": f"c{dice.randrange(25)}",
        "event_name": "Purchase",
        "visitor_id": dice.choice(["v1", "v2", "v3", None]),
        "event_time": as_time(BASE_MS + dice.randrange(70) * DAY_MS),
        "value_micros": dice.choice([None, 1, 2_500_000, 10**18]),
        "currency": dice.choice(CURRENCIES),
        "source_version": dice.randrange(3),
    }


class Data:
    """Records in unmerged parts, with versions that came in any order and blocks that came twice."""

    def __init__(self, clickhouse: ClickHouse) -> None:
        dice = random.Random(7)
        versions = [attributed(dice, n, facts) for n in range(40) for facts in dice.sample(range(1, 9), 3)]
        versions += [rich(dice, n) for n in range(12)]
        dice.shuffle(versions)
        self.clicks = [click(dice) for _ in range(120)]
        self.conversions = [conversion(dice) for _ in range(120)]
        self.attributed = self._keep(
            versions, ("account_id", "conversion_id"), lambda _, row: (row["epoch"], row["facts_held"])
        )
        for name, records in (
            ("attributed-conversions", versions),
            ("clicks", self.clicks),
            ("conversions", self.conversions),
        ):
            for start in range(0, len(records), 30):
                part = records[start : start + 30]
                times = [BASE_MS + start + n for n in range(len(part))]
                load(clickhouse, name, part, f"{name}-{start}", times)
                load(clickhouse, name, part, f"{name}-{start}-under another token", times)
        newest = lambda number, row: (row["source_version"], number)  # noqa: E731
        self.clicks = self._keep(self.clicks, ("account_id", "click_id"), newest)
        self.conversions = self._keep(self.conversions, ("account_id", "conversion_id"), newest)

    @staticmethod
    def _keep(records: list[Row], key: tuple[str, str], version: Any) -> list[Row]:
        kept: dict[Any, tuple[Any, Row]] = {}
        for number, row in enumerate(records):
            name = tuple(row[field] for field in key)
            if name not in kept or version(number, row) > kept[name][0]:
                kept[name] = (version(number, row), row)
        return [row for _, row in kept.values()]


@pytest.fixture(scope="module")
def data(tables: ClickHouse) -> Data:
    for name in ("clicks", "conversions", "attributed_conversions"):
        tables.command(f"SYSTEM STOP MERGES {name}")
    return Data(tables)


def money(micros: int) -> Decimal:
    return Decimal(micros).scaleb(-6)


def is_sure(row: Row, person: float, ad: float) -> bool:
    """As the views put it: of an ad nobody is surer than of the person, where nothing else is said."""
    of_person = row["confidence_person"] or 0.0
    return of_person >= person and (of_person if row["confidence_ad"] is None else row["confidence_ad"]) >= ad


def naive_credit(attributed: list[Row], *fields: str) -> tuple[Counter[Any], Counter[Any]]:
    """Conversions and micros by account, event name, model, these fields of the touchpoint, and currency."""
    conversions: Counter[Any] = Counter()
    micros: Counter[Any] = Counter()
    for row in attributed:
        for credit in row["credits"]:
            for number, (touch, share) in enumerate(zip(row["touchpoints"], credit["shares"], strict=True)):
                day = row["event_time"].date()
                what = [day if field == "day" else touch[field] or "" for field in fields]
                key = (row["account_id"], row["event_name"], credit["model"], *what, row["currency"] or "")
                conversions[key] += share
                micros[key] += credit["value_micros"][number] if credit["value_micros"] else 0
    return conversions, micros


VIEWS = {
    "credit_by_channel": ("channel",),
    "credit_by_campaign": ("ad_account_id", "campaign_id", "day"),
    "credit_by_adset": ("ad_account_id", "campaign_id", "adset_id", "day"),
    "credit_by_ad": ("ad_account_id", "campaign_id", "adset_id", "ad_id", "day"),
    "credit_by_creative": ("creative_id", "day"),
}
ABOVE = {f"{name}_above": VIEWS[name] for name in ("credit_by_channel", "credit_by_campaign", "credit_by_ad")}
ASKED = [
    *((name, name, fields, 0.0, 0.0) for name, fields in VIEWS.items()),
    *(
        (name, f"{name}(person = {person}, ad = {ad})", fields, person, ad)
        for name, fields in ABOVE.items()
        for person, ad in ((0.0, 0.0), (0.9, 0.0), (0.0, 0.9), (0.9, 0.2))
    ),
]


@pytest.mark.parametrize(("view", "asked", "fields", "person", "ad"), ASKED, ids=[item[1] for item in ASKED])
def test_credit(
    tables: ClickHouse, data: Data, view: str, asked: str, fields: tuple[str, ...], person: float, ad: float
) -> None:
    sure = [row for row in data.attributed if is_sure(row, person, ad)]
    assert (len(sure) < len(data.attributed)) == (person + ad > 0)
    conversions, micros = naive_credit(sure, *fields)
    key = ("account_id", "event_name", "model", *fields, "currency")
    rows = tables.query(f"SELECT * FROM {asked}").to_pylist()
    found = {tuple(row[name] for name in key): row for row in rows}
    assert len(found) == len(rows) > 10
    assert found.keys() == conversions.keys()
    for name, row in found.items():
        assert row["conversions"] == pytest.approx(conversions[name], abs=1e-9)
        assert row["value"] == money(micros[name])
    assert {name[-1] for name in found} == {"EUR", "USD", ""}
    assert max(micros.values()) > 2**63


def test_what_a_bound_lets_through_is_a_part_of_credit_itself(tables: ClickHouse, data: Data) -> None:
    """Any other question of confidence is a WHERE."""
    [row] = tables.query("SELECT sum(conversions) AS n FROM credit WHERE confidence_ad >= 0.9").to_pylist()
    assert row["n"] == pytest.approx(sum(naive_credit([r for r in data.attributed if is_sure(r, 0, 0.9)])[0].values()))


def test_the_credit_of_a_model_is_the_number_of_attributed_conversions(tables: ClickHouse, data: Data) -> None:
    rows = tables.query("SELECT model, sum(conversions) AS n FROM credit GROUP BY model").to_pylist()
    matched = sum(bool(row["touchpoints"]) for row in data.attributed)
    assert {row["model"]: round(row["n"], 9) for row in rows} == dict.fromkeys(MODELS, matched)


def test_conversions_unattributed(tables: ClickHouse, data: Data) -> None:
    rows = tables.query("SELECT * FROM conversions_unattributed").to_pylist()
    expected = [row for row in data.attributed if not row["touchpoints"]]
    names = ("account_id", "conversion_id", "event_name", "event_time", "value_micros")

    def told(found: list[Row]) -> list[tuple[Any, ...]]:
        return sorted((*(row[name] for name in names), row["currency"] or "") for row in found)

    assert [tuple(map(str, row)) for row in told(rows)] == [tuple(map(str, row)) for row in told(expected)]
    assert 3 < len(rows) < len(data.attributed)


def test_journeys(tables: ClickHouse, data: Data) -> None:
    paths: defaultdict[Any, list[Row]] = defaultdict(list)
    outcomes: defaultdict[Any, list[Row]] = defaultdict(list)
    for records, by_visitor in ((data.clicks, paths), (data.conversions, outcomes)):
        for row in records:
            if row["visitor_id"]:
                by_visitor[row["account_id"], row["visitor_id"]].append(row)
    rows = tables.query("SELECT * FROM journeys").to_pylist(maps_as_pydicts="strict")
    found = {(row["account_id"], row["visitor_id"]): row for row in rows}
    assert len(found) == len(rows)
    assert found.keys() == paths.keys()
    assert len(found) == 8
    for key, row in found.items():
        path = sorted(paths[key], key=lambda item: (item["event_time"], item["click_id"]))
        assert row["channels"] == [item["channel"] or "" for item in path]
        assert (row["started"], row["ended"]) == (path[0]["event_time"], path[-1]["event_time"])
        assert (row["clicks"], row["conversions"]) == (len(path), len(outcomes[key]))
        value: Counter[str] = Counter()
        for item in outcomes[key]:
            if item["value_micros"] is not None:
                value[item["currency"] or ""] += item["value_micros"]
        assert row["value"] == {currency: money(micros) for currency, micros in value.items()}


@pytest.fixture
def progress(tables: ClickHouse) -> Iterator[ClickHouse]:
    yield tables
    tables.command("TRUNCATE TABLE load_progress")


def note(topic: str, topic_id: str, partition: int, end: int, newest_s: int, loaded_s: int) -> str:
    return f"('{topic}', '{topic_id}', {partition}, {end}, {newest_s}, {loaded_s})"


def test_freshness(progress: ClickHouse) -> None:
    notes = [
        note("clicks", "old", 0, 900, 100, 103),
        note("clicks", "new", 0, 10, 200, 202),
        note("clicks", "new", 0, 40, 300, 301),
        note("clicks", "new", 0, 40, 300, 301),
        note("clicks", "new", 1, 7, 50, 60),
        note("conversions", "x", 0, 5, 70, 71),
    ]
    for number, values in enumerate(notes):
        progress.command(f"INSERT INTO load_progress SETTINGS insert_deduplication_token = 'f{number}' VALUES {values}")
    rows = progress.query("SELECT * FROM freshness").to_pylist()
    assert [(row["topic"], row["partition"], row["end_offset"], row["load_delay_s"]) for row in rows] == [
        ("clicks", 0, 40, 1.0),
        ("clicks", 1, 7, 10.0),
        ("conversions", 0, 5, 1.0),
    ]
    assert rows[0]["newest_ingest_time"] == as_time(300_000)
    assert rows[0]["loaded_at"] == as_time(301_000)
