"""Deals of all kinds."""

from hypothesis import strategies as st

from processors.pipeline_value.histories import LOST, OPEN, WON, Deal
from processors.pipeline_value.sums import DAY_MS

STAGES = 4
NOW_MS = 400 * DAY_MS


@st.composite
def deals(draw: st.DrawFn) -> Deal:
    """One that skips stages, comes back to them, and may be closed."""
    times = sorted(draw(st.lists(st.integers(0, 390 * DAY_MS), min_size=1, max_size=5)))
    entered = [(draw(st.integers(0, STAGES - 1)), time) for time in times]
    outcome = draw(st.sampled_from([OPEN, LOST, WON]))
    closed = None if outcome == OPEN else draw(st.integers(times[-1], NOW_MS))
    amount = draw(st.one_of(st.none(), st.integers(0, 10**13))) if outcome == WON else None
    return Deal(entered, outcome, closed, amount)
