"""Conversions drawn by the hash of their id: the same ones whoever draws, in whatever order they come."""

import numpy as np

from processors.matching.evidence import Evidence, Hashes, together
from processors.matching.tally import Ints, Mask

__all__ = ["Draw"]


class Draw:
    """At most `most` conversions: those whose ids have the smallest hashes. Of several versions of one the last."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._ids = np.zeros(0, np.uint64)
        self._versions = np.zeros((2, 0), np.int64)
        self._drawn: Evidence | None = None
        self._new: list[tuple[Hashes, Ints, Evidence]] = []
        self._waiting = 0

    def add(self, ids: Hashes, versions: Ints, conversions: Evidence) -> None:
        """`versions`: of shape (2, rows), the source's version and the time of arrival: the greatest counts."""
        if self._drawn is not None and len(self._ids) == self._most:
            early = ids <= self._ids[-1]
            ids, versions, conversions = ids[early], versions[:, early], conversions.rows(early)
        self._new.append((ids, versions, conversions))
        self._waiting += len(ids)
        if self._waiting > self._most:
            self._sift()

    def drawn(self) -> Evidence | None:
        """The conversions in the order of their hashes; None where there was none."""
        self._sift()
        return self._drawn

    def _sift(self) -> None:
        if not self._waiting:
            return
        parts = [] if self._drawn is None else [(self._ids, self._versions, self._drawn)]
        parts += self._new
        ids = np.concatenate([part for part, _, _ in parts])
        versions = np.concatenate([part for _, part, _ in parts], axis=1)
        order = np.lexsort((-versions[1], -versions[0], ids))
        first: Mask = np.append(True, np.diff(ids[order]) != 0)
        chosen = order[first][: self._most]
        self._drawn = together([part for _, _, part in parts]).rows(chosen)
        self._ids, self._versions = ids[chosen], versions[:, chosen]
        self._new, self._waiting = [], 0
