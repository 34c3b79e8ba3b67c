"""`spendloop credit --account`: what an account's journeys are at a time, of one event and in one currency."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from click.testing import CliRunner, Result

from sinks.clickhouse.migrations import apply
from streams.cli.main import cli
from streams.clickhouse import connect, migrations
from streams.settings import Settings
from tests.sinks.clickhouse.journeys import DAY_MS, HOUR_MS, Click, Conversion, put

JUNE_MS = 1_748_736_000_000


def touch(number: int, channel: str, hour: int) -> Click:
    return Click("acme", f"k{number}", f"v{number}", JUNE_MS + hour * HOUR_MS, channel)


def bought(touchpoint: Click, event: str, value: int | None, currency: str | None) -> Conversion:
    event_ms = touchpoint.event_ms + HOUR_MS
    return Conversion("acme", f"c-{touchpoint.click_id}", event, event_ms, [touchpoint], value, currency)


@pytest.fixture
def loaded(settings: Settings) -> Iterator[Settings]:
    """Two purchases in euros, one in dollars a day later, and a lead without a value."""
    clicks = [touch(0, "search", 1), touch(1, "social", 2), touch(2, "mail", 26), touch(3, "search", 3)]
    conversions = [
        bought(clicks[0], "Purchase", 70, "EUR"),
        bought(clicks[1], "Purchase", 30, "EUR"),
        bought(clicks[2], "Purchase", 9, "USD"),
        bought(clicks[3], "Lead", None, None),
    ]
    with connect(settings) as clickhouse:
        apply(clickhouse, migrations())
        put(clickhouse, *clicks, *conversions, token="given")
        yield settings
        clickhouse.command(f"DROP DATABASE {clickhouse.database}")


def ask(*arguments: str, as_of: str = "2025-06-03T00:00:00Z") -> Result:
    common = ["credit", "--model", "linear", "--as-of", as_of, "--format", "json"]
    return CliRunner().invoke(cli, [*common, *arguments])


def credited(done: Result) -> dict[str, Any]:
    assert done.exit_code == 0, done.stderr
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    return {row["channel"]: (row["conversions"], row["value_micros"]) for row in rows}


def test_one_event_in_one_currency(loaded: Settings) -> None:
    asked = ["--account", "acme", "--event", "Purchase", "--currency"]
    assert credited(ask(*asked, "EUR")) == {"search": (1.0, 70), "social": (1.0, 30), "mail": (1.0, 0)}
    assert credited(ask(*asked, "USD")) == {"search": (1.0, 0), "social": (1.0, 0), "mail": (1.0, 9)}
    assert credited(ask("--account", "acme", "--event", "Lead")) == {"search": (1.0, 0)}


def test_nothing_that_happened_later_counts(loaded: Settings) -> None:
    asked = ["--account", "acme", "--event", "Purchase"]
    assert credited(ask(*asked, as_of="2025-06-02T00:00:00Z")) == {"search": (1.0, 70), "social": (1.0, 30)}
    assert credited(ask(*asked, as_of="2025-06-01T02:30:00Z")) == {"search": (1.0, 70)}


def test_journeys_that_ended_before_the_period_do_not_count(loaded: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPENDLOOP_CREDIT__PERIOD_D", "1")
    assert JUNE_MS % DAY_MS == 0
    assert credited(ask("--account", "acme")) == {"mail": (1.0, 9)}


@pytest.mark.parametrize(
    ("arguments", "code", "problem"),
    [
        (["--account", "acme"], 2, "there are Lead, Purchase: choose one by --event"),
        (["--account", "acme", "--event", "Buy"], 2, "--event: 'Buy' is none of Lead, Purchase"),
        (["--account", "acme", "--event", "Purchase"], 2, "there are EUR, USD: choose one by --currency"),
        (["--account", "acme", "--event", "Purchase", "--currency", "SEK"], 2, "'SEK' is none of EUR, USD"),
        (["--account", "nobody"], 1, "nobody has no attributed conversion between 2025-05-04T00:00:00Z and 2025-06-03"),
    ],
)
def test_what_is_not_clear_is_asked(loaded: Settings, arguments: list[str], code: int, problem: str) -> None:
    done = ask(*arguments)
    assert done.exit_code == code
    assert problem in done.stderr
