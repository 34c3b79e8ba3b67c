"""Conversions to clicks, in layers: identifiers first, and for the others one posterior over candidates and "no ad".

The last three layers are that one posterior, named for the strongest evidence of the click that is credited.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from processors.matching.candidates import ClickIndex, Counts, Ints, Pairs
from processors.matching.decision import best_of
from processors.matching.deterministic import CLICK_IDS, PERSON_IDS, IdentifierMatches, identifier_matches
from processors.matching.evidence import Evidence
from processors.matching.model import DELAYS_H, SHARES, Floats, MatchModel, bin_of
from processors.matching.patterns import is_rare_device, is_same_address
from processors.matching.persons import persons
from processors.matching.posterior import Scene, gaps_h, posterior, scene_of

__all__ = [
    "FINGERPRINT",
    "IP",
    "LAYERS",
    "NONE",
    "PROBABILISTIC",
    "WINDOWS_S",
    "Matches",
    "match",
    "match_candidates",
    "shares_by_delay",
]

DAY_S = 86_400
#: Layers by number; those of identifiers in the order in which they come first.
LAYERS = (*CLICK_IDS, *PERSON_IDS, "fingerprint", "ip", "probabilistic", "none")
FINGERPRINT, IP, PROBABILISTIC, NONE = range(len(CLICK_IDS) + len(PERSON_IDS), len(LAYERS))
#: How far back each layer looks, seconds.
WINDOWS_S = tuple((7 if name == "ip" else 30) * DAY_S for name in LAYERS)


class Matches(NamedTuple):
    """What there is to say of each conversion. Shape (conversions,), but for the candidates.

    layer: number of the layer in LAYERS. click: row of the click that is credited, -1 without candidates.
    person: probability that it is the buyer's. ad: that its ad is the right one of the right person. margin: of the
    person over the next. none: that no candidate caused it; unreached: of this, that a click did that was not found.
    candidates, probability: clicks and their probabilities, at most 20 a conversion; with `none` they sum to one.
    """

    layer: Ints
    click: Ints
    person: Floats
    ad: Floats
    margin: Floats
    none: Floats
    unreached: Floats
    candidates: Pairs
    probability: Floats
    model_version: str

    @property
    def by_identifier(self) -> npt.NDArray[np.bool_]:
        """Conversions that an identifier matches."""
        return self.layer < FINGERPRINT


def match(conversions: Evidence, index: ClickIndex, ads: Ints, model: MatchModel) -> Matches:
    """Match conversions with the clicks of an index. `ads` numbers the ad of each click, -1 where there is none."""
    return match_candidates(
        conversions,
        index.clicks,
        ads,
        identifier_matches(conversions, index.clicks),
        index.candidates(conversions),
        index.counts(conversions),
        model,
    )


def match_candidates(
    conversions: Evidence,
    clicks: Evidence,
    ads: Ints,
    identified: IdentifierMatches,
    pairs: Pairs,
    counts: Counts,
    model: MatchModel,
) -> Matches:
    """Match conversions with what lookups have found for them, wherever they were looked up.

    `identified` and `pairs` are rows of `conversions` and `clicks`; `pairs` need not be those of conversions that an
    identifier matches, which are left out.
    """
    count, is_open = len(conversions.event_ms), identified.layer < 0
    asked = is_open[pairs.conversion]
    pairs = Pairs(pairs.conversion[asked], pairs.click[asked])
    scene = scene_of(pairs, conversions, clicks, counts, model.languages)
    after = posterior(scene, count, model)
    candidates, probability = _together(
        identified, scene, after.share, gaps_h(identified.pairs, conversions, clicks), model
    )
    order = clicks.click_id[candidates.click]
    decision = best_of(candidates, probability, persons(candidates, clicks), ads[candidates.click], order, count)
    layer = np.where(is_open, _named(scene, decision.click, count), identified.layer)
    person, ad = _confidence(layer, decision.person, decision.ad_share, model)
    ranked = np.lexsort((order, -probability, candidates.conversion))
    return Matches(
        layer=layer,
        click=decision.click,
        person=person,
        ad=ad,
        margin=decision.margin,
        none=np.where(is_open, after.organic + after.unreached, 0),
        unreached=np.where(is_open, after.unreached, 0),
        candidates=Pairs(candidates.conversion[ranked], candidates.click[ranked]),
        probability=probability[ranked],
        model_version=model.version,
    )


def _together(
    identified: IdentifierMatches, scene: Scene, share: Floats, gap_h: Floats, model: MatchModel
) -> tuple[Pairs, Floats]:
    """Candidates of both kinds. Of the clicks of a person an identifier names, each is as likely as its delay."""
    named = identified.pairs
    pairs = Pairs(*(np.concatenate(rows) for rows in zip(named, scene.pairs, strict=True)))
    return pairs, np.concatenate([shares_by_delay(named.conversion, gap_h, len(identified.layer), model), share])


def shares_by_delay(conversion: Ints, gap_h: Floats, conversions: int, model: MatchModel) -> Floats:
    """How likely each of a conversion's clicks is, where they are a person's: as its delay; they sum to one.

    conversion, gap_h: of the clicks, the time between the two in hours. Shape (clicks,).
    """
    weight = model.delay[bin_of(gap_h, DELAYS_H)]
    total = np.bincount(conversion, weight, conversions)
    shares: Floats = weight / total[conversion]
    return shares


def _named(scene: Scene, click: Ints, conversions: int) -> Ints:
    """The probabilistic layer of each conversion, by the strongest evidence of the click that is credited."""
    layer = np.full(conversions, NONE)
    credited = scene.rows(scene.pairs.click == click[scene.pairs.conversion])
    near = is_same_address(credited.pattern) & (credited.gap_h * 3_600 <= WINDOWS_S[IP])
    layer[credited.pairs.conversion] = np.select(
        [is_rare_device(credited.pattern), near], [FINGERPRINT, IP], PROBABILISTIC
    )
    return layer


def _confidence(layer: Ints, person: Floats, ad_share: Floats, model: MatchModel) -> tuple[Floats, Floats]:
    """How sure the person is, and the ad: a click id is sure of both, other identifiers of the person."""
    by_click, by_person = layer < len(CLICK_IDS), layer < FINGERPRINT
    bins = bin_of(ad_share, SHARES)
    probable = model.calibrate_person(person)
    probable_ad = np.minimum(model.calibrate_ad(person * model.ad_given_person[bins]), probable)
    return (
        np.where(by_person, 1.0, probable),
        np.select([by_click, by_person], [1.0, model.ad_given_identifier[bins]], probable_ad),
    )
