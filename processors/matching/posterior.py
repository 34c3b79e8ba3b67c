"""The probability that a click caused a conversion, and that no ad did.

A click of pattern g, a time t before the conversion, speaks for itself by

    w = P(g | cause, t) f(t) / b(g, t)

where f is the density of the time from click to conversion and b how many such clicks an hour a conversion has for no
reason: those of strangers, of the household, of the person at other times. Of a fingerprint that is twice as common as
is usual in its pattern there are twice as many. With the share of organic conversions o,
and of causes that are not among the candidates u, the posterior of click i is

    (1 - o) w_i / (o + (1 - o) u + (1 - o) sum w)

and what is missing to one is shared by "no ad" (o) and "a click that was not found" ((1 - o) u).
Source: Fellegi and Sunter, A Theory for Record Linkage, 1969, with b in the place of the random pair's u.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from processors.matching.candidates import Counts, Ints, Pairs
from processors.matching.evidence import Evidence, Hashes
from processors.matching.model import BANDS_H, DELAYS_H, GAPS_H, Floats, MatchModel, bin_of
from processors.matching.patterns import commonness, conflicts, patterns

__all__ = ["Posterior", "Scene", "gaps_h", "posterior", "scene_of", "weights"]

HOUR_MS = 3_600_000


#: What is said of the frequency of a value within its class is believed up to this factor.
MOST_UNUSUAL = 5.0


class Scene(NamedTuple):
    """Pairs of conversions and clicks: what they have in common, how common that is, and how far apart they are, hours.

    All of shape (pairs,). commonness: clicks of the last 30 days with the fingerprint or device that agrees, else 1.
    """

    pairs: Pairs
    pattern: Ints
    commonness: Floats
    gap_h: Floats

    def rows(self, chosen: npt.NDArray[np.bool_]) -> "Scene":
        """Some of the pairs."""
        pairs = Pairs(self.pairs.conversion[chosen], self.pairs.click[chosen])
        return Scene(pairs, self.pattern[chosen], self.commonness[chosen], self.gap_h[chosen])


class Posterior(NamedTuple):
    """share: of each pair. organic, unreached: of each conversion; the three sum to one."""

    share: Floats
    organic: Floats
    unreached: Floats


def scene_of(pairs: Pairs, conversions: Evidence, clicks: Evidence, counts: Counts, common_languages: Hashes) -> Scene:
    """What there is to see of the pairs, without those that an identifier contradicts."""
    kept = ~conflicts(pairs, conversions, clicks)
    pairs = Pairs(pairs.conversion[kept], pairs.click[kept])
    pattern = patterns(pairs, conversions, clicks, counts, common_languages)
    return Scene(pairs, pattern, commonness(pairs, pattern, counts), gaps_h(pairs, conversions, clicks))


def gaps_h(pairs: Pairs, conversions: Evidence, clicks: Evidence) -> Floats:
    """Hours between conversion and click of each pair, never negative."""
    hours: Floats = np.abs(conversions.event_ms[pairs.conversion] - clicks.event_ms[pairs.click]) / HOUR_MS
    return hours


def weights(scene: Scene, model: MatchModel) -> Floats:
    """How much more likely each click is where it caused its conversion, than where it is there for no reason."""
    delay = model.delay[bin_of(scene.gap_h, DELAYS_H)]
    matched = model.matched[bin_of(scene.gap_h, BANDS_H), scene.pattern]
    unusual = np.clip(scene.commonness / model.commonness[scene.pattern], 1 / MOST_UNUSUAL, MOST_UNUSUAL)
    return delay * matched / (unusual * model.background[scene.pattern, bin_of(scene.gap_h, GAPS_H)])


def posterior(scene: Scene, conversions: int, model: MatchModel) -> Posterior:
    """The posterior over the candidates of so many conversions.

    A conversion without candidates keeps what is known of all of them.
    """
    weight = (1 - model.organic) * weights(scene, model)
    none = model.organic + (1 - model.organic) * model.unreached
    total = none + np.bincount(scene.pairs.conversion, weight, conversions).astype(np.float64)
    return Posterior(
        share=weight / total[scene.pairs.conversion],
        organic=model.organic / total,
        unreached=(1 - model.organic) * model.unreached / total,
    )
