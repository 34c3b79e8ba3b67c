"""How matching learns a tenant from its own records, without anybody's word for what is true.

1. What a click and the conversion it caused have in common, and how far apart they are, is seen where a hashed e-mail
   address matches and no click id: those buyers change device and network as others without an id do. Conversions
   with a click id would not do, since they never leave the browser.
2. What they have in common for no reason is seen in the clicks *after* a conversion, which cannot have caused it: of
   strangers with the same device, of the household, of carriers' addresses. They weigh as much as the conversion is
   likely to have had no cause among the candidates, since the buyers of ads click again.
3. The share of organic conversions follows by expectation maximisation, from 1 and 2 alone. When it has settled, likely
   pairs join those of 1, once. Were they to join in every round they would confirm themselves: the share came out at
   .45 where .55 is true, and organic conversions were taken for an ad's.
4. How often the ad is right where the person is, is seen by running blind on conversions with a click id.

All of it is sums: statistics of periods add up, and old ones fade by a factor. Likely pairs are not kept in them, for
the same reason.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from processors.matching.candidates import Ints, Pairs
from processors.matching.decision import Decision, best_of
from processors.matching.evidence import MISSING
from processors.matching.lesson import Lesson
from processors.matching.model import BANDS_H, DELAYS_H, GAPS_H, SHARES, Floats, MatchModel, bin_of
from processors.matching.persons import persons
from processors.matching.posterior import posterior
from processors.matching.statistics import Statistics, delay_density, estimate, nothing

__all__ = ["Learned", "TooFewMatches", "learn", "observe", "relearn"]

Mask = npt.NDArray[np.bool_]

ITERATIONS = 40
PRECISION = 1e-4
FEWEST_MATCHES = 30
#: Persons less likely than this are not asked for their ad.
LIKELY = 0.5


class TooFewMatches(ValueError):
    """There is too little to learn from; the message says what."""


class Learned(NamedTuple):
    """A model, and the sums it is estimated from, but for the likely pairs that have joined."""

    model: MatchModel
    sums: Statistics


def learn(taught: Lesson) -> Learned:
    """What a lesson leads to by itself. Raises TooFewMatches where no identifier matches often enough."""
    _require_matches(len(np.unique(taught.identified.conversion)))
    return _converge(taught, estimate(_first_look(taught), taught.languages), lambda sums: sums)


def relearn(taught: Lesson, known: Statistics, fading: float) -> Learned:
    """What was known fades by a factor, and the lesson takes the place of what is gone.

    So a lesson counts for as much as the time it stands for, however often the same records are looked at. With a
    factor of 1 nothing changes. Raises TooFewMatches where matches by identifier have become too few.
    """

    def blend(sums: Statistics) -> Statistics:
        return known.plus(sums.times(1 - fading), fading)

    learned = _converge(taught, estimate(known, taught.languages), blend)
    _require_matches(learned.sums.identified)
    return learned


def _converge(taught: Lesson, model: MatchModel, blend: Callable[[Statistics], Statistics]) -> Learned:
    """Expectation maximisation from a model on."""
    for _ in range(ITERATIONS):
        before, model = model, estimate(blend(_expect(taught, model)), taught.languages)
        if abs(before.organic - model.organic) < PRECISION:
            break
    sums = blend(observe(taught, model))
    return Learned(estimate(sums.plus(_likely(taught, model)), taught.languages), sums)


def _require_matches(count: float) -> None:
    if count < FEWEST_MATCHES:
        raise TooFewMatches(
            f"{count:.0f} conversions match a click by e-mail, phone or external id and not by click id; "
            f"probabilistic matching learns from at least {FEWEST_MATCHES}"
        )


def observe(taught: Lesson, model: MatchModel) -> Statistics:
    """The sums of a lesson, in the light of a model."""
    share = posterior(taught.before, len(taught.is_open), model).share
    return _expect(taught, model)._replace(**_shares(taught, model, share))


def _expect(taught: Lesson, model: MatchModel) -> Statistics:
    """All sums but those of ads and persons."""
    after = posterior(taught.before, len(taught.is_open), model)
    idle = np.where(taught.is_open, after.organic + after.unreached, 0)
    return (
        _background(taught, idle)
        .plus(_identified(taught, model.delay))
        ._replace(
            conversions=np.array(float(taught.is_open.sum())), organic=np.array(after.organic[taught.is_open].sum())
        )
    )


def _likely(taught: Lesson, model: MatchModel) -> Statistics:
    """Pairs that no identifier matches, each as much as it is likely to be cause and effect.

    Their delays are left alone: they follow the model's. Of causes that are not found the bands are those of the
    others.
    """
    after, scene, is_open = posterior(taught.before, len(taught.is_open), model), taught.before, taught.is_open
    sums = nothing()
    likely = np.where(is_open[scene.pairs.conversion], after.share, 0)
    np.add.at(sums.matched, (bin_of(scene.gap_h, BANDS_H), scene.pattern), likely)
    by_band = (sums.matched + _identified(taught, model.delay).matched).sum(axis=1)
    unreached = after.unreached[is_open].sum() * by_band / max(float(by_band.sum()), 1e-300)
    return sums._replace(unreached=unreached)


def _first_look(taught: Lesson) -> Statistics:
    """What identifiers and placebos say before there is a model: half of the conversions are organic, say."""
    flat = np.full(len(DELAYS_H) - 1, 1.0)
    for _ in range(10):
        sums = _identified(taught, flat)
        flat = delay_density(sums.delays)
    half = np.where(taught.is_open, 0.5, 0.0)
    count = np.array(float(taught.is_open.sum()))
    return _background(taught, half).plus(sums)._replace(conversions=count, organic=count / 2)


def _identified(taught: Lesson, delay: Floats) -> Statistics:
    """Where an identifier names the person: each of the clicks may be the cause, as likely as its delay is usual."""
    likely = _normal_within(taught.identified.conversion, delay[bin_of(taught.identified_gap_h, DELAYS_H)])
    found = taught.identified_at >= 0
    pattern = taught.before.pattern[taught.identified_at[found]]
    band = bin_of(taught.identified_gap_h, BANDS_H)
    sums = nothing()
    np.add.at(sums.matched, (band[found], pattern), likely[found])
    np.add.at(sums.unreached, band[~found], likely[~found])
    np.add.at(sums.delays, bin_of(taught.identified_gap_h, DELAYS_H), likely)
    return sums


def _background(taught: Lesson, idle: Floats) -> Statistics:
    """Clicks after conversions, each as much as its conversion is `idle`."""
    scene, weight = taught.after, idle[taught.after.pairs.conversion]
    sums = nothing()
    np.add.at(sums.background, (scene.pattern, bin_of(scene.gap_h, GAPS_H)), weight)
    np.add.at(sums.commonness, scene.pattern, weight * scene.commonness)
    seen = np.clip(taught.after_h[:, None] - GAPS_H[:-1], 0, np.diff(GAPS_H))
    return sums._replace(exposure_h=idle @ seen)


def _shares(taught: Lesson, model: MatchModel, share: Floats) -> dict[str, Floats]:
    """How sure an ad was of its person, and how often it was right, where a click id tells."""
    by_identifier = _normal_within(taught.blind.conversion, model.delay[bin_of(taught.blind_gap_h, DELAYS_H)])
    found, named = (
        _decide(taught, pairs, of) for pairs, of in ((taught.before.pairs, share), (taught.blind, by_identifier))
    )
    known, visitors = taught.known, np.append(taught.clicks.visitor, MISSING)  # the last is no click's, which -1 says
    # Where a cookie does not say that it is the same person, nobody knows; an identifier does.
    same = (visitors[found.click] == visitors[known]) & (visitors[known] != MISSING) & (found.person >= LIKELY)
    counted = [_rights(taught, found, same), _rights(taught, named, np.ones(len(known), np.bool_))]
    return {"shares": np.array([total for total, _ in counted]), "rights": np.array([right for _, right in counted])}


def _decide(taught: Lesson, pairs: Pairs, share: Floats) -> Decision:
    clicks = taught.clicks
    ads, order = taught.ads[pairs.click], clicks.click_id[pairs.click]
    return best_of(pairs, share, persons(pairs, clicks), ads, order, len(taught.known))


def _rights(taught: Lesson, decision: Decision, chosen: Mask) -> tuple[Floats, Floats]:
    asked = np.flatnonzero(chosen & (taught.known >= 0) & (decision.click >= 0))
    bins = bin_of(decision.ad_share[asked], SHARES)
    right = taught.ads[decision.click[asked]] == taught.ads[taught.known[asked]]
    size = len(SHARES) - 1
    counted = [np.bincount(bins, weight, size).astype(np.float64) for weight in (np.ones(len(bins)), right)]
    return counted[0], counted[1]


def _normal_within(groups: Ints, values: Floats) -> Floats:
    """The values, summing to one in each group."""
    return values / np.bincount(groups, values)[groups] if len(groups) else values
