"""A lookahead that explores where that is worth it, and not where nothing is to be learned."""

import numpy as np

from processors.decisions.draws import best_shares
from processors.decisions.lookahead import candidates, worths

DRAWS = 4000


def value_of(splits: np.ndarray, shapes: np.ndarray, rates: np.ndarray, learned: float, horizon: float) -> np.ndarray:
    rng = np.random.default_rng(1)
    returns = rng.gamma(shapes, 1 / rates, (DRAWS, len(shapes)))
    noise = rng.standard_normal(returns.shape)
    exposure, none = np.full(len(shapes), learned), np.zeros(len(shapes))
    return worths(splits, returns, noise, shapes, rates, none, exposure, 0.0, 1.0, 5.0, horizon)


KNOWN_AND_NEW = np.array([100.0, 1.7]), np.array([80.0, 1.5])
SPLITS = np.array([[1.0, 0.0], [0.0, 1.0]])


def test_an_unknown_ad_is_tried_where_there_is_time_to_use_what_is_learned() -> None:
    known, new = value_of(SPLITS, *KNOWN_AND_NEW, learned=20.0, horizon=20.0)
    assert new > known


def test_and_not_where_there_is_none_or_nothing_will_be_seen() -> None:
    known, new = value_of(SPLITS, *KNOWN_AND_NEW, learned=20.0, horizon=0.0)
    assert known > new
    known, new = value_of(SPLITS, *KNOWN_AND_NEW, learned=0.0, horizon=20.0)
    assert known > new


def test_candidates_go_from_broad_to_all_on_one() -> None:
    splits = candidates(np.array([0.5, 0.3, 0.2]), np.array([1.0, 1.2, 0.9]), 1.0)
    assert np.abs(splits.sum(axis=1) - 1).max() < 1e-12
    assert splits[0].tolist() == [0.5, 0.3, 0.2]
    assert splits[-1].tolist() == [0.0, 1.0, 0.0]


def test_where_returns_saturate_a_draws_split_has_equal_marginal_returns() -> None:
    returns = np.array([[1.0, 2.0, 3.0]])
    shares = best_shares(returns, 0.7)
    marginal = returns[0] * shares ** (0.7 - 1)
    assert np.ptp(marginal) < 1e-9 * marginal.max()
