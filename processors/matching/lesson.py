"""What a tenant's own records have to teach: conversions with the clicks before and after, and what identifiers say."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from processors.matching.candidates import WINDOW_MS, ClickIndex, Ints, Pairs
from processors.matching.deterministic import CLICK_IDS, IdentifierMatches, identifier_matches
from processors.matching.evidence import MISSING, Evidence, Hashes
from processors.matching.model import Floats
from processors.matching.patterns import common_languages
from processors.matching.posterior import HOUR_MS, Scene, gaps_h, scene_of

__all__ = ["Lesson", "lesson"]

Mask = npt.NDArray[np.bool_]


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
    languages: Hashes


def lesson(conversions: Evidence, index: ClickIndex, ads: Ints) -> Lesson:
    """What conversions and clicks have to teach. `ads` numbers the ad of each click, -1 where there is none."""
    clicks, languages = index.clicks, common_languages(index)
    matches = identifier_matches(conversions, clicks)
    by_click = (matches.layer >= 0) & (matches.layer < len(CLICK_IDS))
    blind = _without_click_ids(conversions, by_click)
    counts = index.counts(blind)
    before = scene_of(index.candidates(blind), blind, clicks, counts, languages)
    persons = identifier_matches(blind, clicks).pairs
    identified = _of(persons, ~by_click)
    hidden = _of(persons, by_click)
    return Lesson(
        before=before,
        after=scene_of(index.placebos(blind), blind, clicks, counts, languages),
        after_h=np.clip(index.end_ms - conversions.event_ms, 0, WINDOW_MS) / HOUR_MS,
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
