"""The fixed ladder that attribution tools use: a rule found is a confidence claimed. Here to be compared with.

The newest click with the same fingerprint in 30 days counts .95; else the newest from the same address in 7 days, .70;
else the newest click of the site in 30 days, .40. Whoever buys without having seen an ad is attributed to somebody's.
"""

import numpy as np

from processors.matching.candidates import DAY_MS, Ints, Lists, Lookup
from processors.matching.evidence import Evidence
from processors.matching.model import Floats

__all__ = ["RUNGS", "climb"]

#: Columns that have to agree, days back, and the confidence claimed.
RUNGS: tuple[tuple[tuple[str, ...], int, float], ...] = (
    (("fingerprint",), 30, 0.95),
    (("ip",), 7, 0.70),
    (("site",), 30, 0.40),
)


def climb(conversions: Evidence, clicks: Evidence) -> tuple[Ints, Floats]:
    """Row of the click and the confidence the ladder gives each conversion; -1 and 0 where no rung holds."""
    click = np.full(len(conversions.event_ms), -1)
    confidence = np.zeros(len(click))
    for columns, days, claimed in reversed(RUNGS):
        rows, found = Lists(clicks, columns).read(
            conversions, Lookup(columns, 1, most=len(clicks.event_ms)), before=True
        )
        recent = conversions.event_ms[rows] - clicks.event_ms[found] <= days * DAY_MS
        click[rows[recent]], confidence[rows[recent]] = found[recent], claimed
    return click, confidence
