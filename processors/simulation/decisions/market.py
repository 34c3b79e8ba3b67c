"""The truth of a world: what each ad returns on each day, and when its conversions are seen."""

import math
from typing import NamedTuple

import numpy as np

from processors.decisions.compiled import Floats
from processors.decisions.evidence.delay import lognormal_delay
from processors.simulation.decisions.worlds import DecisionWorld

__all__ = ["Market", "delay_shape", "market_of", "oracle"]

CHANGE_DAY = 30
FALL, RISE = 0.35, 0.9
FATIGUE, TIRED = 0.97, 3
PLATFORM = 0.6
SEASON, SEASON_D = 0.3, 28


class Market(NamedTuple):
    """returns: expected value per spend, shape (days, ads), where saturation and resets are left out. luck: factor of
    the ad-day and of the weekday, same shape. delay: share of conversions by lag up to each, shape (lags,). changed:
    day of the drift, or None."""

    returns: Floats
    luck: Floats
    delay: Floats
    changed: int | None


def market_of(world: DecisionWorld, rng: np.random.Generator) -> Market:
    """A market of the world."""
    first = _first_returns(world, rng)
    returns = np.repeat(first[None, :], world.days, axis=0)
    changed: int | None = CHANGE_DAY
    if world.drift in ("abrupt", "random-day"):
        if world.drift == "random-day":
            changed = int(rng.integers(world.days // 6, world.days - world.days // 6))
        best = int(first.argmax())
        other = int(rng.choice(np.delete(np.arange(world.ads), best)))
        returns[changed:, best] *= FALL
        returns[changed:, other] = RISE * first[best]
    elif world.drift == "fatigue":
        tired = np.argsort(-first)[:TIRED]
        returns[:, tired] *= FATIGUE ** np.arange(world.days)[:, None]
        changed = None
    elif world.drift == "platform-wide":
        returns[changed:] *= PLATFORM
    elif world.drift == "seasonal":
        returns *= 1 + SEASON * np.sin(2 * math.pi * np.arange(world.days) / SEASON_D)[:, None]
        changed = None
    else:
        changed = None
    return Market(returns, _luck(world, rng), delay_shape(world), changed)


def _first_returns(world: DecisionWorld, rng: np.random.Generator) -> Floats:
    if world.returns:
        return rng.choice(np.array(world.returns), world.ads, replace=len(world.returns) < world.ads)
    if world.law == "gamma":
        return rng.gamma(world.spread, world.mean_return / world.spread, world.ads)
    centre = math.log(world.mean_return) - world.spread**2 / 2
    return rng.lognormal(centre, world.spread, world.ads)


def _luck(world: DecisionWorld, rng: np.random.Generator) -> Floats:
    shape = (world.days, world.ads)
    noise = rng.gamma(world.day_noise**-2, world.day_noise**2, shape) if world.day_noise > 0 else np.ones(shape)
    phase = rng.integers(7)
    week = 1 + world.weekday * np.sin(2 * math.pi * (np.arange(world.days) + phase) / 7)
    luck: Floats = noise * week[:, None]
    return luck


def delay_shape(world: DecisionWorld) -> Floats:
    """Share of conversions by lag up to each, of the world's delay; shape (days,)."""
    lags, median = world.days, world.delay_median_d
    if world.delay == "exponential":
        ends = np.arange(1, lags + 1)[:, None] - (np.arange(24) + 0.5)[None, :] / 24
        cumulated: Floats = (1 - 0.5 ** (ends / median)).mean(axis=1)
        shares: Floats = cumulated / cumulated[-1]
        return shares
    if world.delay == "heavy":
        return lognormal_delay(median, 1.6, lags)
    if world.delay == "two-speed":
        return 0.6 * lognormal_delay(median / 3, 0.8, lags) + 0.4 * lognormal_delay(3 * median, 0.5, lags)
    return lognormal_delay(median, world.delay_sigma, lags)


def oracle(world: DecisionWorld, market: Market) -> Floats:
    """What the best split of each day returns to one who knows the truth, per daily budget; shape (days,)."""
    if world.saturation >= 1.0:
        best: Floats = market.returns.max(axis=1)
        return best
    power = 1 / (1 - world.saturation)
    split = (market.returns / market.returns.max(axis=1, keepdims=True)) ** power
    split /= split.sum(axis=1, keepdims=True)
    found: Floats = (market.returns * split**world.saturation).sum(axis=1)
    return found
