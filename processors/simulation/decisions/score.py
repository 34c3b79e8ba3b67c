"""What a policy made of many accounts of a world."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from processors.decisions.compiled import Floats
from processors.simulation.decisions.market import market_of
from processors.simulation.decisions.policies import MakePolicy
from processors.simulation.decisions.run import run
from processors.simulation.decisions.worlds import DecisionWorld

__all__ = ["Account", "Score", "play", "score_of"]

#: Ads that return less lose money at any margin.
LOSER = 0.5
RECOVERED, BEFORE_D = 0.9, 10


class Account(NamedTuple):
    """One seed. share: of the oracle's value. regret: value missed, money. wasted: spend on ads that return less than
    LOSER, share of all. resets: learning phases begun anew. recovery_d: days from the drift until a day's share is
    RECOVERED of what it was before; None where nothing drifts at once."""

    share: float
    regret: float
    wasted: float
    resets: int
    recovery_d: int | None


@dataclass(frozen=True, slots=True)
class Score:
    """Of many seeds. share, regret, wasted, resets: means; error: standard error of the share; worst_decile: mean share
    of the worst tenth; recovery_d: median."""

    seeds: int
    share: float
    error: float
    worst_decile: float
    regret: float
    wasted: float
    resets: float
    recovery_d: float | None


def play(world: DecisionWorld, make: MakePolicy, seeds: Iterable[int]) -> Iterator[Account]:
    """An account for each seed: of one seed, every policy meets the same market."""
    for seed in seeds:
        market = market_of(world, np.random.default_rng([seed, 1]))
        chance, own = np.random.default_rng([seed, 2]), np.random.default_rng([seed, 3])
        found = run(world, market, make(world, own), chance)
        shares = found.earned / found.possible
        yield Account(
            share=found.share,
            regret=float((found.possible - found.earned).sum() * world.daily_budget),
            wasted=float((found.splits * (market.returns < LOSER)).sum() / world.days),
            resets=found.resets,
            recovery_d=None if market.changed is None else _recovery(shares, market.changed),
        )


def _recovery(shares: Floats, changed: int) -> int:
    usual = float(shares[changed - BEFORE_D : changed].mean())
    back = np.flatnonzero(shares[changed:] >= RECOVERED * usual)
    return int(back[0]) if len(back) else len(shares) - changed


def score_of(accounts: Sequence[Account]) -> Score:
    """The accounts as one row."""
    shares = np.sort([one.share for one in accounts])
    worst = shares[: max(1, len(shares) // 10)]
    recoveries = [one.recovery_d for one in accounts if one.recovery_d is not None]
    return Score(
        seeds=len(accounts),
        share=round(float(shares.mean()), 4),
        error=round(float(shares.std(ddof=1) / np.sqrt(len(shares))), 4) if len(shares) > 1 else float("nan"),
        worst_decile=round(float(worst.mean()), 4),
        regret=round(float(np.mean([one.regret for one in accounts])), 2),
        wasted=round(float(np.mean([one.wasted for one in accounts])), 4),
        resets=round(float(np.mean([one.resets for one in accounts])), 2),
        recovery_d=float(np.median(recoveries)) if recoveries else None,
    )
