"""How sure the ad is where an identifier names the person: which of the person's clicks it was is another question.

Of a person's clicks each is as likely as its delay, and the likeliest click of the likeliest ad is credited. How often
that ad is the right one is learned where a click id is known as well (`MatchModel.ad_given_identifier`).
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from processors.attribution.facts import Touchpoint
from processors.matching.candidates import Pairs
from processors.matching.decision import best_of
from processors.matching.deterministic import MOST_CLICKS
from processors.matching.match import shares_by_delay
from processors.matching.model import SHARES, MatchModel, bin_of

__all__ = ["CreditedAd", "credited_ads"]

HOUR_MS = 3_600_000


class CreditedAd(NamedTuple):
    """The click that is credited, and the probability that its ad is the right one, by a version of a model."""

    click_id: str
    confidence: float
    model_version: str


def credited_ads(
    event_ms: Sequence[int], paths: Sequence[Sequence[Touchpoint]], model: MatchModel
) -> list[CreditedAd | None]:
    """Of conversions at these times with these clicks of one person each, oldest first; None where there is none.

    Of a person's clicks the newest 20 count, as where it is learned how sure the ad is.
    """
    newest = [path[-MOST_CLICKS:] for path in paths]
    clicks = [touch for path in newest for touch in path]
    if not clicks:
        return [None] * len(paths)
    count, rows = len(paths), np.arange(len(clicks))
    conversion = np.repeat(np.arange(count), [len(path) for path in newest])
    gap_ms = np.array(event_ms, np.int64)[conversion] - np.array([touch.event_ms for touch in clicks], np.int64)
    share = shares_by_delay(conversion, gap_ms / HOUR_MS, count, model)
    # Ads that are as likely go by their names, clicks of one ad by their times.
    number_of = {ad_id: number for number, ad_id in enumerate(sorted({touch.ad_id or "" for touch in clicks} - {""}))}
    ads = np.array([number_of.get(touch.ad_id or "", -1) for touch in clicks])
    newest_first = (len(clicks) - rows).astype(np.uint64)
    decision = best_of(Pairs(conversion, rows), share, conversion, ads, newest_first, count)
    confidence = model.ad_given_identifier[bin_of(decision.ad_share, SHARES)]
    return [
        CreditedAd(clicks[click].click_id, sure, model.version) if click >= 0 else None
        for click, sure in zip(decision.click.tolist(), confidence.tolist(), strict=True)
    ]
