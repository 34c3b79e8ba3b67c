"""What a split is worth: what it brings until it can be changed, and what is then known because of it.

Each candidate is tried on the same draws of true returns and the same noise. After a block of days the posterior of an
ad has moved to the mean of its prior and what the block showed; the split is then the best by those means, and is
valued by the true returns.
Source: Frazier, Powell, Dayanik, A knowledge-gradient policy for sequential information collection, 2008.
"""

import numpy as np

from processors.decisions.compiled import Floats, compiled
from processors.decisions.draws import best_shares

__all__ = ["SHARPNESS", "candidates", "worths"]

#: Powers of the probability of being best; infinity is the split that is best by what is expected.
SHARPNESS = (1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 6.0)


def candidates(best: Floats, mean: Floats, exponent: float) -> Floats:
    """Splits from a broad one to the one that is best by expectation; shape (candidates, ads), rows sum to one.

    best, mean: of each ad, shape (ads,): share that is best on average of the draws, and expected return.
    """
    powers = np.power(np.maximum(best, 0.0)[None, :], np.array(SHARPNESS)[:, None])
    broad = powers / powers.sum(axis=1, keepdims=True)
    return np.concatenate((broad, best_shares(mean[None, :], exponent)[None, :]))


@compiled
def worths(
    splits: Floats,
    returns: Floats,
    noise: Floats,
    shapes: Floats,
    rates: Floats,
    pending: Floats,
    learned: Floats,
    dispersion: float,
    exponent: float,
    block: float,
    horizon: float,
) -> Floats:
    """Value of each split over block and horizon, in returns on the daily budget; shape (candidates,).

    splits: shape (candidates, ads). returns, noise: shape (draws, ads); true returns and standard normal. shapes,
    rates: of the Gamma distribution with the posterior's mean and variance, shape (ads,). pending: exposure that
    matures in the block from what is spent already, shape (ads,). learned: exposure that matures in the block where an
    ad has the whole budget, shape (ads,). block, horizon: days.
    """
    count, (draws, ads) = len(splits), returns.shape
    found = np.zeros(count)
    later = np.empty(ads)
    for row in range(count):
        total = 0.0
        for number in range(draws):
            now, best = 0.0, 0
            for ad in range(ads):
                share, rate = splits[row, ad], returns[number, ad]
                effect = share if exponent >= 1.0 else share**exponent
                now += effect * rate
                exposure = effect * learned[ad] + pending[ad]
                exposure /= 1.0 + dispersion * exposure * rate / block
                seen = rate * exposure
                seen = max(seen + noise[number, ad] * np.sqrt(seen), 0.0)
                later[ad] = (shapes[ad] + seen) / (rates[ad] + exposure)
                if later[ad] > later[best]:
                    best = ad
            total += block * now
            if exponent >= 1.0:
                total += horizon * returns[number, best]
                continue
            top, whole, then = max(later[best], 1e-300), 0.0, 0.0
            for ad in range(ads):
                later[ad] = (later[ad] / top) ** (1.0 / (1.0 - exponent))
                whole += later[ad]
            for ad in range(ads):
                then += (later[ad] / whole) ** exponent * returns[number, ad]
            total += horizon * then
        found[row] = total / draws
    return found
