"""Ways from one split to another."""

import numpy as np
import pytest

from processors.decisions.bounds import bounded
from processors.decisions.settings import PolicySettings
from processors.decisions.steps import gentle, priced

BEFORE = np.array([0.5, 0.3, 0.2])
TARGET = np.array([[0.05, 0.05, 0.9]])


def test_a_gentle_way_rises_no_more_than_is_free_and_spends_everything() -> None:
    [split] = gentle(TARGET, BEFORE, 0.2)
    assert split.sum() == pytest.approx(1)
    assert (split <= 1.2 * BEFORE + 1e-12).all()
    assert split[2] == pytest.approx(0.24)


def test_without_a_price_only_targets_are_candidates() -> None:
    steps = priced(TARGET, BEFORE, PolicySettings())
    assert steps.splits.tolist() == TARGET.tolist()
    assert steps.stay == -1


def test_with_a_price_so_are_the_ways_there_and_staying() -> None:
    steps = priced(TARGET, BEFORE, PolicySettings(reset_loss=0.2))
    assert len(steps.splits) == 4
    assert steps.splits[steps.stay].tolist() == BEFORE.tolist()
    assert steps.resets.any(axis=1).tolist() == [True, True, False, False]


def test_a_cap_holds_both_ways() -> None:
    steps = priced(TARGET, BEFORE, PolicySettings(step_cap=0.2))
    assert (np.abs(steps.splits - BEFORE) <= 0.2 * BEFORE + 1e-9).all()
    assert steps.splits.sum() == pytest.approx(1)


def test_bounds_that_leave_no_room_are_kept_all_the_same() -> None:
    none, half = np.zeros(2), np.full(2, 0.25)
    assert bounded(np.ones(2), none, half).tolist() == [0.25, 0.25]
    assert bounded(np.ones(2), np.full(2, 0.7), np.ones(2)).tolist() == [0.7, 0.7]
    assert bounded(np.zeros(2), none, np.ones(2)).tolist() == pytest.approx([0.5, 0.5])
