"""Observations of a few conversions: any there can be, and rows by hand."""

from typing import Any

import pyarrow as pa
from hypothesis import strategies as st

from processors.totals.observations import CLASSES, OBSERVATIONS

ADS = ("", "ad-a", "ad-b", "ad-c")
Row = dict[str, Any]


def table(rows: list[Row]) -> pa.Table:
    empty = {"value_micros": None, "click": None, "person": [], "evidence": [], "unreached": 0.0}
    empty |= {"knock_out": None, "placebo": None}
    return pa.Table.from_pylist([{"account_id": "t", **empty, **row} for row in rows], schema=OBSERVATIONS)


def clicked(ad_id: str, day: int = 20_000, **more: Any) -> Row:
    return {"ad_id": ad_id, "day": day, **more}


def share(ad_id: str, part: float, **more: Any) -> Row:
    return clicked(ad_id, share=part, device=0, **more)


def _shares(reached: bool) -> st.SearchStrategy[list[Row]]:
    one = {"ad_id": st.sampled_from(ADS), "day": st.integers(20_000, 20_002)}
    one |= {"share": st.floats(0.001, 1), "device": st.integers(0, len(CLASSES) - 1)}
    if reached:
        one["reached"] = st.booleans()
    return st.lists(st.fixed_dictionaries(one), max_size=4)


def _scaled(shares: list[Row], to: float) -> list[Row]:
    total = sum(item["share"] for item in shares)
    return [{**item, "share": item["share"] * to / total} for item in shares]


@st.composite
def rows(draw: st.DrawFn, conversion_id: str) -> Row:
    asked = draw(st.booleans())
    mass, unreached = draw(st.floats(0, 0.9)), draw(st.floats(0, 0.1))
    return {
        "conversion_id": conversion_id,
        "value_micros": draw(st.none() | st.integers(-(10**12), 10**12)),
        "click": draw(st.none() | st.builds(clicked, st.sampled_from(ADS), st.integers(20_000, 20_002))),
        "person": _scaled(draw(_shares(reached=True)), 1.0),
        "evidence": _scaled(draw(_shares(reached=False)), mass) if asked else None,
        "unreached": unreached if asked else None,
        "knock_out": draw(st.none() | st.floats(0, 1)),
        "placebo": draw(st.none() | st.floats(0, 1)),
    }


@st.composite
def some_rows(draw: st.DrawFn, most: int = 12) -> list[Row]:
    return [draw(rows(f"c{number}")) for number in range(draw(st.integers(0, most)))]
