"""Shares that went to the wrong ad of the right person, and their way back."""

import numpy as np
import numpy.typing as npt

__all__ = ["without_leaks"]

Floats = npt.NDArray[np.float64]

#: Conversions that the account's share of right ones is worth beside an ad's own.
PRIOR = 50.0


def without_leaks(shares: Floats, found: Floats, right: Floats, wrong: Floats) -> Floats:
    """What each ad would have without its shares in others' conversions, and with theirs in its own.

    An identifier names the person, and of its clicks another than the cause may get the credit. How often is seen where
    a click id tells: of `found` conversions by their true ad the share `right` stays there, and `wrong` is what each ad
    gets of others'. All of shape (ads, replicates); the sum of `shares` stays what it is.

    >>> column = lambda *values: np.array(values, float)[:, None]
    >>> moved = without_leaks(column(90, 30), column(1e4, 1e4), column(8e3, 8e3), column(2e3, 2e3))
    >>> moved.round(1)[:, 0].tolist()
    [97.5, 22.5]
    """
    usual = np.where(found.sum(axis=0) > 0, right.sum(axis=0) / np.maximum(found.sum(axis=0), 1e-9), 1.0)
    kept = np.clip((right + PRIOR * usual) / (found + PRIOR), 0.05, 1.0)
    gets = wrong / np.maximum(wrong.sum(axis=0), 1e-9)
    ratio = (1 - kept) / kept
    leaked = (shares * ratio).sum(axis=0) / (1 + (gets * ratio).sum(axis=0))
    moved = np.maximum((shares - gets * leaked) / kept, 0)
    whole: Floats = moved * shares.sum(axis=0) / np.maximum(moved.sum(axis=0), 1e-9)
    return whole
