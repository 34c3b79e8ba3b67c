"""What counts since a change say about it: how real and how large it is."""

from math import exp, inf, lgamma, log, sqrt
from typing import NamedTuple

__all__ = ["HAZARD", "Counted", "Evidence", "evidence"]

#: Changes a bucket, beforehand.
HAZARD = 1 / 500
#: A change's ratio is Gamma distributed around one with this shape, beforehand: a standard deviation of one half.
SHAPE = 4.0
#: Of the standard normal, what leaves 2.5 % on either side.
Z_95 = 1.959964


class Evidence(NamedTuple):
    """log_odds: of there being a change at all. ratio: of the rate after it to that before, posterior mean given that
    there is one; low, high: its central 95 %.
    """

    log_odds: float
    ratio: float
    low: float
    high: float

    @property
    def probability(self) -> float:
        """Of there being a change."""
        return 1 / (1 + exp(-min(max(self.log_odds, -700.0), 700.0)))


class Counted(NamedTuple):
    """Events, and the exposure they came of, in events expected of it: before a change or since.

    noise: variance of their rate beyond chance, relative to its square; they are taken as if there were so many fewer
    that chance alone would give them their variance.
    """

    events: float
    exposure: float
    noise: float = 0.0

    def tempered(self) -> "Counted":
        """By their noise."""
        weight = 1 / (1 + self.noise * self.exposure)
        return Counted(self.events * weight, self.exposure * weight)


def evidence(before: Counted, since: Counted) -> Evidence:
    """Of what was counted before a change and since.

    The change moves a share of all events to one of its sides: the probability that an event is one since the change
    is Beta distributed around what it is without any, by as much as SHAPE says of the ratio. Without exposure on one
    of the sides there is none.

    >>> found = evidence(Counted(4_000, 4_000), Counted(40, 80))
    >>> round(found.probability, 3), round(found.ratio, 2)
    (0.981, 0.52)
    >>> round(evidence(Counted(80, 80), Counted(40, 80)).probability, 3)
    0.217
    """
    before, since = before.tempered(), since.tempered()
    if not before.exposure or not since.exposure:
        return Evidence(log(HAZARD), 1.0, 0.0, inf)
    share = since.exposure / (before.exposure + since.exposure)
    after, until = SHAPE / (1 - share), SHAPE / share
    log_odds = log(HAZARD) + _log_beta(after + since.events, until + before.events) - _log_beta(after, until)
    log_odds -= since.events * log(share) + before.events * log(1 - share)
    usual = (SHAPE + before.events) / (SHAPE + before.exposure)
    ratio = (SHAPE + since.events) / (SHAPE + usual * since.exposure)
    precision = 1 / (1 / (SHAPE + since.events) + 1 / (SHAPE + before.events))
    return Evidence(log_odds, ratio, _quantile(precision, ratio, -Z_95), _quantile(precision, ratio, Z_95))


def _log_beta(one: float, other: float) -> float:
    return lgamma(one) + lgamma(other) - lgamma(one + other)


def _quantile(shape: float, mean: float, z: float) -> float:
    """Of a Gamma distribution, by the cube root that is nearly normal (Wilson, Hilferty, 1931)."""
    return mean * (1 - 1 / (9 * shape) + z / (3 * sqrt(shape))) ** 3
