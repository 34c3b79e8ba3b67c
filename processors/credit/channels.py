"""Credit of channels: what a model makes of paths."""

from collections.abc import Container
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from processors.attribution.credit import Shares, last_non_direct, split_micros
from processors.credit.paths import Paths

__all__ = ["ChannelCredit", "last_non_direct_shares", "split_paths"]


class ChannelCredit(NamedTuple):
    """What each channel is credited with.

    channels: all that are in the paths, sorted.
    conversions: shape (channels,); they sum to those of the paths.
    value_micros: shape (channels,); they sum to the value of the paths, to the micro.
    """

    channels: tuple[str, ...]
    conversions: npt.NDArray[np.float64]
    value_micros: npt.NDArray[np.int64]


def split_paths(paths: Paths, shares: Shares) -> ChannelCredit:
    """Each path's conversions and value split over its touchpoints by `shares`, of shape (steps,).

    The shares of a path sum to one. Its value is split to whole micros.
    """
    of_path = np.repeat(paths.conversions, np.diff(paths.offsets))
    conversions = np.bincount(paths.steps, of_path * shares, len(paths.channels)).astype(np.float64)
    value_micros = np.zeros(len(paths.channels), np.int64)
    np.add.at(value_micros, paths.steps, split_micros(paths.value_micros, shares, paths.offsets))
    return ChannelCredit(paths.channels, conversions, value_micros)


def last_non_direct_shares(paths: Paths, direct_channels: Container[str]) -> Shares:
    """Shape (steps,): all of a path to its newest touchpoint that is not direct, or to its newest."""
    is_direct = np.array([channel in direct_channels for channel in paths.channels], np.bool_)
    return last_non_direct(paths.offsets, is_direct[paths.steps])
