"""From probabilities of clicks to the person and the ad that are most likely, and how far they are ahead."""

from typing import NamedTuple

import numpy as np

from processors.matching.candidates import Ints, Pairs
from processors.matching.evidence import Hashes
from processors.matching.model import Floats

__all__ = ["Decision", "best_of"]


class Decision(NamedTuple):
    """Of each conversion; shape (conversions,).

    pair, click: the likeliest click of the likeliest ad of the likeliest person, as a row of the pairs and of the
        clicks; -1 without any.
    person: that person's probability. margin: how far the next person's is behind.
    ad_share: which part of it is the ad's.
    """

    pair: Ints
    click: Ints
    person: Floats
    margin: Floats
    ad_share: Floats


def best_of(pairs: Pairs, share: Floats, person: Ints, ad: Ints, order: Hashes, conversions: int) -> Decision:
    """The decision for so many conversions. `share`, `person` and `ad` are of the pairs; equals go by `order`."""
    size = len(share)
    of_person = np.minimum(np.bincount(person, share, size), 1)[person]
    kinds = np.unique(person * (ad.max(initial=0) + 2) + ad + 1, return_inverse=True)[1]
    of_ad = np.bincount(kinds, share, size)[kinds]
    ranked = np.lexsort((order, -share, kinds, -of_ad, person, -of_person, pairs.conversion))
    conversion, first = np.unique(pairs.conversion[ranked], return_index=True)
    best = ranked[first]
    pair = np.full(conversions, -1)
    pair[conversion] = best
    confidence, ad_share = np.zeros(conversions), np.zeros(conversions)
    confidence[conversion] = of_person[best]
    ad_share[conversion] = of_ad[best] / np.maximum(of_person[best], 1e-300)
    others = person != person[pair[pairs.conversion]]
    second = np.zeros(conversions)
    np.maximum.at(second, pairs.conversion[others], of_person[others])
    click = np.full(conversions, -1)
    click[conversion] = pairs.click[best]
    return Decision(pair, click, confidence, confidence - second, ad_share)
