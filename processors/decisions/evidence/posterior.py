"""What the evidence says of each ad's return: a mixture of Gamma distributions over the day of its last change."""

from typing import NamedTuple

import numpy as np

from processors.decisions.compiled import Floats
from processors.decisions.evidence.changes import COUPLING, HAZARD, segments_of
from processors.decisions.evidence.delay import PSEUDO_CONVERSIONS, delay_of, lognormal_delay, matured
from processors.decisions.evidence.dispersion import dispersion_of, local_rates, weights_of
from processors.decisions.evidence.prior import GENERIC, Hyperprior, Prior, prior_of
from processors.decisions.evidence.saturation import EXPONENTS, effective, exponent_of, usual_spend
from processors.decisions.evidence.statistics import Statistics, observed_lags
from processors.decisions.evidence.values import Values, values_of

__all__ = ["Background", "Posterior", "learned_exponent", "posterior_of"]

#: Matured exposure, conversions at a return of 1, from which on a segment has been seen.
SEEN = 1.0
#: By how much what is on its way differs between accounts: standard deviation of its logarithm.
DELAY_SPREAD = 0.9
#: Conversions that the account's usual return is worth.
FEW = 2.0


class Background(NamedTuple):
    """What is known of accounts like this one.

    prior: of returns. delay: share of conversions by lag up to each, shape (lags,). value: of a conversion, units of
    currency.
    """

    prior: Hyperprior
    delay: Floats
    value: float

    @classmethod
    def generic(cls, lags: int, value: float) -> "Background":
        """Of an account of which nothing is known: half of its conversions within two days."""
        return cls(GENERIC, lognormal_delay(2.0, 1.0, lags), value)


class Posterior(NamedTuple):
    """weights, shapes, rates: of the mixture of each ad's return per effective spend, shape (ads, components).

    prior, delay, values, dispersion: as estimated. exponent, usual: of saturation. level: squared coefficient of
    variation of a factor common to all ads: how unsure it is what part of the conversions has been seen.
    """

    weights: Floats
    shapes: Floats
    rates: Floats
    prior: Prior
    delay: Floats
    values: Values
    dispersion: float
    exponent: float
    usual: float
    level: float

    @property
    def mean(self) -> Floats:
        """Expected return of each ad, shape (ads,)."""
        found: Floats = (self.weights * self.shapes / self.rates).sum(axis=1)
        return found

    @property
    def variance(self) -> Floats:
        """Of each ad's return, shape (ads,)."""
        square = (self.weights * self.shapes * (self.shapes + 1) / self.rates**2).sum(axis=1)
        found: Floats = np.maximum(square - self.mean**2, 1e-12)
        return found

    @property
    def widened(self) -> "Posterior":
        """The same with what all ads have in common: for what an ad returns, not for which one returns more."""
        shapes, rates = _times(self.shapes, self.rates, self.level)
        return self._replace(shapes=shapes, rates=rates)

    @property
    def established(self) -> Floats:
        """Weights without segments that have hardly begun to be seen: what an ad has been so far. Same shape.

        That it may have changed yesterday, unseen, is a reason to look again, and none against what it was.
        """
        seen = np.where(self.rates - self.prior.rate < SEEN, 0.0, self.weights)
        whole = seen.sum(axis=1, keepdims=True)
        found: Floats = np.where(whole > 0.5, seen, self.weights)
        weights: Floats = found / found.sum(axis=1, keepdims=True)
        return weights


class _Cells(NamedTuple):
    """Conversions seen and matured exposure as they count, and what they count for; shape (ads, days)."""

    conversions: Floats
    exposure: Floats
    weights: Floats
    dispersion: float
    prior: Prior


def posterior_of(
    statistics: Statistics,
    background: Background,
    exponent: float = 1.0,
    hazard: float = HAZARD,
    coupling: float = COUPLING,
) -> Posterior:
    """The posterior of cleaned statistics. exponent: of saturation, as `learned_exponent` found it last."""
    delay, values = delay_of(statistics, background.delay), values_of(statistics, background.value)
    usual = usual_spend(statistics.spend)
    cells = _cells(statistics, background, delay, values, effective(statistics.spend, exponent, usual))
    prior = cells.prior
    segments = segments_of(cells.conversions, cells.exposure, prior, hazard, coupling)
    shapes, rates = prior.shape + segments.conversions, prior.rate + segments.exposure
    shapes, rates = _times(shapes, rates, values.uncertainty[:, None])
    level = _level(statistics, delay)
    return Posterior(segments.weights, shapes, rates, prior, delay, values, cells.dispersion, exponent, usual, level)


def learned_exponent(statistics: Statistics, background: Background) -> float:
    """The exponent of saturation that the account's days speak for. It moves slowly: a cadence of days is enough."""
    delay, values = delay_of(statistics, background.delay), values_of(statistics, background.value)
    usual = usual_spend(statistics.spend)
    linear = _cells(statistics, background, delay, values, statistics.spend)
    evidence = np.empty(len(EXPONENTS))
    for row, exponent in enumerate(EXPONENTS):
        spend = effective(statistics.spend, float(exponent), usual)
        exposure = linear.weights * spend * matured(delay, observed_lags(statistics)) / values.mean[:, None]
        prior = prior_of(linear.conversions.sum(axis=1), exposure.sum(axis=1), background.prior)
        # Segments leave out the part of the likelihood that is the same for all of them: it differs by exponent.
        evidence[row] = (linear.conversions * np.log(np.maximum(exposure, 1e-300))).sum()
        evidence[row] += segments_of(linear.conversions, exposure, prior).evidence
    return exponent_of(evidence)


def _times(shapes: Floats, rates: Floats, uncertainty: Floats | float) -> tuple[Floats, Floats]:
    """The product with a factor of mean 1 and that squared coefficient of variation, by its first two moments."""
    narrower = 1 / (1 + uncertainty * (shapes + 1))
    return shapes * narrower, rates * narrower


def _level(statistics: Statistics, delay: Floats) -> float:
    """The younger the spend and the fewer the conversions seen, the less sure is what part of them these are."""
    spend = statistics.spend.sum(axis=0)
    if spend.sum() <= 0:
        return 0.0
    young = 1 - float((spend * matured(delay, observed_lags(statistics))).sum() / spend.sum())
    count = float(statistics.conversions.sum())
    # Where hardly any have been seen, the prior of returns speaks, and does not depend on them.
    heard = count / (count + FEW)
    return (DELAY_SPREAD * young) ** 2 * heard * PSEUDO_CONVERSIONS / (PSEUDO_CONVERSIONS + count)


def _cells(statistics: Statistics, background: Background, delay: Floats, values: Values, spend: Floats) -> _Cells:
    conversions = statistics.conversions.sum(axis=2)
    exposure = spend * matured(delay, observed_lags(statistics)) / values.mean[:, None]
    rates = local_rates(conversions, exposure, background.prior.mean)
    dispersion = dispersion_of(conversions, exposure, rates)
    weights = weights_of(exposure, rates, dispersion)
    conversions, exposure = weights * conversions, weights * exposure
    prior = prior_of(conversions.sum(axis=1), exposure.sum(axis=1), background.prior)
    return _Cells(conversions, exposure, weights, dispersion, prior)
