"""Matching held against identifiers: conversions whose clicks are known are matched once more as if they were not.

An estimate with a known bias, by what it is made from: conversions that kept an identifier hold no organic ones and
few that were made on another device, so `withheld` overstates how many are found and how often rightly. The same
conversions with all clicks of the household taken away, `knock_out`, stand for organic ones.
Source: facts measured in simulation, docs/attribution-quality.md.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from processors.attribution.facts import Touchpoint
from processors.attribution.probable import Gathered, Match, matches
from processors.matching.candidates import Pairs
from processors.matching.evidence import MISSING, Evidence, hash_text
from processors.matching.model import MatchModel
from processors.matching.tally import DEVICES_AN_ADDRESS
from schemas.definitions import arrow_schema, definition

__all__ = ["KNOCK_OUT", "WITHHELD", "Evaluated", "evaluate", "is_evaluated", "quality_records"]

WITHHELD, KNOCK_OUT = "withheld", "knock_out"
PERSONAL = ("email", "phone", "external_id")
IDENTIFIERS = ("visitor", "click_id", "fbclid", *PERSONAL)
#: Layers that know the click, and with it the ad.
SURE_OF_AD = ("click_id", "fbclid")
SCHEMA = arrow_schema(definition("attribution-quality").text)
WHOLE = 1 << 32


class Evaluated(NamedTuple):
    """A conversion whose clicks an identifier tells: its layer, and these clicks, oldest first."""

    account_id: str
    conversion_id: str
    event_ms: int
    layer: str
    touchpoints: Sequence[Touchpoint]
    click_id: str | None


def is_evaluated(account_id: str, conversion_id: str, share: float) -> bool:
    """Whether a conversion is among those that are evaluated: by its name alone, always the same.

    >>> sum(is_evaluated("acme", f"c{n}", 0.05) for n in range(10_000))
    479
    """
    return hash_text(f"{len(account_id)}:{account_id}:{conversion_id}") % WHOLE < share * WHOLE


def evaluate(
    known: Sequence[Evaluated], conversions: Evidence, gathered: Gathered, model: MatchModel
) -> list[dict[str, Any]]:
    """Rows of the topic attribution-quality, two a conversion. `conversions` and `gathered` are of `known`."""
    asked = conversions.without(IDENTIFIERS)
    # The browsers that clicked are known where a conversion says nothing, too.
    blind = gathered._replace(clicks=gathered.clicks.without(PERSONAL))
    alone = blind._replace(pairs=_without_households(known, conversions, gathered))
    rows = []
    for method, some in ((WITHHELD, blind), (KNOCK_OUT, alone)):
        for one, found in zip(known, matches(asked, some, model), strict=True):
            rows.append(_row(one, found, method))
    return rows


def quality_records(rows: Sequence[dict[str, Any]]) -> pa.RecordBatch:
    """The rows as columns of the topic."""
    return pa.RecordBatch.from_pylist(list(rows), SCHEMA)


def _row(known: Evaluated, found: Match, method: str) -> dict[str, Any]:
    own = {touch.click_id for touch in known.touchpoints}
    credited = found.credited.click_id if found.credited else None
    is_caused = method == WITHHELD
    return {
        "account_id": known.account_id,
        "conversion_id": known.conversion_id,
        "event_time": known.event_ms,
        "method": method,
        "known_by": known.layer,
        "layer": found.layer,
        "confidence_person": found.person,
        "confidence_ad": found.ad,
        "is_person_right": is_caused and credited in own,
        "is_ad_right": _is_ad_right(known, found) if is_caused else False,
        "is_reachable": any(candidate.touchpoint.click_id in own for candidate in found.candidates),
        "model_version": found.model_version,
    }


def _is_ad_right(known: Evaluated, found: Match) -> bool | None:
    """None where nobody knows which of the person's clicks led to the conversion."""
    if known.layer not in SURE_OF_AD:
        return None
    true = next((touch for touch in known.touchpoints if touch.click_id == known.click_id), known.touchpoints[-1])
    return found.credited is not None and found.credited.ad_id == true.ad_id


def _without_households(known: Sequence[Evaluated], conversions: Evidence, gathered: Gathered) -> Pairs:
    """The pairs without clicks of the person, of the person's browsers, and from the addresses of either."""
    of, click = gathered.pairs
    quiet = gathered.counts.ip <= DEVICES_AN_ADDRESS
    own = [[hash_text(touch.click_id) for touch in one.touchpoints] for one in known]
    is_own = _is_among(gathered.pairs, gathered.clicks.click_id, own)
    taken = is_own.copy()
    for name in ("visitor", *PERSONAL, "ip"):
        column = getattr(gathered.clicks, name)
        values: list[list[int]] = [[] for _ in known]
        for row, place in zip(of[is_own].tolist(), click[is_own].tolist(), strict=True):
            values[row].append(int(column[place]))
        taken |= _is_among(gathered.pairs, column, values)
    taken |= quiet[of] & (gathered.clicks.ip[click] == conversions.ip[of]) & (conversions.ip[of] != MISSING)
    return Pairs(of[~taken], click[~taken])


def _is_among(pairs: Pairs, column: npt.NDArray[np.uint64], values: Sequence[Sequence[int]]) -> npt.NDArray[np.bool_]:
    """Whether the value of each pair's click is one of those of its conversion."""
    sets = [set(some) - {int(MISSING)} for some in values]
    found = (int(column[click]) in sets[of] for of, click in zip(*map(np.ndarray.tolist, pairs), strict=True))
    return np.fromiter(found, np.bool_, len(pairs.click))
