import numpy as np

from processors.matching.candidates import MAX_CANDIDATES, ClickIndex, Pairs
from processors.matching.tally import DEVICES_AN_ADDRESS, DEVICES_AN_ADDRESS_DAY
from tests.processors.matching.events import click, evidence

OTHER = {"user_agent": "Mozilla/5.0 (Windows NT 10.0) Chrome/138.0.0.0", "screen_width": 1920, "language": "de-DE"}
FAR = {"ip": "198.51.100.9"}


def found(clicks: list[dict], conversion: dict, after: bool = False) -> list[int]:
    index = ClickIndex(evidence(*clicks))
    pairs: Pairs = (index.placebos if after else index.candidates)(evidence(conversion))
    return pairs.click.tolist()


def test_only_clicks_of_the_thirty_days_before_are_candidates() -> None:
    clicks = [click(1, 0), click(2, 700), click(3, 760)]
    assert found(clicks, {"at_h": 740}) == [1]
    assert found(clicks, {"at_h": 720}) == [1, 0]
    assert found(clicks, {"at_h": 740}, after=True) == [2]


def test_an_address_or_a_device_is_enough_and_nothing_is_nothing() -> None:
    assert found([click(1, 0)], {"at_h": 1, **OTHER}) == [0]
    assert found([click(1, 0)], {"at_h": 1, **FAR}) == [0]
    assert found([click(1, 0)], {"at_h": 1, **OTHER, **FAR}) == []
    assert found([click(1, 0, ip=None, user_agent=None)], {"at_h": 1, "ip": None, "user_agent": None}) == []


def test_sites_do_not_mix() -> None:
    clicks = [click(1, 0, page="https://one.example/a"), click(2, 0, page="https://two.example/a")]
    assert found(clicks, {"at_h": 1, "page": "https://www.two.example/thanks"}) == [1]


def test_an_address_of_too_many_devices_on_a_day_says_nothing_by_itself() -> None:
    crowd = [click(n, n / 100) for n in range(DEVICES_AN_ADDRESS_DAY)]
    assert len(found(crowd, {"at_h": 2, **OTHER})) == MAX_CANDIDATES
    one_more = [*crowd, click(99, 0.5)]
    assert found(one_more, {"at_h": 2, **OTHER}) == []
    assert found(one_more, {"at_h": 2}), "with the device it still does"


def test_an_address_of_too_many_devices_in_the_window_says_nothing_by_itself() -> None:
    crowd = [click(n, 24 * (n % 20) + 1) for n in range(DEVICES_AN_ADDRESS)]
    assert found(crowd, {"at_h": 600, **OTHER})
    assert found([*crowd, click(999, 3)], {"at_h": 600, **OTHER}) == []


def test_many_clicks_of_one_device_are_no_crowd() -> None:
    clicks = [click(n, n / 100, visitor_id="v") for n in range(DEVICES_AN_ADDRESS + 1)]
    assert len(found(clicks, {"at_h": 2, **OTHER})) == MAX_CANDIDATES


def test_the_strongest_evidence_and_then_the_nearest_is_kept() -> None:
    strong = [click(n, n / 100) for n in range(3)]
    weak = [click(10 + n, 1 + n / 100, **OTHER) for n in range(25)]
    assert found([*strong, *weak], {"at_h": 2})[:3] == [2, 1, 0]


def test_counts_are_of_values() -> None:
    clicks = [click(1, 0), click(2, 1, **FAR), click(3, 2, **OTHER)]
    counts = ClickIndex(evidence(*clicks)).counts(evidence({"at_h": 3}, {"at_h": 3, "ip": "203.0.113.1", **OTHER}))
    assert counts.ip.tolist() == [2, 0]
    assert counts.fingerprint.tolist() == [2, 1]


def test_no_clicks_and_no_conversions() -> None:
    index = ClickIndex(evidence())
    assert index.candidates(evidence({"at_h": 0})).click.tolist() == []
    assert index.counts(evidence({"at_h": 0})).ip.tolist() == [0]
    assert np.shape(ClickIndex(evidence(click(1, 0))).candidates(evidence()).click) == (0,)
