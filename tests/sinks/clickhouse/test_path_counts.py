"""The journeys that ClickHouse counts, beside the definition followed click by click in plain Python."""

import random
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

import pytest

from sinks.clickhouse.client import ClickHouse
from sinks.clickhouse.path_counts import Period, converting_accounts, path_counts
from tests.sinks.clickhouse.journeys import DAY_MS, HOUR_MS, Click, Conversion, put

BASE_MS = 20_000 * DAY_MS
LOOKBACK_S = 2 * 86_400
PERIOD = Period(BASE_MS + 10 * DAY_MS, BASE_MS + 30 * DAY_MS)


def counted(clickhouse: ClickHouse, account: str, event: str = "Purchase") -> dict[Any, tuple[int, ...]]:
    """By path and currency: conversions, valued, value_micros, nulls."""
    found = path_counts(clickhouse, account, event, PERIOD, LOOKBACK_S).to_pylist()
    names = ("conversions", "valued", "value_micros", "nulls")
    return {(tuple(row["path"]), row["currency"]): tuple(int(row[name]) for name in names) for row in found}


def defined(
    clicks: Sequence[Click], conversions: Sequence[Conversion], account: str, event: str = "Purchase"
) -> dict[Any, tuple[int, ...]]:
    """The definition: what is given are the versions that count."""
    counts: defaultdict[Any, list[int]] = defaultdict(lambda: [0, 0, 0, 0])
    own = [c for c in conversions if (c.account, c.event) == (account, event) and c.event_ms < PERIOD.until_ms]
    for conversion in own:
        if conversion.touchpoints and conversion.event_ms >= PERIOD.since_ms:
            path = tuple(touch.channel or "" for touch in conversion.touchpoints)
            found = counts[path, conversion.currency or ""]
            found[0] += 1
            found[1] += conversion.value_micros is not None
            found[2] += conversion.value_micros or 0
    taken = {touch.click_id for conversion in own for touch in conversion.touchpoints}
    free = [c for c in clicks if c.account == account and c.event_ms < PERIOD.until_ms and c.click_id not in taken]
    for click in free:
        others = [click] if not click.visitor else [c for c in free if c.visitor == click.visitor]
        over_ms = click.event_ms + LOOKBACK_S * 1000
        is_end = not any(
            (click.event_ms, click.click_id) < (c.event_ms, c.click_id) and c.event_ms <= over_ms for c in others
        )
        if is_end and PERIOD.since_ms <= over_ms < PERIOD.until_ms:
            window = range(click.event_ms - LOOKBACK_S * 1000, click.event_ms + 1)
            path = sorted((c.event_ms, c.click_id, c.channel or "") for c in others if c.event_ms in window)
            counts[tuple(channel for *_, channel in path), ""][3] += 1
    return {key: tuple(value) for key, value in counts.items()}


@pytest.mark.parametrize("seed", range(4))
def test_any_journeys(tables: ClickHouse, seed: int) -> None:
    """Few visitors with many clicks around the ends of windows and of the period, corrections and repeats."""
    dice = random.Random(seed)
    account = f"any-{seed}"

    def time_ms() -> int:
        return BASE_MS + dice.randrange(5 * 24, 32 * 24, 6) * HOUR_MS

    clicks = [
        Click(whose, f"k{n}", dice.choice(["v1", "v2", "v3", "v4", None]), time_ms(), dice.choice(["a", "b", None]), v)
        for n in range(60)
        for v in range(dice.randrange(1, 3))
        for whose in (account, f"{account}-other")
    ]
    newest = list({(click.account, click.click_id): click for click in clicks}.values())
    conversions = []
    for number in range(25):
        for facts_held in dice.sample(range(9), dice.randrange(1, 4)):
            value, currency = dice.choice([None, 0, -5, 10**18]), dice.choice(["EUR", "USD", None])
            event, event_ms = ("Purchase", "Lead")[number % 2], time_ms()
            window = range(event_ms - LOOKBACK_S * 1000, event_ms + 1)
            inside = [click for click in newest if click.account == account and click.event_ms in window]
            touched = sorted(
                dice.sample(inside, min(len(inside), dice.randrange(4))),
                key=lambda click: (click.event_ms, click.click_id),
            )
            conversions.append(Conversion(account, f"c{number}", event, event_ms, touched, value, currency, facts_held))
    dice.shuffle(clicks)
    dice.shuffle(conversions)
    for token in ("once", "again"):
        put(tables, *clicks, *conversions, token=f"{account}-{token}")
    held = {c.conversion_id: c for c in sorted(conversions, key=lambda c: c.facts_held)}
    for event in ("Purchase", "Lead"):
        expected = defined(newest, list(held.values()), account, event)
        assert counted(tables, account, event) == expected
        assert len(expected) > 10
        assert any(nulls for *_, nulls in expected.values())


def test_a_journey_counts_when_its_window_has_closed(tables: ClickHouse) -> None:
    lookback_ms, account = LOOKBACK_S * 1000, "edges"
    since_ms, until_ms = PERIOD
    put(
        tables,
        Click(account, "k1", "v1", since_ms - lookback_ms - 1, "too early"),
        Click(account, "k2", "v2", since_ms - lookback_ms, "first"),
        Click(account, "k3", "v3", until_ms - lookback_ms - 1, "last"),
        Click(account, "k4", "v4", until_ms - lookback_ms, "still open"),
        Click(account, "k5", "v5", until_ms - lookback_ms - 5, "still open"),
        Click(account, "k6", "v5", until_ms - 5, "still open"),
        Click(account, "k7", "v5", until_ms, "in the future"),
        token=account,
    )
    assert counted(tables, account) == {(("first",), ""): (0, 0, 0, 1), (("last",), ""): (0, 0, 0, 1)}


def test_clicks_as_long_after_each_other_as_the_window_is_are_one_journey(tables: ClickHouse) -> None:
    """Of a visitor who comes back all the time the path is what a conversion at the last click would have taken."""
    step_ms, account = LOOKBACK_S * 1000, "steps"
    together = [Click(account, f"k{n}", "v1", PERIOD.since_ms + n * step_ms, f"at {n}") for n in range(4)]
    apart = [Click(account, f"l{n}", "v2", PERIOD.since_ms + n * (step_ms + 1), f"at {n}") for n in range(2)]
    put(tables, *together, *apart, token=account)
    assert counted(tables, account) == {
        (("at 2", "at 3"), ""): (0, 0, 0, 1),
        (("at 0",), ""): (0, 0, 0, 1),
        (("at 1",), ""): (0, 0, 0, 1),
    }


def test_a_late_click_joins_journeys_and_a_revision_gives_clicks_back(tables: ClickHouse) -> None:
    account, early_ms = "late", PERIOD.since_ms
    one, other = (Click(account, f"k{n}", "v", early_ms + n * 3 * DAY_MS, f"at {n}") for n in range(2))
    between = Click(account, "k2", "v", early_ms + int(1.5 * DAY_MS), "between")
    put(tables, one, other, token=account)
    assert counted(tables, account) == {(("at 0",), ""): (0, 0, 0, 1), (("at 1",), ""): (0, 0, 0, 1)}
    put(tables, between, token=f"{account}-late")
    assert counted(tables, account) == {(("between", "at 1"), ""): (0, 0, 0, 1)}
    taken = Conversion(account, "c", "Purchase", other.event_ms, [between, other], 7, "EUR", 2)
    put(tables, taken, token=f"{account}-taken")
    assert counted(tables, account) == {(("between", "at 1"), "EUR"): (1, 1, 7, 0), (("at 0",), ""): (0, 0, 0, 1)}
    assert counted(tables, account, "Lead") == {(("between", "at 1"), ""): (0, 0, 0, 1)}
    put(tables, taken._replace(touchpoints=[other], facts_held=3), token=f"{account}-revised")
    put(tables, taken._replace(facts_held=1), token=f"{account}-outdated")
    assert counted(tables, account) == {(("at 1",), "EUR"): (1, 1, 7, 0), (("at 0", "between"), ""): (0, 0, 0, 1)}


def test_a_correction_that_moves_a_click_to_another_month_leaves_nothing_behind(tables: ClickHouse) -> None:
    account = "moved"
    click = Click(account, "k", "v", PERIOD.since_ms, "a")
    put(tables, click, token=account)
    assert counted(tables, account) == {(("a",), ""): (0, 0, 0, 1)}
    put(tables, click._replace(event_ms=PERIOD.until_ms + 90 * DAY_MS, version=1), token=f"{account}-later")
    assert counted(tables, account) == {}


def test_more_clicks_than_a_person_makes_are_no_journey(tables: ClickHouse) -> None:
    account = "broken-tag"
    clicks = [Click(account, f"k{n}", "null", PERIOD.since_ms + n, "a") for n in range(501)]
    put(tables, *clicks[1:], token=account)
    assert counted(tables, account) == {(("a",) * 500, ""): (0, 0, 0, 1)}
    put(tables, clicks[0], token=f"{account}-one-more")
    assert counted(tables, account) == {}


def test_names_may_hold_anything(tables: ClickHouse) -> None:
    account, event = "o'k\\' OR 1=1 --", "Bought \\"
    click = Click(account, "k", "v", PERIOD.since_ms, "it's")
    put(tables, click, Conversion(account, "c", event, PERIOD.since_ms, [click], None, None), token="quotes")
    assert counted(tables, account, event) == {(("it's",), ""): (1, 0, 0, 0)}


def test_accounts_that_convert_in_the_period(tables: ClickHouse) -> None:
    click = Click("w", "k", "v", PERIOD.since_ms, "a")
    given = [
        Conversion("w1", "c", "Purchase", PERIOD.since_ms, [click], None, None),
        Conversion("w1", "d", "Lead", PERIOD.until_ms - 1, [click], None, None),
        Conversion("w2", "c", "Lead", PERIOD.since_ms - 1, [click], None, None),
        Conversion("w3", "c", "Lead", PERIOD.until_ms, [click], None, None),
        Conversion("w4", "c", "Lead", PERIOD.since_ms, [], None, None),
    ]
    put(tables, *given, token="accounts")
    found = Counter(converting_accounts(tables, PERIOD))
    assert {name: n for name, n in found.items() if name[0].startswith("w")} == {
        ("w1", "Lead"): 1,
        ("w1", "Purchase"): 1,
    }
