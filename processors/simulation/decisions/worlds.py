"""Worlds in which budgets are decided: one dataclass of parameters, with the worlds that have a name.

A to D are facebook ads of a team of 2017 whose export is public, an online shop, a service with few dear deals, and the
same service with its leads as the signal.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

__all__ = ["CONDITIONS", "DELAYS", "DRIFTS", "WORLDS", "DecisionWorld"]

DRIFTS = ("none", "abrupt", "random-day", "fatigue", "platform-wide", "seasonal")
#: Shapes of the delay with the world's median; of the last, three fifths have a third of it, the rest three times.
DELAYS = ("lognormal", "exponential", "heavy", "two-speed")


@dataclass(frozen=True, slots=True)
class DecisionWorld:
    """What an account and its ads are like. `_d` days; money in one currency.

    ads, days, daily_budget: of the account. value: of a conversion; value_cv: its coefficient of variation.
    mean_return: of an ad, value per spend. law: gamma or lognormal; spread: the Gamma's shape or the logarithm's sigma.
    returns: instead of a law, returns of real ads to draw from.
    delay: one of DELAYS; delay_median_d, delay_sigma: of it.
    drift: one of DRIFTS.
    day_noise: standard deviation of an ad-day's factor. weekday: by how much the best and worst days of a week differ
    from the mean.
    saturation: conversions grow as an ad's daily spend to this power; an ad with the whole budget has its return.
    reset_loss, reset_days, reset_rise: an ad whose budget rises by more than `reset_rise` loses that share of its
    return for so many days.
    """

    ads: int = 10
    days: int = 60
    daily_budget: float = 500.0
    value: float = 53.0
    value_cv: float = 0.0
    mean_return: float = 1.0
    law: str = "gamma"
    spread: float = 1.83
    returns: tuple[float, ...] = ()
    delay: str = "lognormal"
    delay_median_d: float = 3.0
    delay_sigma: float = 1.0
    drift: str = "none"
    day_noise: float = 0.0
    weekday: float = 0.0
    saturation: float = 1.0
    reset_loss: float = 0.0
    reset_days: int = 3
    reset_rise: float = 0.2


#: Half of the ads return what they cost.
_SHOP = DecisionWorld(
    daily_budget=2000.0, value=60.0, law="lognormal", spread=0.7, mean_return=math.exp(0.7**2 / 2), delay_median_d=2.0
)
_SERVICE = replace(_SHOP, value=1350.0, delay_median_d=5.0)
WORLDS: Mapping[str, DecisionWorld] = {
    "A": DecisionWorld(),
    "B": _SHOP,
    "C": _SERVICE,
    "D": replace(_SERVICE, value=150.0, delay_median_d=1.0),
}
#: What a world may have on top of its drift.
CONDITIONS: Mapping[str, Mapping[str, Any]] = {
    "clean": {},
    "noisy": {"day_noise": 0.3, "weekday": 0.2},
    "saturated": {"saturation": 0.8},
    "resets": {"reset_loss": 0.2},
}
