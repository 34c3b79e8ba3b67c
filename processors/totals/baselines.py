"""Simpler totals per ad, to be compared with: what other tools report, and parts of the combination by themselves."""

import numpy as np
import numpy.typing as npt

from processors.totals.rates import LOWEST
from processors.totals.state import Account
from processors.totals.sums import Sums

__all__ = ["capture_recapture", "fractional", "fractional_and_unreached", "ids_only", "one_constant"]

Floats = npt.NDArray[np.float64]


def ids_only(sums: Sums) -> Floats:
    """Conversions matched by an identifier; shape (ads, replicates), as of the others."""
    return sums.click + sums.person


def one_constant(sums: Sums) -> Floats:
    """The same, all by one factor brought to the account's capture-recapture total."""
    matched = ids_only(sums)
    total = _chapman(*(part.sum(axis=0) for part in _captures(sums)))
    scaled: Floats = matched * total / np.maximum(matched.sum(axis=0), 1e-9)
    return scaled


def fractional(sums: Sums) -> Floats:
    """Matched by an identifier, and the others' posterior."""
    both: Floats = ids_only(sums) + sums.evidence.sum(axis=0)
    return both


def fractional_and_unreached(sums: Sums) -> Floats:
    """The same, and the posterior's probability that a click which was not found is the cause, as the ads have it."""
    evidence = sums.evidence.sum(axis=0)
    unreached = sums.account[Account.OPEN_UNREACHED]
    shared: Floats = evidence * unreached / np.maximum(evidence.sum(axis=0), LOWEST)
    return fractional(sums) + shared


def capture_recapture(sums: Sums) -> Floats:
    """Chapman's estimate of each ad from click ids and the person's identifiers.

    Source: Chapman, Some properties of the hypergeometric distribution with applications to zoological sample
    censuses, 1951.
    """
    return _chapman(*_captures(sums))


def _captures(sums: Sums) -> tuple[Floats, Floats, Floats]:
    """Found by click id, by the person's identifiers, and by both."""
    return sums.click, sums.blind + sums.person, sums.blind


def _chapman(one: Floats, two: Floats, both: Floats) -> Floats:
    return (one + 1) * (two + 1) / (both + 1) - 1
