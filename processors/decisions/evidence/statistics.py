"""What is known of an account's ads, as sums: the input of every decision, cleaned of what cannot be.

A cell is an ad and a spend day. Its conversions are counted by lag: whole days, in the ad account's time zone, from
the day of the click to the day of the conversion.
"""

from typing import NamedTuple

import numpy as np

from processors.decisions.compiled import Floats

__all__ = ["Repairs", "Statistics", "cleaned", "observed_lags"]

#: Nothing real is greater: 10^15 of a currency's units, of conversions or of spend. Sums of it stay finite.
GREATEST = 1e15


class Statistics(NamedTuple):
    """Sums of an account. spend: shape (ads, days), units of currency. conversions, value: shape (ads, days, lags),
    by lag; value in units of currency.

    Day 0 is the first; the decision is taken `now` days after its beginning, so that `now` = days is the midnight
    that ends the last one.
    """

    spend: Floats
    conversions: Floats
    value: Floats
    now: float


class Repairs(NamedTuple):
    """How many cells were not as they can be: negative or no number; conversions of a day without spend; conversions
    later than now."""

    impossible: int
    unpaid: int
    future: int


def observed_lags(statistics: Statistics) -> Floats:
    """Whole lags of each spend day that are over, and the part of the next one; shape (days,).

    >>> observed_lags(Statistics(np.ones((1, 3)), np.zeros((1, 3, 2)), np.zeros((1, 3, 2)), now=2.5)).tolist()
    [2.5, 1.5, 0.5]
    """
    lags: Floats = np.maximum(statistics.now - np.arange(statistics.spend.shape[1]), 0.0)
    return lags


def cleaned(statistics: Statistics) -> tuple[Statistics, Repairs]:
    """The same without what cannot be, and how much of it there was.

    Negative spend (a refund booked on another day) and negative conversions or values count as none. Conversions of
    a cell without spend say nothing about a return on spend, and are left out; so is what lies in the future.
    Raises ValueError where shapes do not fit each other.

    >>> clean, repairs = cleaned(Statistics(np.array([[-5.0]]), np.ones((1, 1, 1)), np.ones((1, 1, 1)), now=1.0))
    >>> clean.spend.tolist(), clean.conversions.tolist(), repairs
    ([[0.0]], [[[0.0]]], Repairs(impossible=1, unpaid=1, future=0))
    """
    shape = statistics.conversions.shape
    if len(shape) != 3 or statistics.spend.shape != shape[:2] or statistics.value.shape != shape:
        raise ValueError(f"spend {statistics.spend.shape}, conversions {shape} and value {statistics.value.shape}")
    if not np.isfinite(statistics.now):
        raise ValueError(f"now: {statistics.now}")
    parts = [np.asarray(part, np.float64) for part in statistics[:3]]
    impossible = sum(int(np.count_nonzero(~(part >= 0) | (part > GREATEST))) for part in parts)
    spend, conversions, value = (np.clip(np.nan_to_num(part, nan=0.0), 0.0, GREATEST) for part in parts)
    lags = np.arange(shape[2])
    future = (lags[None, :] >= np.ceil(observed_lags(statistics))[:, None])[None, :, :] & (conversions > 0)
    unpaid = (spend <= 0)[:, :, None] & (conversions > 0)
    refused = future | unpaid
    if refused.any():
        conversions, value = np.where(refused, 0.0, conversions), np.where(refused, 0.0, value)
    repairs = Repairs(impossible, int(unpaid.sum()), int((future & ~unpaid).sum()))
    return Statistics(spend, conversions, np.where(conversions > 0, value, 0.0), float(statistics.now)), repairs
