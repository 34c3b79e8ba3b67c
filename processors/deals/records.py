"""Deals as records of their matches: the clicks that led to a deal, whatever becomes of it later."""

from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from processors.attribution.attribute import (
    Origin,
    Pending,
    batch_of,
    confidence_ad,
    credited_click_id,
    lists_of,
    model_version,
    split_of,
    touchpoints_of,
    version_columns,
)
from processors.attribution.credit import CreditRules
from processors.deals.facts import deal_id_of, deal_name
from schemas.definitions import arrow_schema, definition

__all__ = ["deal_matches", "outdated"]

SCHEMA = arrow_schema(definition("deal-matches").text)


def deal_matches(pending: Sequence[Pending], origin: Origin, rules: CreditRules, epoch: int = 0) -> pa.RecordBatch:
    """A row for each of `pending`, which are deals. `epoch` is the state's."""
    touchpoints = touchpoints_of(pending, SCHEMA.field("touchpoints").type)
    columns: dict[str, Any] = {
        "account_id": [item.name[0] for item in pending],
        "deal_id": [deal_id_of(item.name[1]) for item in pending],
        "window_end_time": [item.conversion.event_ms for item in pending],
        "deal_ingest_time": [item.conversion.ingest_ms for item in pending],
        **version_columns(pending, origin, epoch),
        "layer": [item.layer for item in pending],
        "confidence_person": [None if item.layer == "none" else 1.0 for item in pending],
        "confidence_ad": [confidence_ad(item) for item in pending],
        "credited_click_id": [credited_click_id(item) for item in pending],
        "lookback_window_s": [item.lookback_s for item in pending],
        "model_version": [model_version(item) for item in pending],
        "touchpoints": touchpoints,
        "credits": _credits(touchpoints, rules),
    }
    return batch_of(columns, SCHEMA)


def outdated(deals: Sequence[Pending], matches: pa.RecordBatch) -> list[Pending]:
    """Of the deals of these matches, which are in the order of their topic, those of which more is known than the last
    one says.
    """
    names = ("account_id", "deal_id", "facts_held")
    said = {
        (account_id, deal_name(deal_id)): facts_held
        for account_id, deal_id, facts_held in zip(*(matches.column(name).to_pylist() for name in names), strict=True)
    }
    return [item for item in deals if item.facts_held > said[item.name]]


def _credits(touchpoints: pa.ListArray, rules: CreditRules) -> pa.ListArray:
    """list<struct<model, shares>>: for each deal with touchpoints one entry a model."""
    list_type = SCHEMA.field("credits").type
    split = split_of(touchpoints, rules)
    shares = lists_of(split.starts, pa.array(split.shares, pa.float64()))
    entries = pa.StructArray.from_arrays([split.names, shares], fields=list(list_type.value_type))
    return pa.ListArray.from_arrays(split.entries, entries, type=list_type)
