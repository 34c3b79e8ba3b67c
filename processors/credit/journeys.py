"""Journeys of an account and what they were worth, by currency: what its channels are credited from."""

from collections.abc import Container, Iterable, Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from processors.credit.models import credit_channels
from processors.credit.paths import PathCounts

__all__ = ["JourneyCredit", "Journeys", "PathOutcome", "count_journeys", "credit_journeys"]


class PathOutcome(NamedTuple):
    """Journeys of one path whose conversions, if any, were in one currency.

    valued: how many of the conversions said what they were worth; value_micros: of these together.
    """

    path: tuple[str, ...]
    currency: str
    conversions: int
    valued: int
    value_micros: int
    nulls: int


class Journeys(NamedTuple):
    """counts: all journeys, without their values. in_currency: the same with those of one currency, for each."""

    counts: PathCounts
    in_currency: Mapping[str, PathCounts]


class JourneyCredit(NamedTuple):
    """What each channel is credited with.

    channels: all that are in the journeys, sorted.
    conversions: shape (channels,); they sum to those of the journeys.
    value_micros: by currency, each of shape (channels,); they sum to the value of the journeys, to the micro.
    """

    channels: tuple[str, ...]
    conversions: npt.NDArray[np.float64]
    value_micros: Mapping[str, npt.NDArray[np.int64]]


def count_journeys(outcomes: Iterable[PathOutcome]) -> Journeys:
    """The journeys of these outcomes; those of one path add up.

    >>> count_journeys([PathOutcome(("a",), "EUR", 2, 1, 50, 0), PathOutcome(("a",), "", 0, 0, 0, 3)])[0].items()
    [(('a',), Counts(conversions=2, value_micros=0, nulls=3))]
    """
    outcomes = list(outcomes)
    in_currency = {item.currency: PathCounts() for item in sorted(outcomes) if item.valued}
    counts = PathCounts()
    for item in outcomes:
        counts.add(item.path, item.conversions, nulls=item.nulls)
        for currency, valued in in_currency.items():
            value_micros = item.value_micros if currency == item.currency else 0
            valued.add(item.path, item.conversions, value_micros, item.nulls)
    return Journeys(counts, dict(sorted(in_currency.items())))


def credit_journeys(journeys: Journeys, model: str, order: int, direct_channels: Container[str]) -> JourneyCredit:
    """What each channel is credited with by a model, whose chain is the same whatever the currency.

    Raises as credit_channels does.

    >>> one = PathOutcome(("search", "social"), "EUR", 1, 1, 5, 0)
    >>> credit_journeys(count_journeys([one, one._replace(currency="USD")]), "shapley", 1, ())
    JourneyCredit(channels=('search', 'social'), conversions=array([1., 1.]), \
value_micros={'EUR': array([3, 2]), 'USD': array([3, 2])})
    """
    by_currency = {
        currency: credit_channels(counts, model, order, direct_channels)
        for currency, counts in (journeys.in_currency or {"": journeys.counts}).items()
    }
    channels, conversions, _ = next(iter(by_currency.values()))
    values = {currency: by_currency[currency].value_micros for currency in journeys.in_currency}
    return JourneyCredit(channels, conversions, values)
