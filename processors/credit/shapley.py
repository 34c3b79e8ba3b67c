"""Credit by Shapley value: what a channel adds to the coalitions it joins, on average over all orders of joining.

A coalition of channels is worth the conversions of the journeys that met channels of it only.

Shapley: A value for n-person games (1953). Zhao, Mahboobi, Bagheri: Shapley value methods for attribution modeling in
online advertising (2018).
"""

from processors.attribution.credit import linear
from processors.credit.channels import ChannelCredit, split_paths
from processors.credit.paths import PathCounts

__all__ = ["shapley"]


def shapley(counts: PathCounts) -> ChannelCredit:
    """Conversions and value by Shapley value. Raises UnusableCounts.

    A conversion adds the same to every coalition that holds all channels its journey met, and nothing to the others,
    so these channels divide it equally; and the Shapley value of a sum is the sum of the Shapley values. It is exact
    for any number of channels, without enumerating or sampling their coalitions.

    >>> counts = PathCounts()
    >>> counts.add(("a", "b", "a"), conversions=1, value_micros=9)
    >>> counts.add(("b",), conversions=1, nulls=7)
    >>> shapley(counts)
    ChannelCredit(channels=('a', 'b'), conversions=array([0.5, 1.5]), value_micros=array([5, 4]))
    """
    coalitions = counts.coalitions().columns()
    return split_paths(coalitions, linear(coalitions.offsets))
