"""What a team may set of budget decisions, with what is usual."""

from dataclasses import dataclass

__all__ = ["PolicySettings"]


@dataclass(frozen=True, slots=True)
class PolicySettings:
    """`_d` days. Shares are between 0 and 1; returns are value per spend.

    draws: of the posterior, for probabilities and the lookahead.
    hazard: of a change of one ad on one day; coupling: added on days on which another ad surely changed.
    block_d, horizon_d: a split is valued over a block until it can be changed, and a horizon with what the block
    taught.
    hysteresis: a split is changed only where it is worth that share more than the one that is.
    reset_loss, reset_days, reset_rise: what the platform is thought to take from an ad whose budget rises by more than
    `reset_rise`: that share of its return for so many days. 0 where it is not priced. reset_horizon_d: the horizon
    where it is.
    smallest_change: a budget that would change by less than that share of itself is left as it is.
    step_cap: no share of the budget changes by more than that share of itself at once; None where steps are free.
    """

    draws: int = 400
    hazard: float = 1 / 500
    coupling: float = 0.3
    block_d: int = 5
    horizon_d: float = 20.0
    hysteresis: float = 0.0
    reset_loss: float = 0.0
    reset_days: int = 3
    reset_rise: float = 0.2
    reset_horizon_d: float = 10.0
    smallest_change: float = 0.02
    step_cap: float | None = None
