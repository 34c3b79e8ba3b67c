"""How matching learns a tenant from its own records, without anybody's word for what is true.

1. What a click and the conversion it caused have in common, and how far apart they are, is seen where a hashed e-mail
   address matches and no click id: those buyers change device and network as others without an id do. Conversions
   with a click id would not do, since they never leave the browser.
2. What they have in common for no reason is seen in the clicks *after* a conversion, which cannot have caused it: of
   strangers with the same device, of the household, of carriers' addresses. They weigh as much as the conversion is
   likely to have had no cause among the candidates, since the buyers of ads click again.
3. The share of organic conversions follows by expectation maximisation, in which likely pairs join those of 1.
4. How often the ad is right where the person is, is seen by running blind on conversions with a click id.

All of it is sums: statistics of periods add up, and old ones fade by a factor.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from processors.matching.candidates import WINDOW_MS, ClickIndex, Ints, Pairs
from processors.matching.decision import Decision, best_of
from processors.matching.deterministic import CLICK_IDS, IdentifierMatches, identifier_matches
from processors.matching.evidence import MISSING, Evidence
from processors.matching.model import BANDS_H, DELAYS_H, GAPS_H, SHARES, Floats, MatchModel, bin_of
from processors.matching.patterns import DEVICES, NETWORKS, PATTERNS, common_languages
from processors.matching.persons import persons
from processors.matching.posterior import HOUR_MS, Scene, gaps_h, posterior, scene_of

__all__ = ["Lesson", "Statistics", "TooFewMatches", "estimate", "fit", "lesson", "observe"]

Mask = npt.NDArray[np.bool_]

ITERATIONS = 40
PRECISION = 1e-4
FEWEST_MATCHES = 30
#: Pseudo-observations by which a cell is drawn to what its network and its device say apart.
CELL_PRIOR, NETWORK_PRIOR, DEVICE_PRIOR, BACKGROUND_PRIOR, SHARE_PRIOR = 10.0, 20.0, 4.0, 3.0, 10.0
#: Persons less likely than this are not asked for their ad.
LIKELY = 0.5
#: Spread of the kernel over bins of delay: a factor of 1.5 in time.
KERNEL_BINS = 1.5


class TooFewMatches(ValueError):
    """There is too little to learn from; the message says what."""


class Lesson(NamedTuple):
    """What there is to learn from: conversions, the clicks before and after each, and what identifiers say.

    before, after: candidates and placebos. after_h: hours after each conversion in which clicks were seen.
    is_open: conversions that no identifier matches.
    identified: clicks of the person where an identifier of a person matched and none of a click, with the row of the
        pair in `before`, -1 where it is not among the candidates.
    blind: the same where a click id matched as well. known: the click of a click id, -1 where there is none.
    """

    before: Scene
    after: Scene
    after_h: Floats
    is_open: Mask
    identified: Pairs
    identified_gap_h: Floats
    identified_at: Ints
    blind: Pairs
    blind_gap_h: Floats
    known: Ints
    clicks: Evidence
    ads: Ints
    languages: npt.NDArray[np.uint64]


class Statistics(NamedTuple):
    """Sums that a model is estimated from; those of different periods may be added.

    matched: pairs of cause and effect by band and pattern; unreached: those that are not among candidates, by band;
    delays: the same by delay. background: placebos by pattern and gap; exposure_h: the hours they were seen in, by gap;
    commonness: sum over placebos, by pattern. conversions, organic: without identifier, and of these without an ad.
    shares, rights: by kind of match (probabilistic, identifier) and bin of the ad's share of the person's probability.
    """

    matched: Floats
    unreached: Floats
    delays: Floats
    background: Floats
    exposure_h: Floats
    commonness: Floats
    conversions: Floats
    organic: Floats
    shares: Floats
    rights: Floats

    def plus(self, other: "Statistics", fading: float = 1.0) -> "Statistics":
        """Both together, these faded by a factor."""
        return Statistics(*(fading * mine + theirs for mine, theirs in zip(self, other, strict=True)))


def lesson(conversions: Evidence, index: ClickIndex, ads: Ints) -> Lesson:
    """What conversions and clicks have to teach. `ads` numbers the ad of each click, -1 where there is none."""
    clicks, languages = index.clicks, common_languages(index.clicks)
    matches = identifier_matches(conversions, clicks)
    by_click = (matches.layer >= 0) & (matches.layer < len(CLICK_IDS))
    blind = _without_click_ids(conversions, by_click)
    counts = index.counts(blind)
    before = scene_of(index.candidates(blind), blind, clicks, counts, languages)
    persons = identifier_matches(blind, clicks).pairs
    identified = _of(persons, ~by_click)
    hidden = _of(persons, by_click)
    end_ms = int(clicks.event_ms.max(initial=0))
    return Lesson(
        before=before,
        after=scene_of(index.placebos(blind), blind, clicks, counts, languages),
        after_h=np.clip(end_ms - conversions.event_ms, 0, WINDOW_MS) / HOUR_MS,
        is_open=matches.layer < 0,
        identified=identified,
        identified_gap_h=gaps_h(identified, conversions, clicks),
        identified_at=_rows_of(identified, before.pairs, len(clicks.event_ms)),
        blind=hidden,
        blind_gap_h=gaps_h(hidden, conversions, clicks),
        known=_known(matches, by_click),
        clicks=clicks,
        ads=ads,
        languages=languages,
    )


def fit(taught: Lesson) -> MatchModel:
    """The model that a lesson leads to. Raises TooFewMatches where no identifier matches often enough."""
    if (count := len(np.unique(taught.identified.conversion))) < FEWEST_MATCHES:
        raise TooFewMatches(
            f"{count} conversions match a click by e-mail, phone or external id and not by click id; "
            f"probabilistic matching learns from at least {FEWEST_MATCHES}"
        )
    model = estimate(_first_look(taught), taught.languages)
    for _ in range(ITERATIONS):
        before, model = model, estimate(_expect(taught, model), taught.languages)
        if abs(before.organic - model.organic) < PRECISION:
            break
    return estimate(observe(taught, model), taught.languages)


def observe(taught: Lesson, model: MatchModel) -> Statistics:
    """The sums of a lesson, in the light of a model."""
    share = posterior(taught.before, len(taught.is_open), model).share
    return _expect(taught, model)._replace(**_shares(taught, model, share))


def _expect(taught: Lesson, model: MatchModel) -> Statistics:
    """All sums but those of ads and persons."""
    count = len(taught.is_open)
    after = posterior(taught.before, count, model)
    likely = np.where(taught.is_open[taught.before.pairs.conversion], after.share, 0)
    idle = np.where(taught.is_open, after.organic + after.unreached, 0)
    sums = _identified(taught, model.delay).plus(_pairs(taught.before, likely))
    unreached = sums.unreached + after.unreached[taught.is_open].sum() * _normal(sums.matched.sum(axis=1))
    return (
        _background(taught, idle)
        .plus(sums)
        ._replace(
            unreached=unreached,
            conversions=np.array(float(taught.is_open.sum())),
            organic=np.array(after.organic[taught.is_open].sum()),
        )
    )


def estimate(sums: Statistics, languages: npt.NDArray[np.uint64]) -> MatchModel:
    """The model that the sums speak for."""
    matched = _matched(sums.matched, sums.unreached)
    weight = _normal(sums.matched.sum(axis=1) + sums.unreached)
    shares = _ad_given_person(sums)
    return MatchModel(
        matched=matched,
        delay=_delay(sums.delays),
        background=_background_rates(sums.background, sums.exposure_h),
        commonness=(sums.commonness + 1) / (sums.background.sum(axis=1) + 1),
        organic=float(np.clip(sums.organic / max(float(sums.conversions), 1.0), 0.01, 0.99)),
        unreached=float(np.clip(1 - weight @ matched.sum(axis=1), 0.01, 0.99)),
        ad_given_person=shares[0],
        ad_given_identifier=shares[1],
        languages=languages,
        fitted_on=round(float(sums.conversions)),
    )


def _first_look(taught: Lesson) -> Statistics:
    """What identifiers and placebos say before there is a model: half of the conversions are organic, say."""
    flat = np.full(len(DELAYS_H) - 1, 1.0)
    for _ in range(10):
        sums = _identified(taught, flat)
        flat = _delay(sums.delays)
    half = np.where(taught.is_open, 0.5, 0.0)
    count = np.array(float(taught.is_open.sum()))
    return _background(taught, half).plus(sums)._replace(conversions=count, organic=count / 2)


def _nothing() -> Statistics:
    bands, gaps = len(BANDS_H) - 1, len(GAPS_H) - 1
    return Statistics(
        matched=np.zeros((bands, PATTERNS)),
        unreached=np.zeros(bands),
        delays=np.zeros(len(DELAYS_H) - 1),
        background=np.zeros((PATTERNS, gaps)),
        exposure_h=np.zeros(gaps),
        commonness=np.zeros(PATTERNS),
        conversions=np.zeros(()),
        organic=np.zeros(()),
        shares=np.zeros((2, len(SHARES) - 1)),
        rights=np.zeros((2, len(SHARES) - 1)),
    )


def _identified(taught: Lesson, delay: Floats) -> Statistics:
    """Where an identifier names the person: each of the clicks may be the cause, as likely as its delay is usual."""
    likely = _normal_within(taught.identified.conversion, delay[bin_of(taught.identified_gap_h, DELAYS_H)])
    found = taught.identified_at >= 0
    pattern = taught.before.pattern[taught.identified_at[found]]
    band = bin_of(taught.identified_gap_h, BANDS_H)
    sums = _nothing()
    np.add.at(sums.matched, (band[found], pattern), likely[found])
    np.add.at(sums.unreached, band[~found], likely[~found])
    np.add.at(sums.delays, bin_of(taught.identified_gap_h, DELAYS_H), likely)
    return sums


def _pairs(scene: Scene, likely: Floats) -> Statistics:
    """Pairs that are as likely as this to be cause and effect. Their delays are left alone: they follow the model's."""
    sums = _nothing()
    np.add.at(sums.matched, (bin_of(scene.gap_h, BANDS_H), scene.pattern), likely)
    return sums


def _background(taught: Lesson, idle: Floats) -> Statistics:
    """Clicks after conversions, each as much as its conversion is `idle`."""
    scene, weight = taught.after, idle[taught.after.pairs.conversion]
    sums = _nothing()
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
    clicks, known = taught.clicks, taught.known
    # Where a cookie does not say that it is the same person, nobody knows; an identifier does.
    visitor = np.where(known >= 0, clicks.visitor[known], MISSING)
    same = (clicks.visitor[found.click] == visitor) & (visitor != MISSING) & (found.person >= LIKELY)
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


def _matched(matched: Floats, unreached: Floats) -> Floats:
    """P(pattern | cause) by band. Rare cells are drawn to the band's networks times the devices of each network."""
    total = matched.sum(axis=1) + unreached
    pooled = matched.sum(axis=0).reshape(len(NETWORKS), len(DEVICES))
    device = pooled + DEVICE_PRIOR * _normal(pooled.sum(axis=0)) + 0.01
    device /= device.sum(axis=1, keepdims=True)
    networks = matched.reshape(-1, len(NETWORKS), len(DEVICES)).sum(axis=2)
    overall = networks.sum(axis=0) / max(total.sum(), 1.0)
    networks = (networks + NETWORK_PRIOR * overall) / (total + NETWORK_PRIOR)[:, None]
    apart = (networks[:, :, None] * device).reshape(matched.shape)
    together: Floats = (matched + CELL_PRIOR * apart) / (total + CELL_PRIOR)[:, None]
    return together


def _background_rates(background: Floats, exposure_h: Floats) -> Floats:
    """Clicks an hour by pattern and gap. Rare cells are drawn to rate of pattern times profile of network."""
    exposure = np.maximum(exposure_h, 1.0)
    networks = background.reshape(len(NETWORKS), len(DEVICES), -1).sum(axis=1)
    profile = ((networks + 1) / exposure) / ((networks + 1).sum(axis=1, keepdims=True) / exposure.sum())
    usual = (background.sum(axis=1) + 0.5) / exposure.sum()
    expected = usual[:, None] * np.repeat(profile, len(DEVICES), axis=0)
    rates: Floats = (background + BACKGROUND_PRIOR) / (exposure + BACKGROUND_PRIOR / expected)
    return rates


def _delay(delays: Floats) -> Floats:
    """The density an hour, smoothed over neighbouring bins."""
    bins = np.arange(len(delays))
    kernel = np.exp(-0.5 * ((bins[:, None] - bins) / KERNEL_BINS) ** 2)
    smooth = (kernel / kernel.sum(axis=0)) @ (delays + 1e-3)
    density: Floats = smooth / smooth.sum() / np.diff(DELAYS_H)
    return density


def _ad_given_person(sums: Statistics) -> Floats:
    """By kind and bin of share how often the ad was right, drawn to the share itself; shape (2, bins)."""
    middle = (SHARES[:-1] + SHARES[1:]) / 2
    rates: Floats = (sums.rights + SHARE_PRIOR * middle) / (sums.shares + SHARE_PRIOR)
    return rates


def _without_click_ids(conversions: Evidence, chosen: Mask) -> Evidence:
    """As if the chosen conversions did not know their click."""
    return conversions._replace(**{name: np.where(chosen, MISSING, getattr(conversions, name)) for name in CLICK_IDS})


def _known(matches: IdentifierMatches, by_click: Mask) -> Ints:
    known = np.full(len(by_click), -1)
    chosen = by_click[matches.pairs.conversion]
    known[matches.pairs.conversion[chosen]] = matches.pairs.click[chosen]
    return known


def _of(pairs: Pairs, chosen: Mask) -> Pairs:
    kept = chosen[pairs.conversion]
    return Pairs(pairs.conversion[kept], pairs.click[kept])


def _rows_of(asked: Pairs, pairs: Pairs, width: int) -> Ints:
    """Where each asked pair is among the pairs, -1 where it is not."""
    keys = pairs.conversion * max(1, width) + pairs.click
    order = np.argsort(keys)
    wanted = asked.conversion * max(1, width) + asked.click
    place = np.minimum(np.searchsorted(keys[order], wanted), max(0, len(keys) - 1))
    return np.where(keys[order][place] == wanted, order[place], -1) if len(keys) else np.full(len(wanted), -1)


def _normal(values: Floats) -> Floats:
    return values / max(float(values.sum()), 1e-300)


def _normal_within(groups: Ints, values: Floats) -> Floats:
    """The values, summing to one in each group."""
    return values / np.bincount(groups, values)[groups] if len(groups) else values
