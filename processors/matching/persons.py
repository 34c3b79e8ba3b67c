"""Which candidates of a conversion are one person's, as far as their clicks say so."""

import numpy as np

from processors.matching.candidates import Ints, Pairs
from processors.matching.evidence import MISSING, Evidence, Hashes, combine

__all__ = ["persons"]

#: Clicks that share one of these are one person's; or the address with the fingerprint.
NAMES = ("visitor", "email", "phone", "external_id")


def persons(pairs: Pairs, clicks: Evidence) -> Ints:
    """For each pair the first pair of the same conversion whose click is the same person's. Shape (pairs,)."""
    rows = clicks.rows(pairs.click)
    keys = [getattr(rows, name) for name in NAMES]
    keys.append(np.where(rows.ip == MISSING, MISSING, combine(rows.ip, rows.fingerprint)))
    groups = [_groups(pairs.conversion, key) for key in keys if (key != MISSING).any()]
    labels = np.arange(len(pairs.click))
    while True:
        before = labels
        for members, group in groups:
            labels = _lowest(labels, members, group)
        if np.array_equal(before, labels):
            return labels


def _groups(conversion: Ints, key: Hashes) -> tuple[Ints, Ints]:
    """The pairs that have the key, and the number of those which have it in common."""
    members = np.flatnonzero(key != MISSING)
    shared = combine(conversion[members].astype(np.uint64), key[members])
    return members, np.unique(shared, return_inverse=True)[1]


def _lowest(labels: Ints, members: Ints, group: Ints) -> Ints:
    lowest = np.full(int(group.max(initial=-1)) + 1, len(labels))
    np.minimum.at(lowest, group, labels[members])
    changed = labels.copy()
    changed[members] = lowest[group]
    return changed
