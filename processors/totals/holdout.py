"""What a hold-out test says of the conversions that are attributed: how many of them would not have been otherwise."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["SCOPES", "Holdout", "HoldoutTest", "Incremental", "holdouts_of", "incremental"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

#: What a test may be of, the narrowest last.
SCOPES = ("account", "campaign", "ad")
#: Standard deviations to either side of a 95 % interval.
NORMAL_95 = 1.96


@dataclass(frozen=True, slots=True)
class Holdout:
    """What a hold-out test found.

    factor: incremental conversions for each that is attributed, with its 95 % interval from `low` to `high`.
    Raises ValueError where the factor is not inside it, or not positive.

    >>> Holdout("geo 2026-03", 0.7, 0.9, 1.1)
    Traceback (most recent call last):
    ValueError: hold-out geo 2026-03: 0 < 0.9 <= 0.7 <= 1.1 does not hold
    """

    name: str
    factor: float
    low: float
    high: float

    def __post_init__(self) -> None:
        if not 0 < self.low <= self.factor <= self.high:
            raise ValueError(f"hold-out {self.name}: 0 < {self.low} <= {self.factor} <= {self.high} does not hold")


@dataclass(frozen=True, slots=True)
class HoldoutTest:
    """A hold-out test: what of the account it was of, from which day to which (days since 1970), what it found.

    scope: one of SCOPES. scope_id: the campaign or ad, empty for the account. Raises ValueError where they do not go
    together, or the days.

    >>> HoldoutTest("campaign", "", 20_000, 20_013, Holdout("geo", 0.7, 0.5, 0.9))
    Traceback (most recent call last):
    ValueError: hold-out geo: scope campaign without a scope_id
    """

    scope: str
    scope_id: str
    from_day: int
    to_day: int
    found: Holdout

    def __post_init__(self) -> None:
        name = self.found.name
        if self.scope not in SCOPES:
            raise ValueError(f"hold-out {name}: scope {self.scope} is none of {', '.join(SCOPES)}")
        if (self.scope == "account") != (not self.scope_id):
            raise ValueError(f"hold-out {name}: scope {self.scope} {'with' if self.scope_id else 'without'} a scope_id")
        if self.to_day < self.from_day:
            raise ValueError(f"hold-out {name}: it ends before it begins")


def holdouts_of(tests: Iterable[HoldoutTest], campaigns: Mapping[str, str]) -> dict[str, Holdout]:
    """The test that each ad's totals are calibrated by; no entry where there is none. `campaigns`: of each ad, by id.

    The narrowest counts: of the ad, else its campaign, else the account; of several the one that ended last, and of
    these the last one given.
    """
    newest: dict[tuple[str, str], HoldoutTest] = {}
    for test in tests:
        key = (test.scope, test.scope_id)
        if key not in newest or test.to_day >= newest[key].to_day:
            newest[key] = test
    found = {}
    for ad_id, campaign_id in campaigns.items():
        for key in (("ad", ad_id), ("campaign", campaign_id), ("account", "")):
            if key in newest:
                found[ad_id] = newest[key].found
                break
    return found


@dataclass(frozen=True, slots=True)
class Incremental:
    """Totals times the factor, millionths of a conversion, with 95 % intervals.

    They go beside the totals, never in their place.
    """

    holdout: str
    total: Ints
    low: Ints
    high: Ints


def incremental(holdout: Holdout, total: Ints, low: Ints, high: Ints) -> Incremental:
    """The incremental part of totals with 95 % intervals; the errors of both are taken for independent.

    >>> million = np.array([1_000_000])
    >>> incremental(Holdout("geo", 0.5, 0.4, 0.6), 100 * million, 80 * million, 120 * million)
    Incremental(holdout='geo', total=array([50000000]), low=array([35857864]), high=array([64142136]))
    """
    test = (holdout.high - holdout.low) / (2 * NORMAL_95 * holdout.factor)
    own = (high - low) / (2 * NORMAL_95) / np.maximum(total, 1)
    figure = holdout.factor * total
    reach = NORMAL_95 * figure * np.hypot(test, own)
    return Incremental(
        holdout.name,
        total=np.rint(figure).astype(np.int64),
        low=np.rint(np.maximum(figure - reach, 0)).astype(np.int64),
        high=np.rint(figure + reach).astype(np.int64),
    )
