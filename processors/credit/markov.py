"""Credit by removal effect in a Markov chain of channels, solved exactly.

A journey is a walk from the start over channels to a conversion or to nothing. What comes next depends on the last
`order` touchpoints, the state, with the frequencies seen in all journeys. The removal effect of a channel is the part
of the chain's conversions that is lost where every state that ends in the channel leads to nothing, which is the part
that goes through the channel. Credit is in proportion to it.

Anderl, Becker, von Wangenheim, Schumann: Mapping the customer journey: lessons learned from graph-based online
attribution modeling. International Journal of Research in Marketing 33 (2016).
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from processors.attribution.credit import split_micros
from processors.credit.channels import ChannelCredit
from processors.credit.errors import UnusableCounts
from processors.credit.paths import PathCounts, Paths

__all__ = ["MAX_ORDER", "markov", "removal_effects"]

Floats = npt.NDArray[np.float64]
Int64s = npt.NDArray[np.int64]

MAX_ORDER = 3
#: The chain is a dense matrix of this many rows: 200 MB, twice.
MAX_STATES = 5_000


class _Chain(NamedTuple):
    """A chain over the states that journeys were in.

    channel: shape (states,), the channel a state ends in.
    visits: shape (states,), how often a journey is in it, on average.
    transitions: shape (states, states), probability of a step from a state to another.
    ends: shape (states, 2), conversions and value that the next step brings, on average.
    """

    channel: Int64s
    visits: Floats
    transitions: Floats
    ends: Floats


def markov(counts: PathCounts, order: int = 1) -> ChannelCredit:
    """Conversions in proportion to removal effects, value in proportion to removal effects on value.

    A channel whose removal would raise the value gets none. A total value that is not above zero is divided as the
    conversions are.

    Raises ValueError for an order other than 1, 2 or 3, UnusableCounts.

    >>> counts = PathCounts()
    >>> counts.add(("search", "social"), conversions=1, value_micros=9_000_000)
    >>> counts.add(("social",), nulls=1)
    >>> counts.add(("search",), conversions=1, value_micros=6_000_000)
    >>> credit = markov(counts)
    >>> dict(zip(credit.channels, credit.conversions.round(4).tolist()))
    {'search': 1.2, 'social': 0.8}
    """
    paths = counts.columns()
    on_conversions, on_value = np.maximum(_through(paths, order), 0.0)
    if not on_conversions.any():
        return ChannelCredit(paths.channels, on_conversions, np.zeros(len(paths.channels), np.int64))
    value = paths.value_micros.sum()
    # Refunds may leave nothing to be in proportion to.
    effects = on_value if value > 0 and on_value.any() else on_conversions
    return ChannelCredit(
        paths.channels,
        paths.conversions.sum() * on_conversions / on_conversions.sum(),
        split_micros(np.array([value]), effects / effects.sum(), np.array([0, len(effects)])),
    )


def removal_effects(counts: PathCounts, order: int = 1) -> dict[str, float]:
    """The part of all conversions that each channel's removal would lose, empty where there are none.

    Raises ValueError for an order other than 1, 2 or 3, UnusableCounts.
    """
    paths = counts.columns()
    on_conversions, _ = _through(paths, order)
    if not paths.conversions.any():
        return {}
    # The chain converts as often as the journeys did.
    rate = paths.conversions.sum() / paths.journeys.sum()
    return dict(zip(paths.channels, (on_conversions / rate).tolist(), strict=True))


def _through(paths: Paths, order: int) -> Floats:
    """Shape (2, channels): conversions and value a journey brings by way of each channel, on average."""
    chain = _chain(paths, order)
    # Row i: how often the chain comes to each state before its end, from state i.
    visits_from = np.linalg.inv(np.eye(len(chain.channel)) - chain.transitions)
    brings = visits_from @ chain.ends
    through = np.zeros((2, len(paths.channels)))
    for channel in range(len(paths.channels)):
        states = np.flatnonzero(chain.channel == channel)
        # All visits to these states follow from the first to any of them.
        first_visits = np.linalg.solve(visits_from[np.ix_(states, states)].T, chain.visits[states])
        through[:, channel] = first_visits @ brings[states]
    return through


def _chain(paths: Paths, order: int) -> _Chain:
    """The chain that journeys followed, which visits each state as often as they did."""
    states, state = np.unique(_states(paths, order), return_inverse=True)
    count = len(states)
    if count > MAX_STATES:
        raise UnusableCounts(
            f"a chain of order {order} over {len(paths.channels)} channels has {count} states, more than {MAX_STATES}: "
            "take a lower order, or fewer channels"
        )
    of_step = np.repeat(paths.journeys, np.diff(paths.offsets)).astype(np.float64)
    last = paths.offsets[1:] - 1
    is_followed = np.ones(len(state), np.bool_)
    is_followed[last] = False
    before = np.flatnonzero(is_followed)
    steps = np.bincount(state[before] * count + state[before + 1], of_step[before], count * count)
    departures = np.bincount(state, of_step, count)[:, np.newaxis]
    ends = [np.bincount(state[last], ended, count) for ended in (paths.conversions, paths.value_micros)]
    return _Chain(
        states % (len(paths.channels) + 1) - 1,
        departures[:, 0] / max(1, paths.journeys.sum()),
        steps.reshape(count, count) / departures,
        np.column_stack(ends) / departures,
    )


def _states(paths: Paths, order: int) -> Int64s:
    """Shape (steps,): the last `order` channels at each step as one number, the newest its last digit.

    A digit is zero where the path had not begun.
    """
    if not 1 <= order <= MAX_ORDER:
        raise ValueError(f"order {order} is none of 1 to {MAX_ORDER}")
    place = np.arange(len(paths.steps)) - np.repeat(paths.offsets[:-1], np.diff(paths.offsets))
    base = len(paths.channels) + 1
    states = paths.steps + 1
    for back in range(1, order):
        states = states + np.where(place >= back, np.roll(paths.steps, back) + 1, 0) * base**back
    return states
