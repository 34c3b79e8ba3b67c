"""The columns say of many conversions at once what their definition says of each."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from processors.attribution import attribute
from processors.attribution.facts import Retention
from schemas.facts import Held
from tests.processors import reference
from tests.processors.records import CLICK, CONVERSION, MemoryStore, Record, carried_by, message

LOOKBACK_S, LATENESS_S = 100, 60
RETENTION = Retention(
    LOOKBACK_S, LATENESS_S, {"b": 150}, bucket_s=40, link_reach_s=150, link_bucket_s=60, link_resolution_s=1
)
COMMON = {
    "account_id": st.sampled_from(["a", "a", "a", "b"]),
    "visitor_id": st.sampled_from(["v1", "v1", "v2", "", None, "null"]),
    "email_sha256": st.sampled_from([None, None, "a" * 64, "b" * 64]),
    "external_id_sha256": st.sampled_from([None, None, "c" * 64, "d" * 64]),
    "fbclid": st.sampled_from([None, None, "f1", "f2"]),
    "source_version": st.sampled_from([0, 0, 1]),
    "event_time": st.sampled_from([0, 1, 4, 5, 6, 9]).map(lambda step: step * 25_000),
}
CLICKS = st.fixed_dictionaries(
    {**COMMON, "click_id": st.sampled_from(["k1", "k2", "k3"]), "channel": st.sampled_from(["x", "y"])}
)
CONVERSIONS = st.fixed_dictionaries(
    {
        **COMMON,
        "conversion_id": st.sampled_from(["c1", "c1", "c2", "c3"]),
        "click_id": st.sampled_from(["k1", "k2", "", None]),
        "order_id": st.sampled_from([None, None, "o1"]),
    }
)
LATE_S = st.sampled_from([0, 0, 1, 30, 90, 200])


def records(topic: str, template: dict[str, Any], arrived: list[tuple[dict[str, Any], int]]) -> list[Record]:
    return [
        Record(offset, fields["event_time"] + late_s * 1000, message(topic, {**template, **fields}))
        for offset, (fields, late_s) in enumerate(arrived)
    ]


@st.composite
def overfull(draw: st.DrawFn, held: Held) -> Held:
    """The same where some identifiers have too many entries in some buckets."""

    def some(entries: Any) -> Any:
        return {
            name: item._replace(overfull=draw(st.sampled_from([(), (), (), (0,), (2, 5)])))
            for name, item in entries.items()
        }

    return held._replace(touchpoints=some(held.touchpoints), links=some(held.links))


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.tuples(CLICKS, LATE_S), min_size=1, max_size=8),
    st.lists(st.tuples(CONVERSIONS, LATE_S), min_size=1, max_size=6),
    st.integers(0, 400_000),
    st.data(),
)
def test_many_at_once_are_what_each_is(clicks: Any, conversions: Any, now_ms: int, data: st.DataObject) -> None:
    store = MemoryStore()
    arrived = {
        "clicks": records("clicks", CLICK, clicks),
        "conversions": records("conversions", CONVERSION, conversions),
    }
    for topic, found in arrived.items():
        held = store.add(topic, found, RETENTION)
    held = data.draw(overfull(held))
    held = held._replace(
        conversions=[item._replace(steps_cut=row % 2, settled=row) for row, item in enumerate(held.conversions)]
    )
    ids = {(item.account_id, item.conversion_id): row for row, item in enumerate(held.conversions)}
    offsets = {(fields["account_id"], fields["click_id"]): row for row, (fields, _) in enumerate(clicks)}
    links = {
        (item.account_id, item.fact): row
        for topic, found in arrived.items()
        for row, item in enumerate(carried_by(found, topic, RETENTION))
    }
    for name, arguments in {
        "arrived_conversions": (ids, now_ms),
        "changed_conversions": (offsets, links),
        "settling_conversions": (now_ms,),
    }.items():
        ours, theirs = getattr(attribute, name), getattr(reference, name)
        assert ours(held, *arguments, RETENTION) == theirs(held, *arguments, RETENTION)
