"""The package `mta`, which has models of its own."""

from collections.abc import Iterable

import pandas as pd
from mta.mta import MTA

from tests.processors.credit.journeys import Journeys


def attribution_by_mta(
    found: Iterable[Journeys], model: str, *, allow_loops: bool = True, **options: object
) -> dict[str, float]:
    """Conversions by channel, as one of its methods has them; with loops, paths are taken as they are."""
    fitted = _fitted(found, allow_loops=allow_loops)
    getattr(fitted, model)(normalize=False, **options)
    [credit] = fitted.attribution.values()
    return {channel: float(conversions) for channel, conversions in credit.items()}


def conversion_rate_by_mta(found: Iterable[Journeys]) -> float:
    """How often its chain converts."""
    fitted = _fitted(found, allow_loops=True)
    return float(fitted.prob_convert(fitted.transition_matrix()))


def _fitted(found: Iterable[Journeys], *, allow_loops: bool) -> MTA:
    rows = [(" > ".join(item.path), item.conversions, item.nulls) for item in found]
    data = pd.DataFrame(rows, columns=["path", "total_conversions", "total_null"])
    return MTA(data=data, allow_loops=allow_loops, add_timepoints=False)
