"""Sales pipelines whose true chances are known, as a CRM shows them on some day: most deals of late are still open."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from processors.pipeline_value.histories import LOST, OPEN, WON, Deal
from processors.pipeline_value.sums import DAY_MS

__all__ = ["STAGES", "Tenant", "tenant"]

Floats = npt.NDArray[np.float64]

STAGES = ("lead", "appointment", "show")
#: The way on from each stage in a typical pipeline; the last leads to a win.
ADVANCES = (0.3, 0.6, 0.25)
#: Tenants differ by so much in log odds, and in the logarithm of a deal's value.
SPREAD, VALUE_SPREAD = 0.3, 0.3
DEAL, DEAL_SPREAD = 15_000.0, 0.8
#: Days in a stage, median: who goes on goes soon, who is lost is given up late.
ON_D, LOST_D, DAYS_SPREAD = 4.0, 20.0, 0.9
YEAR_MS = 365 * DAY_MS


class Tenant(NamedTuple):
    """deals: as known after a year. win: true chances by stage. value: of a deal that is won, mean, in units.

    won: whether each deal is won in the end.
    """

    deals: list[Deal]
    win: Floats
    value: float
    won: list[bool]


def tenant(rng: np.random.Generator, deals: int) -> Tenant:
    """A tenant with so many deals in the year, as they are known at its end."""
    log_odds = np.log(np.array(ADVANCES) / (1 - np.array(ADVANCES))) + rng.normal(0, SPREAD, len(ADVANCES))
    advance = 1 / (1 + np.exp(-log_odds))
    value = DEAL * float(np.exp(rng.normal(0, VALUE_SPREAD)))
    drawn = [_deal(rng, advance, value) for _ in range(deals)]
    win = np.cumprod(advance[::-1])[::-1]
    return Tenant([deal for deal, _ in drawn], win, value, [is_won for _, is_won in drawn])


def _deal(rng: np.random.Generator, advance: Floats, value: float) -> tuple[Deal, bool]:
    now, stage = int(rng.uniform(0, YEAR_MS)), 0
    entered = [(stage, now)]
    while True:
        goes_on = rng.random() < advance[stage]
        now += int((ON_D if goes_on else LOST_D) * np.exp(rng.normal(0, DAYS_SPREAD)) * DAY_MS)
        is_won = bool(goes_on and stage == len(advance) - 1)
        if is_won or not goes_on:
            break
        stage += 1
        entered.append((stage, now))
    amount = int(value * np.exp(rng.normal(0, DEAL_SPREAD) - DEAL_SPREAD**2 / 2) * 100) * 10_000
    return _seen(Deal(entered, WON if is_won else LOST, now, amount if is_won else None)), is_won


def _seen(deal: Deal) -> Deal:
    """What is known of it at the end of the year."""
    if deal.closed_ms is not None and deal.closed_ms <= YEAR_MS:
        return deal
    return Deal([entry for entry in deal.entered if entry[1] <= YEAR_MS], OPEN)
