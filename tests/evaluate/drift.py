"""How soon drift is found, how often where there is none, and what it is put down to, on streams of known truth."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from river import drift as river_drift
from river.base import DriftDetector

from processors.drift.alerts import Alert, Subject, follow
from processors.drift.cusum import BernoulliCUSUM
from processors.drift.detect import AccountSums, detect
from processors.drift.hierarchy import ACCOUNT
from processors.drift.likelihood import bernoulli_step
from processors.drift.scan import scan
from processors.drift.severity import Severity

__all__ = ["alerts", "report"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

#: Rates before and after.
SHIFTS = ((0.02, 0.01), (0.02, 0.04), (0.02, 0.015), (0.2, 0.3))
BEFORE = AFTER = 20_000
DAYS, ADS = 30, 1_000
#: The day on which rates change, and the first after which anything is looked for.
CHANGE_DAY, FIRST_TICK = 20, 2
#: A day's clicks of an ad: many ads have few, few have many.
CLICKS_A_DAY, CLICKS_SPREAD = 60.0, 1.2
CONVERSION_RATE, RATE_SPREAD = 0.02, 0.5
CPC_MICROS = 900_000


def report(streams: int = 200, seed: int = 30_000) -> dict[str, Any]:
    """What docs/drift.md quotes of detectors. streams: of each shift. seed: of the first."""
    return {
        "streams": [_shift(before, after, streams, seed + n) for n, (before, after) in enumerate(SHIFTS)],
        "river": [row._asdict() for row in _others(min(streams, 40), seed + 100)],
    }


def alerts(markets: int = 2, seed: int = 30_000) -> dict[str, Any]:
    """What docs/drift.md quotes of alerts. markets: of 1,000 ads in 100 ad accounts to which nothing happens."""
    cases = [(accounts, noise) for accounts in (100, 1) for noise in (0.0, 0.3)]
    return {
        "markets": [
            _alerts(accounts, noise, change, _size(markets, accounts, change), seed)
            for accounts, noise in cases
            for change in ("none", "platform", "ad")
        ]
    }


def _size(markets: int, accounts: int, change: str) -> int:
    """How many are simulated: as many ad accounts matter as ads."""
    if accounts == 1:
        return 5
    return max(markets, 1) if change == "none" else 1


def _shift(before: float, after: float, streams: int, seed: int) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    rates = np.repeat([before, after], [BEFORE, AFTER])[:, None]
    events = (rng.random((BEFORE + AFTER, streams)) < rates).astype(np.float64)
    alarm = scan(events, np.ones_like(events), bernoulli_step).alarm
    right = alarm[BEFORE:] == np.sign(after - before)
    is_found = right.any(axis=0)
    delay = right.argmax(axis=0)[is_found] + 1
    return {
        "before": before,
        "after": after,
        "streams": streams,
        "found": float(is_found.mean()),
        "median_delay": float(np.median(delay)),
        "p90_delay": float(np.quantile(delay, 0.9)),
        "false_alarms_per_100k": float((alarm[:BEFORE] != 0).sum() / (BEFORE * streams) * 100_000),
    }


class _Other(NamedTuple):
    """How a detector did on a halved and on a doubled rate of 2 %."""

    detector: str
    streams: int
    found_halved: float
    delay_halved: float | None
    found_doubled: float
    delay_doubled: float | None
    false_alarms_per_100k: float


def _others(streams: int, seed: int) -> Iterator[_Other]:
    """River's detectors and ours by River's interface, on the same streams."""
    detectors: dict[str, Callable[[], DriftDetector]] = {
        "BernoulliCUSUM": BernoulliCUSUM,
        "ADWIN(0.002)": river_drift.ADWIN,
        "ADWIN(0.05)": lambda: river_drift.ADWIN(delta=0.05),
        "PageHinkley": river_drift.PageHinkley,
        "DDM": river_drift.binary.DDM,
        "EDDM": river_drift.binary.EDDM,
    }
    for name, make in detectors.items():
        halved, doubled = (_raced(make, after, streams, seed) for after in (0.01, 0.04))
        false = sum(early for _, early in halved + doubled) / (2 * streams * BEFORE) * 100_000
        yield _Other(name, streams, *_found(halved), *_found(doubled), round(false, 2))


def _raced(make: Callable[[], DriftDetector], after: float, streams: int, seed: int) -> list[tuple[int | None, int]]:
    """Of each stream, events until the first alarm after the shift, and alarms before it."""
    raced = []
    for stream in range(streams):
        rng, detector = np.random.default_rng((seed, stream)), make()
        events = rng.random(BEFORE + AFTER) < np.repeat([0.02, after], [BEFORE, AFTER])
        alarms = []
        for position, event in enumerate(events.astype(int).tolist()):
            detector.update(event)
            if detector.drift_detected:
                alarms.append(position)
        late = [alarm - BEFORE + 1 for alarm in alarms if alarm >= BEFORE]
        raced.append((late[0] if late else None, len(alarms) - len(late)))
    return raced


def _found(raced: list[tuple[int | None, int]]) -> tuple[float, float | None]:
    delays = [delay for delay, _ in raced if delay is not None]
    return len(delays) / len(raced), float(np.median(delays)) if delays else None


class _Market(NamedTuple):
    """1,000 ads: the ad account and campaign of each, daily clicks and conversion rates, shape (ads,)."""

    account: Ints
    campaign: Ints
    clicks: Floats
    rate: Floats


def _market(rng: np.random.Generator, accounts: int) -> _Market:
    account = np.arange(ADS) * accounts // ADS
    per_campaign = max(ADS // accounts // 5, 1)
    clicks = CLICKS_A_DAY * np.exp(rng.normal(0, CLICKS_SPREAD, ADS) - CLICKS_SPREAD**2 / 2)
    rate = CONVERSION_RATE * np.exp(rng.normal(0, RATE_SPREAD, ADS) - RATE_SPREAD**2 / 2)
    return _Market(account, np.arange(ADS) // per_campaign, clicks, rate)


def _alerts(accounts: int, noise: float, change: str, markets: int, seed: int) -> dict[str, Any]:
    """Alerts raised in DAYS days, the mean of markets; right: accounts in which one names what changed.

    noise: sd of an ad-day's rate; then weekdays differ by 20 %, too.
    """
    counted = dict.fromkeys(("alerts", "critical", "high", "right", "wanted"), 0)
    for number in range(markets):
        rng = np.random.default_rng((seed, accounts, int(noise * 10), number))
        market = _market(rng, accounts)
        rate = np.broadcast_to(market.rate, (DAYS, ADS)).copy()
        largest = {int(a): _largest(market, a) for a in range(accounts)}
        if change == "platform":
            rate[CHANGE_DAY:] *= 0.5
        elif change == "ad":
            rate[CHANGE_DAY:, list(largest.values())] *= 0.4
        if noise:
            rate *= np.exp(rng.normal(0, noise, rate.shape) - noise**2 / 2)
            rate *= 1 + 0.2 * np.sin(2 * np.pi * np.arange(DAYS) / 7)[:, None]
        clicks = rng.poisson(market.clicks, rate.shape)
        conversions = rng.binomial(clicks, np.minimum(rate, 1))
        for account in range(accounts):
            found = _followed(market, account, clicks, conversions)
            counted["alerts"] += len(found)
            counted["critical"] += sum(one.severity == Severity.CRITICAL for one in found)
            counted["high"] += sum(one.severity == Severity.HIGH for one in found)
            counted["wanted"] += change != "none"
            counted["right"] += any(_is_right(one, change, account, largest) for one in found)
    per_market = {name: round(value / markets, 2) for name, value in counted.items()}
    return {"ad_accounts": accounts, "noise": noise, "change": change, "markets": markets, **per_market}


def _largest(market: _Market, account: int) -> int:
    return int(np.argmax(np.where(market.account == account, market.clicks * market.rate, -1)))


def _is_right(alert: Alert, change: str, account: int, largest: dict[int, int]) -> bool:
    level, node_id, direction = alert.subject
    if alert.raised < CHANGE_DAY or direction > 0:
        return False
    return level == ACCOUNT if change == "platform" else change == "ad" and node_id == f"ad-{largest[account]}"


def _followed(market: _Market, account: int, clicks: Ints, conversions: Ints) -> list[Alert]:
    """All alerts of an ad account, with a tick at the end of each day."""
    ads = np.flatnonzero(market.account == account)
    raised: dict[str, Alert] = {}
    open_alerts: dict[Subject, Alert] = {}
    for day in range(FIRST_TICK, DAYS):
        sums = AccountSums(
            stage="purchase",
            ad_account_id=f"account-{account}",
            ad_ids=[f"ad-{ad}" for ad in ads],
            campaign_ids=[f"campaign-{market.campaign[ad]}" for ad in ads],
            first=0,
            counts=conversions[: day + 1, ads].astype(np.float64),
            exposure=clicks[: day + 1, ads].astype(np.float64),
            spend_micros=clicks[: day + 1, ads] * CPC_MICROS,
        )
        alerts = follow(sums.ad_account_id, open_alerts, detect(sums), day)
        raised |= {alert.alert_id: alert for alert in alerts.values()}
        open_alerts = {subject: alert for subject, alert in alerts.items() if alert.ended is None}
    return list(raised.values())
