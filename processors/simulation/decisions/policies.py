"""The policies of a simulation by name, ours among them, each for one account of a world."""

from collections.abc import Callable, Mapping

import numpy as np

from processors.decisions.compiled import Floats
from processors.decisions.evidence.posterior import Background, learned_exponent, posterior_of
from processors.decisions.evidence.statistics import Statistics
from processors.decisions.settings import PolicySettings
from processors.decisions.split import split_of
from processors.simulation.decisions.baselines import corrected_thompson, fixed_rules, greedy, naive_thompson, uniform
from processors.simulation.decisions.market import delay_shape
from processors.simulation.decisions.run import Policy
from processors.simulation.decisions.worlds import DecisionWorld

__all__ = ["POLICIES", "MakePolicy", "ours"]

#: Days between two estimates of saturation.
CADENCE_D = 3

MakePolicy = Callable[[DecisionWorld, np.random.Generator], Policy]


def ours(world: DecisionWorld, rng: np.random.Generator, settings: PolicySettings | None = None) -> Policy:
    """Ours, with prior, delay, dispersion, changes and saturation learned from what the account shows.

    It is told the budget, the typical value of a conversion, and the price of a reset; nothing else of the world.
    """
    settings = settings or PolicySettings(reset_loss=world.reset_loss)
    background, exponent = Background.generic(world.days, world.value), 1.0

    def split(statistics: Statistics, before: Floats) -> Floats:
        nonlocal exponent
        if statistics.spend.shape[1] % CADENCE_D == 0:
            exponent = learned_exponent(statistics, background)
        posterior = posterior_of(statistics, background, exponent, settings.hazard, settings.coupling)
        return split_of(posterior, statistics, world.daily_budget, before, settings, rng).shares

    return split


POLICIES: Mapping[str, MakePolicy] = {
    "uniform": lambda world, rng: uniform,
    "fixed rules": lambda world, rng: fixed_rules,
    "greedy": lambda world, rng: greedy,
    "naive Thompson": naive_thompson,
    "delay-corrected Thompson": lambda world, rng: corrected_thompson(world, delay_shape(world), rng),
    "ours": ours,
}
