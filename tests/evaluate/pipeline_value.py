"""How near stage values are to the truth, and by how much simpler ones are off, in simulated pipelines."""

from typing import Any

import numpy as np
import numpy.typing as npt

from processors.pipeline_value.histories import OPEN, WON, stays
from processors.pipeline_value.pooling import learn
from processors.pipeline_value.sums import Sums, sums_of
from tests.evaluate.pipeline import ADVANCES, STAGES, YEAR_MS, Tenant, tenant

__all__ = ["report"]

Floats = npt.NDArray[np.float64]

TENANTS = 12
#: A tenant's deals in the year, as many tenants between 30 and 300 as between 150 and 1,500.
DEALS = (30, 1_500)


def report(seeds: int = 60, seed: int = 30_000) -> dict[str, Any]:
    """Everything that docs/pipeline-value.md quotes: ratios of estimated to true value, summed over all deals.

    seeds: niches of TENANTS tenants. seed: of the first; nothing was chosen by it.
    """
    niches = [_niche(np.random.default_rng(seed + number)) for number in range(seeds)]
    rows = {name: np.stack([niche[name] for niche in niches]) for name in niches[0]}
    return {
        "niches": seeds,
        "stages": list(STAGES),
        "ratio": {name: _ratios(found) for name, found in rows.items() if found.ndim == 3},
        "open_deals": {name: _ratios(found) for name, found in rows.items() if name.startswith("open")},
        "brier_open_deals": {name[6:]: float(found.mean()) for name, found in rows.items() if name.startswith("brier")},
        "tenants": {name[8:]: float(found.mean()) for name, found in rows.items() if name.startswith("tenants_")},
    }


def _ratios(found: Floats) -> Any:
    """Of all niches together, and the niches' 5th and 95th percentile; shape (niches, ..., 2)."""
    estimated, true = found[..., 0], found[..., 1]
    low, high = np.quantile(estimated / true, [0.05, 0.95], axis=0)
    return {
        "all": np.round(estimated.sum(axis=0) / true.sum(axis=0), 3).tolist(),
        "p5": np.round(low, 3).tolist(),
        "p95": np.round(high, 3).tolist(),
    }


def _niche(rng: np.random.Generator) -> dict[str, Floats]:
    low, high = np.log(DEALS)
    tenants = [tenant(rng, int(np.exp(rng.uniform(low, high)))) for _ in range(TENANTS)]
    sums = [_sums(one) for one in tenants]
    pooled, alone = learn(sums), [learn([one])[0] for one in sums]
    entered = np.array([[sum(stage in dict(d.entered) for d in one.deals) for stage in range(3)] for one in tenants])
    truth = np.array([one.win * one.value for one in tenants])
    by_method = {
        "pooled": np.array([v.win[:, 0] * v.deal_micros / 1e6 for v in pooled]),
        "alone": np.array([v.win[:, 0] * v.deal_micros / 1e6 for v in alone]),
        "closed_deals_only": np.array([_closed(one) for one in tenants]),
        "all_deals": np.array([_all(one) for one in tenants]),
    }
    found = {
        name: np.stack([(entered * value).sum(axis=0), (entered * truth).sum(axis=0)], axis=-1)
        for name, value in by_method.items()
    }
    errors = {f"tenants_{name}": np.abs(value[:, 0] / truth[:, 0] - 1).mean() for name, value in by_method.items()}
    return found | errors | _open_deals(tenants, pooled)


def _sums(one: Tenant) -> Sums:
    won = [deal.amount_micros for deal in one.deals if deal.outcome == WON]
    return sums_of(stays(one.deals, YEAR_MS), len(STAGES), won)


def _closed(one: Tenant) -> Floats:
    """Of deals that are won or lost, the part that is won, times the mean amount."""
    deals = [deal for deal in one.deals if deal.outcome != OPEN]
    return _share(deals) * _mean_amount(one)


def _all(one: Tenant) -> Floats:
    """Of all deals, as if those that are open were lost."""
    return _share(one.deals) * _mean_amount(one)


def _share(deals: list[Any]) -> Floats:
    in_stage = [[deal for deal in deals if stage in dict(deal.entered)] for stage in range(len(STAGES))]
    return np.array([np.mean([deal.outcome == WON for deal in found]) if found else 0.0 for found in in_stage])


def _mean_amount(one: Tenant) -> float:
    won = [deal.amount_micros for deal in one.deals if deal.outcome == WON]
    return float(np.mean(won)) / 1e6 if won else 0.0


def _open_deals(tenants: list[Tenant], pooled: list[Any]) -> dict[str, Floats]:
    """Of deals that are open after the year, against what becomes of them."""
    predicted, entering, static, won, value = [], [], [], [], []
    table = np.cumprod(ADVANCES[::-1])[::-1]
    for one, values in zip(tenants, pooled, strict=True):
        for deal, is_won in zip(one.deals, one.won, strict=True):
            if deal.outcome == OPEN:
                stage, entered = deal.entered[-1]
                predicted.append(values.win_probability(stage, YEAR_MS - entered))
                entering.append(values.win_probability(stage))
                static.append(table[stage])
                won.append(is_won)
                value.append(one.value)
    columns = [np.array(column, np.float64) for column in (predicted, entering, static, won)]
    worth = np.array(value)
    true = (columns[3] * worth).sum()
    names = ("pooled", "pooled_without_age", "static_table")
    return {
        f"open_{name}": np.array([(column * worth).sum(), true]) for name, column in zip(names, columns, strict=False)
    } | {f"brier_{name}": ((column - columns[3]) ** 2).mean() for name, column in zip(names, columns, strict=False)}
