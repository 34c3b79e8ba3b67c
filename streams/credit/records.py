"""Records of `model-credit`: every model's credit of an account's channels."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from processors.credit.errors import UnusableCounts
from processors.credit.journeys import JourneyCredit, Journeys, credit_journeys
from processors.credit.markov import MAX_ORDER
from sinks.clickhouse.path_counts import Period
from streams.settings import Settings
from streams.ticks.cut import Cut

__all__ = ["Unusable", "model_credit"]

#: Name, and order of the chain, of each model.
MODELS = (*(("markov", order) for order in range(1, MAX_ORDER + 1)), ("shapley", 0))
MODEL_VERSION = "paths-1"


class Unusable(NamedTuple):
    """A model that cannot be computed of these journeys, and why."""

    model: str
    order: int
    problem: str


def model_credit(
    settings: Settings, account_id: str, event_name: str, period: Period, cut: Sequence[Cut], journeys: Journeys
) -> Iterator[dict[str, Any] | Unusable]:
    """A record for each model of an account's journeys."""
    common = {
        "account_id": account_id,
        "event_name": event_name,
        "as_of": period.until_ms,
        "epoch": 0,
        "records_read": sum(part.end_offset for part in cut),
        "cut": [part._asdict() for part in cut],
        "period_s": (period.until_ms - period.since_ms) // 1000,
        "lookback_window_s": settings.retention().lookback_of(account_id),
        "model_version": MODEL_VERSION,
        "settings": settings.fingerprint(),
        **_counts(journeys),
    }
    for model, order in MODELS:
        try:
            credit = credit_journeys(journeys, model, order, ())
        except UnusableCounts as problem:
            yield Unusable(model, order, str(problem))
        else:
            yield {**common, "model": model, "chain_order": order, **_credited(credit)}


def _counts(journeys: Journeys) -> dict[str, int]:
    counts = [counts for _, counts in journeys.counts.items()]
    return {
        "paths": len(counts),
        "conversions": sum(item.conversions for item in counts),
        "nulls": sum(item.nulls for item in counts),
    }


def _credited(credit: JourneyCredit) -> dict[str, Any]:
    return {
        "channels": [
            {"channel": channel, "conversions": conversions}
            for channel, conversions in zip(credit.channels, credit.conversions.tolist(), strict=True)
        ],
        "amounts": [
            {"currency": currency, "value_micros": micros.tolist()} for currency, micros in credit.value_micros.items()
        ],
    }
