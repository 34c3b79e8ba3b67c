"""What a store of traces finds is what is found in memory."""

import random
import struct
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from processors.matching.candidates import COUNTLESS, ClickIndex
from processors.matching.evidence import Evidence
from processors.matching.tally import DEVICES_AN_ADDRESS_DAY
from processors.matching.traces import FoundClicks, find_clicks, keys_of, traces_of
from schemas.facts import TRACE_BYTES
from tests.processors.matching.events import START_MS, click, evidence

OTHER = {"user_agent": "Mozilla/5.0 (Windows NT 10.0) Chrome/138.0.0.0", "screen_width": 1920, "language": "de-DE"}
FAR = {"ip": "198.51.100.9"}
NEAR = {"ip": "192.0.2.99"}
CLICKS = st.lists(
    st.tuples(st.integers(0, 30), st.integers(0, 700), st.sampled_from([{}, {}, OTHER, FAR, NEAR, {**FAR, **OTHER}])),
    max_size=40,
)
CONVERSIONS = st.lists(
    st.tuples(st.integers(700, 900), st.sampled_from([{}, OTHER, FAR, NEAR])), min_size=1, max_size=5
)
ALWAYS = 1 << 50


def stored(clicks: Evidence, ingest_ms: Sequence[int]) -> dict[bytes, list[bytes]]:
    """As the store keeps them: sets of traces under keys, here in the order of arrival."""
    lists: defaultdict[bytes, dict[bytes, None]] = defaultdict(dict)
    traces = traces_of(clicks, np.array(ingest_ms, np.int64))
    for keys in keys_of(clicks).values():
        for key, trace in zip(keys, traces, strict=True):
            if key:
                lists[key][struct.pack(">H", len(trace)) + trace] = None
    return {key: list(traces) for key, traces in lists.items()}


def test_a_trace_has_the_length_that_the_store_reckons_with() -> None:
    assert [len(trace) for trace in traces_of(evidence(click(1, 0)), np.array([START_MS]))] == [TRACE_BYTES]


def find(conversions: Evidence, lists: dict[bytes, list[bytes]], until_ms: int = ALWAYS) -> FoundClicks:
    held = {
        name: [[b"".join(lists.get(key, []))] if key else [] for key in keys]
        for name, keys in keys_of(conversions).items()
    }
    return find_clicks(conversions, np.full(len(conversions.event_ms), until_ms), held)


def named(found: FoundClicks) -> list[tuple[int, int]]:
    return list(zip(found.pairs.conversion.tolist(), found.click_id[found.pairs.click].tolist(), strict=True))


@example([(0, 0, {})] * 9, [(700, {})], random.Random(1))  # of more at one time than a list is read deep
@given(CLICKS, CONVERSIONS, st.randoms())
def test_it_finds_what_is_found_in_memory_in_any_order(clicks: list[Any], bought: list[Any], dice: Any) -> None:
    rows = [
        click(number, at_h, visitor_id=f"v{visitor}", **others) for number, (visitor, at_h, others) in enumerate(clicks)
    ]
    conversions = evidence(*({"at_h": at_h, **others} for at_h, others in bought))
    index = ClickIndex(evidence(*rows))
    pairs = index.candidates(conversions)
    expected = list(zip(pairs.conversion.tolist(), index.clicks.click_id[pairs.click].tolist(), strict=True))
    arrived = [*rows, *dice.sample(rows, len(rows) // 2)]
    dice.shuffle(arrived)
    found = find(conversions, stored(evidence(*arrived), [START_MS] * len(arrived)))
    assert named(found) == expected
    # In memory values are counted over all there is; here in the thirty days before.
    for row, at_ms in enumerate(conversions.event_ms.tolist()):
        recent = evidence(*(item for item in rows if START_MS + item["at_h"] * 3_600_000 >= at_ms - 30 * 86_400_000))
        counts = ClickIndex(recent).counts(conversions.rows(np.array([row])))
        assert [column[row] for column in found.counts] == [column[0] for column in counts]


def test_what_arrived_too_late_is_not_there() -> None:
    lists = stored(evidence(click(1, 0), click(2, 1)), [START_MS, START_MS + 5_000])
    conversion = evidence({"at_h": 2})
    assert len(named(find(conversion, lists, START_MS + 5_000))) == 2
    [(_, first)] = named(find(conversion, lists, START_MS + 4_999))
    assert first == evidence(click(1, 0)).click_id[0]
    assert find(conversion, lists, START_MS + 4_999).counts.ip.tolist() == [1]


def test_a_corrected_click_is_one_and_its_last_content_counts() -> None:
    lists = stored(evidence(click(1, 0), click(1, 3)), [START_MS, START_MS + 5_000])
    assert find(evidence({"at_h": 2}), lists, START_MS).counts.ip.tolist() == [1]
    assert len(named(find(evidence({"at_h": 4}), lists))) == 1


def test_a_list_that_is_too_long_says_nothing() -> None:
    conversion = evidence({"at_h": 2})
    lists = stored(evidence(click(1, 0)), [START_MS])
    held = {name: [[None]] for name in keys_of(conversion)}
    found = find_clicks(conversion, np.array([ALWAYS]), held)
    assert (named(found), found.counts.ip.tolist(), found.counts.fingerprint.tolist()) == ([], [COUNTLESS], [COUNTLESS])
    # Of another kind of list it still says something.
    [key] = keys_of(conversion)["ip_device"]
    found = find_clicks(conversion, np.array([ALWAYS]), held | {"ip_device": [[b"".join(lists[key])]]})
    assert len(named(found)) == 1


def test_a_crowded_day_says_nothing_by_itself() -> None:
    crowd = [click(number, number / 100) for number in range(DEVICES_AN_ADDRESS_DAY + 1)]
    lists = stored(evidence(*crowd), [START_MS] * len(crowd))
    assert named(find(evidence({"at_h": 2, **OTHER}), lists)) == []
    assert named(find(evidence({"at_h": 2}), lists))
