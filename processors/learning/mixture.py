"""Predictions of several experts as one, with a bound on what that can cost.

An expert's weight falls by the likelihood it gave to each outcome. The mixture's total log-loss is then at most that of
any expert plus the logarithm of one over the weight it began with, whatever the events: a model that has gone astray
costs no more than a constant before the others are listened to.

Vovk: A game of prediction with expert advice (1998). Herbster, Warmuth: Tracking the best expert, Machine Learning 32
(1998), for `share`.
"""

import numpy as np

from processors.learning.examples import Floats

__all__ = ["mix", "share"]

#: How far ahead one expert can get of another, in nats: beyond this it would only take longer to notice a change.
FURTHEST = 30.0


def mix(log_weights: Floats, chances: Floats, converted: Floats) -> tuple[Floats, Floats]:
    """The mixture of each event, by the weights the events before leave, and the log weights after all of them.

    log_weights: shape (experts,). chances: shape (experts, events), of converting. converted: shape (events,).

    >>> mixed, after = mix(np.zeros(2), np.array([[0.9, 0.9], [0.1, 0.1]]), np.array([1.0, 1.0]))
    >>> mixed.round(2).tolist(), np.exp(after).round(2).tolist()
    ([0.5, 0.82], [1.0, 0.01])
    """
    likelihood = np.log(np.where(converted > 0, chances, 1 - chances))
    after = log_weights[:, None] + np.cumsum(likelihood, axis=1)
    before = np.concatenate([log_weights[:, None], after[:, :-1]], axis=1)
    weights = np.exp(before - before.max(axis=0))
    mixed: Floats = (weights * chances).sum(axis=0) / weights.sum(axis=0)
    last = after[:, -1] if after.shape[1] else log_weights
    return mixed, np.maximum(last - last.max(), -FURTHEST)


def share(log_weights: Floats, part: float) -> Floats:
    """Weights of which each gives a part to be shared out evenly, so that an expert that was bad can soon be the best.

    >>> np.exp(share(np.log(np.array([1.0, 1e-9])), 0.1)).round(2).tolist()
    [0.95, 0.05]
    """
    weights = np.exp(log_weights - log_weights.max())
    weights /= weights.sum()
    found: Floats = np.log((1 - part) * weights + part / len(weights))
    return found
