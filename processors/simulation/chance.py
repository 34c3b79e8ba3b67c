"""Chance as columns: draws from lists with weights, and draws that belong to a thing and stay with it."""

import numpy as np
import numpy.typing as npt

__all__ = ["Floats", "Ints", "Mask", "choose", "evenly", "log_uniform", "scatter"]

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)


def choose(rng: np.random.Generator, weights: npt.ArrayLike, size: int) -> Ints:
    """`size` positions in `weights`, each as often as its weight says.

    >>> choose(np.random.default_rng(1), [0, 3, 0], 4).tolist()
    [1, 1, 1, 1]
    """
    cumulated = np.cumsum(np.asarray(weights, np.float64))
    found: Ints = np.searchsorted(cumulated, rng.random(size) * cumulated[-1], side="right")
    return found


def scatter(*keys: Ints | int) -> Ints:
    """A number in [0, 2^62) for each row of keys, the same whenever it is asked for (splitmix64 over the keys).

    What a home's address is on a day is such a number: nobody has to keep it.

    >>> scatter(np.array([1, 1, 2]), 7).tolist() == [scatter(np.array([n]), 7)[0] for n in (1, 1, 2)]
    True
    """
    mixed = np.zeros(1, np.uint64)
    for key in keys:
        mixed = (mixed ^ np.asarray(key, np.int64).view(np.uint64)) + _GOLDEN
        mixed = (mixed ^ (mixed >> np.uint64(30))) * _MIX_1
        mixed = (mixed ^ (mixed >> np.uint64(27))) * _MIX_2
        mixed ^= mixed >> np.uint64(31)
    return (mixed >> np.uint64(2)).view(np.int64)


def log_uniform(rng: np.random.Generator, bounds: tuple[int, int], size: int) -> Ints:
    """Whole numbers between the bounds, as many between 10 and 100 as between 100 and 1,000."""
    low, high = np.log(bounds)
    return np.rint(np.exp(rng.uniform(low, high, size))).astype(np.int64)


def evenly(rng: np.random.Generator, ends: tuple[float, float], size: int) -> Floats:
    """`size` values that lie evenly from end to end, in random order.

    >>> sorted(evenly(np.random.default_rng(1), (0.0, 1.0), 3).tolist())
    [0.0, 0.5, 1.0]
    """
    return rng.permutation(np.linspace(*ends, size)) if size > 1 else np.full(1, sum(ends) / 2)
