"""Whose change it is: alarms of ads, of their campaigns and of the ad account as the fewest changes that explain them.

A campaign adds up its ads, the account its campaigns: events against the events that the ads' own usual rates expect,
so that money that moves from ad to ad is not taken for a change. An alarm of the whole is the whole's where it shows in
the parts alike: where all parts but the one that changed most are better explained by half of that one's change (on a
log scale) than by none. Otherwise it is handed down to that part. What is found is then expected of all it is of, and
all are looked at again, so that a change of all is one change and not one of each.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import inf, log, sqrt
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from processors.drift.dispersion import dispersion
from processors.drift.evidence import Counted, Evidence, evidence
from processors.drift.likelihood import Floats, poisson_step
from processors.drift.scan import CHART, NOTHING, Chart, Prior, Scan, scan

__all__ = ["ACCOUNT", "AD", "AD_CHART", "CAMPAIGN", "WHOLE_CHART", "Change", "changes"]

Ints = npt.NDArray[np.int64]

AD, CAMPAIGN, ACCOUNT = "ad", "campaign", "account"
AD_CHART = CHART
#: Sums have more events than ads, so that smaller changes can be found.
WHOLE_CHART = Chart(ratio=1.5)
#: How much more likely half of the strongest part's change has to make the other parts.
COMMON = 2.0
#: How probable a change has to be, all that has been counted since and before considered, for an alarm to count: the
#: usual rate of a young ad rests on little.
PROBABLE = 0.5
#: Exposure below this is none.
LEAST = 1e-9
#: Events that the pool's rate is worth to an ad's.
POOL_WORTH = 2.0
AD_SETTINGS = AD_CHART, Prior(POOL_WORTH, POOL_WORTH)


@dataclass(frozen=True, slots=True)
class Change:
    """A change of a rate, which is found once however many ads it shows in.

    level: of what, AD, CAMPAIGN or ACCOUNT; node: which of them, a position. direction: 1 up, -1 down. began, detected:
    buckets. ended: the bucket in which the new rate was learned, None where it is still being learned. before, since:
    what was counted until `began`, and from there to `ended` or until now.
    """

    level: str
    node: int
    direction: int
    began: int
    detected: int
    ended: int | None
    before: Counted
    since: Counted

    def evidence(self) -> Evidence:
        """What the counts say of the change."""
        return evidence(self.before, self.since)


#: Of an alarm: bucket, depth and node, which is the order they are resolved in: the oldest first, wholes before parts.
Key = tuple[int, int, int]


class _Level(NamedTuple):
    """Sums of a level's nodes, shape (buckets, nodes): events, and those the ads' rates over the whole time give.

    members: shape (ads,), the node of each ad.
    """

    name: str
    counts: Floats
    expected: Floats
    members: Ints
    found: Scan
    dispersion: float

    def change(self, node: int, direction: int, began: int, detected: int, ended: int | None) -> "Change":
        """With what has been counted since it began, against the rate of all buckets before."""
        return Change(
            level=self.name,
            node=node,
            direction=direction,
            began=began,
            detected=detected,
            ended=ended,
            before=self._counted(node, slice(0, began)),
            since=self._counted(node, slice(began, ended)),
        )

    def _counted(self, node: int, buckets: slice) -> Counted:
        expected = self.expected[buckets, node]
        noise = self.dispersion / max(int((expected > 0).sum()), 1)
        return Counted(float(self.counts[buckets, node].sum()), float(expected.sum()), noise)


def changes(count: npt.ArrayLike, exposure: npt.ArrayLike, campaign: npt.ArrayLike) -> list[Change]:
    """All changes of an ad account, in the order of detection.

    count, exposure: shape (buckets, ads), oldest first: conversions, and what they came of so far as it is mature
    (clicks or spend by the delay's distribution). campaign: shape (ads,), positions from zero.

    >>> counts = np.full((30, 4), 20)
    >>> counts[20:, :] = 10
    >>> [(c.level, c.began) for c in changes(counts, np.full((30, 4), 1000.0), [0, 0, 1, 1])]
    [('account', 20)]
    >>> counts[:, 1:] = 20
    >>> [(c.level, c.node, c.began) for c in changes(counts, np.full((30, 4), 1000.0), [0, 0, 1, 1])]
    [('ad', 0, 20)]
    """
    counts, exposures = np.asarray(count, np.float64), np.asarray(exposure, np.float64)
    campaigns = np.asarray(campaign, np.int64)
    members = {ACCOUNT: np.zeros(len(campaigns), np.int64), CAMPAIGN: campaigns, AD: np.arange(len(campaigns))}
    scaled = exposures.copy()
    found: list[Change] = []
    resolved: set[tuple[int, int, int]] = set()
    while True:
        levels = _levels(counts, scaled, members)
        first = min((key for key in _alarms(levels) if key not in resolved), default=None)
        if first is None:
            return found
        resolved.add(first)
        change = _resolved(levels, first)
        if change.evidence().probability < PROBABLE or (change.evidence().ratio - 1) * change.direction < 0:
            continue
        scaled[change.began :, members[change.level] == change.node] *= change.evidence().ratio
        if not any(_is_part_of(change, earlier) for earlier in found):
            found.append(change)


def _alarms(levels: list[_Level]) -> Iterator[Key]:
    for depth, level in enumerate(levels):
        for bucket, node in np.argwhere(level.found.alarm).tolist():
            yield bucket, depth, node


def _resolved(levels: list[_Level], alarm: Key) -> Change:
    """Whose change an alarm is, the node's or that of the part it comes down to, and since when."""
    bucket, depth, node = alarm
    found = levels[depth].found
    closed = np.flatnonzero(~found.is_open[bucket:, node])
    ended = bucket + int(closed[0]) if len(closed) else None
    direction = int(found.alarm[bucket, node])
    began = _began(levels[depth], node, direction, bucket)
    while depth < len(levels) - 1:
        odd = _odd_one(levels[depth], levels[depth + 1], node, direction, began, bucket)
        if odd is None:
            break
        node, depth = odd, depth + 1
        began = _began(levels[depth], node, direction, bucket)
    return levels[depth].change(node, direction, began, bucket, ended)


def _began(level: _Level, node: int, direction: int, bucket: int) -> int:
    """The bucket since which a change in this direction is most probable, by what is known at `bucket`."""

    def log_odds(began: int) -> float:
        found = level.change(node, direction, began, bucket, bucket + 1).evidence()
        return found.log_odds if (found.ratio - 1) * direction > 0 else -inf

    return max(range(bucket + 1), key=log_odds)


def _levels(counts: Floats, exposure: Floats, members: dict[str, Ints]) -> list[_Level]:
    """The account, its campaigns, its ads; the ads' rates are drawn to the pool's."""
    worth = POOL_WORTH * float(exposure.sum()) / max(float(counts.sum()), 1.0)
    expected = exposure * (POOL_WORTH + counts.sum(axis=0)) / np.maximum(worth + exposure.sum(axis=0), LEAST)
    return [
        _level(name, counts, expected, members[name], *settings)
        for name, settings in ((ACCOUNT, (WHOLE_CHART, NOTHING)), (CAMPAIGN, (WHOLE_CHART, NOTHING)), (AD, AD_SETTINGS))
    ]


def _level(name: str, counts: Floats, expected: Floats, members: Ints, chart: Chart, prior: Prior) -> _Level:
    nodes = int(members.max(initial=-1)) + 1
    counts, expected = _summed(counts, members, nodes), _summed(expected, members, nodes)
    noise = dispersion(counts, expected)
    return _Level(name, counts, expected, members, scan(counts, expected, poisson_step, chart, prior, noise), noise)


def _summed(part: Floats, members: Ints, nodes: int) -> Floats:
    return np.array([np.bincount(members, row, nodes) for row in part]).reshape(len(part), nodes)


def _odd_one(level: _Level, below: _Level, node: int, direction: int, began: int, bucket: int) -> int | None:
    """The part that an alarm is handed down to; None where it is the whole's own."""
    parts = np.unique(below.members[level.members == node])
    counts, expected = below.counts[: bucket + 1, parts], below.expected[: bucket + 1, parts]
    rate = (POOL_WORTH + counts[:began].sum(axis=0)) / (POOL_WORTH + expected[:began].sum(axis=0))
    count, usual = counts[began:].sum(axis=0), rate * expected[began:].sum(axis=0)
    ratio = WHOLE_CHART.ratio**direction
    odd = int(np.argmax(count * log(ratio) - (ratio - 1) * usual))
    half = sqrt((count[odd] + 1) / (usual[odd] + 1))
    others, usually = count.sum() - count[odd], usual.sum() - usual[odd]
    return None if others * log(half) - (half - 1) * usually >= COMMON else int(parts[odd])


def _is_part_of(change: Change, earlier: Change) -> bool:
    """Whether it says once more what the earlier one, still open, has said."""
    is_open = earlier.ended is None or change.began < earlier.ended
    same = (change.level, change.node, change.direction) == (earlier.level, earlier.node, earlier.direction)
    return is_open and same
