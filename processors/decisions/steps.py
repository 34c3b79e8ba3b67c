"""Ways to a split: at once, half of the way, by rises that reset no learning phase, or not at all.

A platform learns anew where an ad's budget rises by much, and the ad returns less meanwhile. How much is a setting, and
is charged to each way within the lookahead: a cap on steps costs far more than what it spares.
"""

from typing import NamedTuple

import numpy as np

from processors.decisions.bounds import bounded
from processors.decisions.compiled import Floats, Mask
from processors.decisions.settings import PolicySettings

__all__ = ["Steps", "gentle", "priced"]


class Steps(NamedTuple):
    """splits: shape (candidates, ads). resets: which ads learn anew, same shape. stay: row of the split in force, where
    it is one of them, else -1."""

    splits: Floats
    resets: Mask
    stay: int


def priced(targets: Floats, before: Floats, settings: PolicySettings) -> Steps:
    """The targets, and ways towards them where a reset has a price; the split in force where to keep it may be better.

    Without a price it is no candidate of its own: what is known differs from yesterday, and draws are as likely to
    flatter it as any other.
    """
    if settings.step_cap is not None:
        low, high = (1 - settings.step_cap) * before, (1 + settings.step_cap) * before
        targets = np.stack([bounded(target, low, high) for target in targets])
    splits, stay = [targets], before / before.sum()
    if settings.reset_loss > 0:
        splits += [(targets + stay) / 2, gentle(targets, before, settings.reset_rise)]
    stays = settings.reset_loss > 0 or settings.hysteresis > 0
    if stays:
        splits.append(stay[None, :])
    everything = np.concatenate(splits)
    resets = everything > (1 + settings.reset_rise) * before[None, :] * (1 + 1e-9)
    return Steps(everything, resets, len(everything) - 1 if stays else -1)


def gentle(targets: Floats, before: Floats, rise: float) -> Floats:
    """The targets without steeper rises; falls are smaller by what rises are. Shape (candidates, ads).

    >>> gentle(np.array([[0.9, 0.1]]), np.array([0.5, 0.5]), 0.2).round(3).tolist()
    [[0.6, 0.4]]
    """
    most = (1 + rise) * before[None, :]
    capped = np.minimum(targets, most)
    room = np.maximum(np.minimum(before[None, :], most) - capped, 0.0)
    missing = np.maximum(1 - capped.sum(axis=1, keepdims=True), 0.0)
    whole = room.sum(axis=1, keepdims=True)
    part = np.minimum(np.divide(missing, whole, out=np.zeros_like(missing), where=whole > 1e-12), 1.0)
    filled = capped + room * part
    splits: Floats = filled / filled.sum(axis=1, keepdims=True)
    return splits
