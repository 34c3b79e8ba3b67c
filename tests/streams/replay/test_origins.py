import numpy as np
import pytest

from schemas.errors import BadRecord
from schemas.retries import Origin, to_headers
from streams.replay.origins import by_origin

TOPICS = ("eu.clicks", "eu.conversions")


def origin(topic: str, offset: int) -> Origin:
    return Origin(topic, f"id-of-{topic[3:8]}", offset % 4, offset, 1_750_000_000_000 + offset, 2)


def test_a_chunk_is_sorted_by_origin_and_keeps_its_positions() -> None:
    origins = [
        origin("eu.conversions", 9),
        origin("eu.clicks", 7),
        origin("eu.conversions", 4),
        origin("eu.clicks", 7),
    ]
    groups, bad = by_origin([[("own", b"x"), *to_headers(item)] for item in origins], TOPICS)
    assert bad == []
    assert {group.topic: (group.rows.tolist(), list(group.origins)) for group in groups} == {
        "eu.conversions": ([0, 2], [origins[0], origins[2]]),
        "eu.clicks": ([1, 3], [origins[1], origins[3]]),
    }
    conversions = next(group for group in groups if group.topic == "eu.conversions")
    np.testing.assert_array_equal(conversions.partitions, [1, 0])
    np.testing.assert_array_equal(conversions.offsets, [9, 4])
    np.testing.assert_array_equal(conversions.ingest_ms, [1_750_000_000_009, 1_750_000_000_004])
    assert conversions.partitions.dtype == np.int32


def test_bad_records_of_a_group_are_found_in_the_chunk() -> None:
    groups, _ = by_origin([to_headers(origin("eu.clicks", n)) if n % 2 else [] for n in range(6)], TOPICS)
    moved = groups[0].in_chunk([BadRecord(2, "undecodable", "m", 9, "acme")])
    assert moved == [BadRecord(5, "undecodable", "m", 9, "acme")]


@pytest.mark.parametrize(
    ("headers", "message"),
    [
        ([], "without the headers spendloop-origin-topic, "),
        (to_headers(origin("eu.clicks", 1))[:-1], "without the headers spendloop-attempt"),
        (to_headers(origin("us.clicks", 1)), "not one that this role reads"),
        (to_headers(origin("eu.loader.retry", 1)), "not one that this role reads"),
    ],
)
def test_what_is_no_retry_of_this_role_is_bad(headers: list, message: str) -> None:
    good = to_headers(origin("eu.clicks", 3))
    groups, [bad] = by_origin([good, headers, good], TOPICS)
    assert (bad.row, bad.error) == (1, "not_a_retry")
    assert message in bad.message
    assert [group.rows.tolist() for group in groups] == [[0, 2]]


def test_nothing() -> None:
    assert by_origin([], TOPICS) == ([], [])
