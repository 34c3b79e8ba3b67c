import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from processors.matching.draw import Draw
from tests.processors.matching.events import evidence

RECORDS = st.lists(st.tuples(st.integers(1, 30), st.integers(0, 3), st.integers(0, 99)), max_size=80)


@given(records=RECORDS, most=st.integers(1, 20), cuts=st.lists(st.integers(0, 80), max_size=4))
def test_the_smallest_hashes_and_the_last_versions_are_drawn(
    records: list[tuple[int, int, int]], most: int, cuts: list[int]
) -> None:
    """However the records are cut."""
    draw = Draw(most)
    template = evidence({"at_h": 0})
    for start, end in zip(edges := sorted({0, len(records), *cuts}), edges[1:], strict=False):
        part = records[start:end]
        ids = np.array([number for number, _, _ in part], np.uint64)
        versions = np.array([[version for _, version, _ in part], [ms for _, _, ms in part]], np.int64)
        rows = template.rows(np.zeros(len(part), np.int64))._replace(event_ms=versions[0] * 100 + versions[1])
        draw.add(ids, versions, rows)
    expected: dict[int, int] = {}
    for number, version, ms in records:
        expected[number] = max(expected.get(number, -1), version * 100 + ms)
    drawn = draw.drawn()
    assert (drawn is None) == (not records)
    if drawn is not None:
        assert drawn.event_ms.tolist() == [expected[number] for number in sorted(expected)[:most]]
