"""The cells of the evaluation: a world, its drift and condition, and a policy, each by name."""

from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from processors.decisions.settings import PolicySettings
from processors.simulation.decisions.policies import POLICIES, MakePolicy, ours
from processors.simulation.decisions.run import Policy
from processors.simulation.decisions.worlds import CONDITIONS, DRIFTS, WORLDS, DecisionWorld

__all__ = ["CAPPED", "Cell", "cells"]

#: Ours with a hard cap on steps, to show what that costs where resets cost as much as is said.
CAPPED = "ours, steps of at most 20 %"
MANY_ADS = 30


class Cell(NamedTuple):
    """Names of a world, of its drift and condition, and of a policy; and how many ads."""

    world: str
    drift: str
    condition: str
    policy: str
    ads: int = 10

    @property
    def parameters(self) -> DecisionWorld:
        """The world itself."""
        return replace(WORLDS[self.world], drift=self.drift, ads=self.ads, **CONDITIONS[self.condition])

    @property
    def make(self) -> MakePolicy:
        """The policy itself."""
        return _capped if self.policy == CAPPED else POLICIES[self.policy]


def _capped(world: DecisionWorld, rng: np.random.Generator) -> Policy:
    return ours(world, rng, PolicySettings(reset_loss=world.reset_loss, step_cap=0.2))


def cells() -> Iterator[Cell]:
    """All of them, what matters most first."""
    both = ("none", "abrupt")
    for condition in CONDITIONS:
        yield from (Cell(world, drift, condition, "ours") for world in WORLDS for drift in both)
    baselines = [name for name in POLICIES if name != "ours"]
    yield from (Cell(world, drift, "clean", name) for name in baselines for world in WORLDS for drift in both)
    others = [drift for drift in DRIFTS if drift not in both]
    yield from (Cell(world, drift, "clean", "ours") for drift in others for world in WORLDS)
    yield from (Cell(world, drift, "resets", CAPPED) for world in WORLDS for drift in both)
    yield from (Cell(world, drift, "clean", "ours", MANY_ADS) for world in WORLDS for drift in both)
