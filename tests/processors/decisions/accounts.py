"""Accounts of ads whose returns are known, as statistics."""

import numpy as np

from processors.decisions.evidence.delay import lognormal_delay
from processors.decisions.evidence.posterior import Background
from processors.decisions.evidence.statistics import Statistics
from processors.decisions.limits import Limits

VALUE = 50.0
LAGS = 20
BACKGROUND = Background.generic(LAGS, VALUE)


def statistics_of(
    returns: np.ndarray, daily: float, seed: int = 1, now: int | None = None, median_d: float = 2.0
) -> Statistics:
    """Of ads that return `returns`, shape (ads, days), and each spend `daily` a day; what is seen at `now`."""
    ads, days = returns.shape
    now = days if now is None else now
    rng = np.random.default_rng(seed)
    counts = rng.poisson(returns * daily / VALUE)
    by_lag = rng.multinomial(counts, np.diff(lognormal_delay(median_d, 1.0, LAGS), prepend=0.0)).astype(float)
    seen = np.arange(days)[:, None] + np.arange(LAGS)[None, :] < now
    return Statistics(np.full((ads, days), daily), by_lag * seen, by_lag * seen * VALUE, float(now))


def limits_of(ads: int, account: int = 100_000) -> Limits:
    previous = np.full(ads, account // max(ads, 1))
    none = np.zeros(ads, np.int64)
    return Limits(account, previous, none, np.full(ads, 10**12), none, previous)
