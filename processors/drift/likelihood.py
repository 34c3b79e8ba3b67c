"""How much more likely a bucket is after a change than before it: the steps of a CUSUM.

A bucket is a count of events (conversions) and what they came of: trials (clicks) for a Bernoulli rate, exposure
(spend, or events expected) for a Poisson rate. Buckets of one trial are the events themselves.
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

__all__ = ["Floats", "Step", "bernoulli_step", "poisson_step"]

Floats = npt.NDArray[np.float64]
#: (count, exposure, rate before, ratio of the rate after to it) -> log likelihood ratio, all of shapes that broadcast.
Step = Callable[[Floats, Floats, Floats, Floats], Floats]

#: A rate after the change is less than one.
MOST = 0.999


def bernoulli_step(successes: Floats, trials: Floats, rate: Floats, ratio: Floats) -> Floats:
    """Of successes in trials.

    >>> one = np.ones(1)
    >>> [bernoulli_step(one * n, one, one * 0.02, one / 2).round(4).item() for n in (0, 1)]
    [0.0102, -0.6931]
    """
    before = np.minimum(rate, MOST)
    after = np.minimum(rate * ratio, MOST)
    found: Floats = successes * np.log(after / before) + (trials - successes) * np.log((1 - after) / (1 - before))
    return found


def poisson_step(count: Floats, exposure: Floats, rate: Floats, ratio: Floats) -> Floats:
    """Of a count in an exposure.

    >>> one = np.ones(1)
    >>> [poisson_step(one * n, one, one * 2, one * 2).round(4).item() for n in (0, 3)]
    [-2.0, 0.0794]
    """
    found: Floats = count * np.log(ratio) - (ratio - 1) * rate * exposure
    return found
