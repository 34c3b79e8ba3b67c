"""Models by their names, of paths whose times are not known."""

from collections.abc import Container

from processors.attribution.credit import BY_POSITION
from processors.credit.channels import ChannelCredit, last_non_direct_shares, split_paths
from processors.credit.markov import markov
from processors.credit.paths import PathCounts
from processors.credit.shapley import shapley

__all__ = ["MODELS", "credit_channels"]

#: All but time_decay, which goes by the times of touchpoints.
MODELS = (*BY_POSITION, "last_non_direct", "markov", "shapley")


def credit_channels(counts: PathCounts, model: str, order: int, direct_channels: Container[str]) -> ChannelCredit:
    """What each channel is credited with by one of MODELS.

    `order` is that of the Markov chain, `direct_channels` those last_non_direct passes over; others need neither.
    Raises KeyError for another model, ValueError for an order other than 1, 2 or 3, UnusableCounts.

    >>> counts = PathCounts()
    >>> counts.add(("search", "direct"), conversions=3, value_micros=30)
    >>> credit_channels(counts, "last_non_direct", 1, {"direct"})
    ChannelCredit(channels=('direct', 'search'), conversions=array([0., 3.]), value_micros=array([ 0, 30]))
    """
    if model == "markov":
        return markov(counts, order)
    if model == "shapley":
        return shapley(counts)
    paths = counts.columns()
    if model == "last_non_direct":
        return split_paths(paths, last_non_direct_shares(paths, direct_channels))
    return split_paths(paths, BY_POSITION[model](paths.offsets))
