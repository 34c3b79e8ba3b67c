"""Sums forget in which order, in which batches and by way of which versions they were reached."""

import random

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from processors.totals.contributions import click_contributions, contributions
from processors.totals.observations import by_account
from processors.totals.state import MICRO, Account, Ad, Clicks, Day, State
from tests.processors.totals.observed import Row, clicked, rows, share, some_rows, table


@given(found=some_rows(), seed=st.integers(0, 99), batches=st.integers(1, 4))
@settings(max_examples=40, deadline=None)
def test_any_order_and_split_of_conversions_gives_the_same_state(found: list[Row], seed: int, batches: int) -> None:
    shuffled = random.Random(seed).sample(found, len(found))
    state = State()
    for number in range(batches):
        state = state.plus(contributions(table(shuffled[number::batches])))
    assert state == contributions(table(found))


@given(found=some_rows(6), versions=st.lists(st.tuples(st.integers(0, 5), st.data()), max_size=5), data=st.data())
@settings(max_examples=40, deadline=None)
def test_a_newer_version_takes_the_place_of_the_older(found: list[Row], versions, data) -> None:
    state, newest = State(), {}
    for row in [*found, *(data.draw(rows(f"c{number}")) for number, _ in versions)]:
        older = newest.get(row["conversion_id"])
        if older:
            state = state.minus(contributions(table([older])))
        state = state.plus(contributions(table([row])))
        newest[row["conversion_id"]] = row
    assert state == contributions(table(list(newest.values())))


@given(found=some_rows())
@settings(max_examples=40, deadline=None)
def test_what_is_taken_out_again_leaves_nothing(found: list[Row]) -> None:
    state = contributions(table(found))
    assert state.minus(state) == State()
    assert not state.minus(state).ads


def test_each_system_counts_where_the_stronger_ones_are_silent() -> None:
    by_click = {"conversion_id": "1", "click": clicked("a"), "value_micros": 10}
    also_by_person = {**by_click, "conversion_id": "2"} | {
        "person": [share("a", 0.75, reached=True), share("b", 0.25, reached=False)],
        "evidence": [share("a", 0.5)],
    }
    by_person = {"conversion_id": "3", "person": [share("b", 1.0, reached=True)], "evidence": [share("b", 0.5)]}
    by_evidence = {"conversion_id": "4", "evidence": [share("a", 0.5), share("b", 0.25)], "value_micros": 4}
    state = contributions(table([by_click, also_by_person, by_person, by_evidence]))
    a, b = state.ads["a"][:, 0] / MICRO, state.ads["b"][:, 0] / MICRO
    assert [a[Ad.CLICK], a[Ad.BLIND], a[Ad.BLIND_RIGHT], a[Ad.PERSON], a[Ad.EVIDENCE]] == [2, 1, 0.75, 0, 0.5]
    assert [b[Ad.CLICK], b[Ad.BLIND_WRONG], b[Ad.PERSON], b[Ad.EVIDENCE]] == [0, 0.25, 1, 0.25]
    account = state.account[:, 0] / MICRO
    assert [account[Account.ALL], account[Account.OPEN], account[Account.OPEN_MASS]] == [4, 1, 0.75]
    withheld = account[[Account.WITHHELD, Account.WITHHELD_MASS, Account.WITHHELD_RIGHT, Account.ASKED]]
    assert withheld.tolist() == [1, 0.5, 0.5, 1]
    assert account[Account.REACHED] == 1
    days = state.days["a", 20_000]
    assert [days[Day.DETERMINISTIC], days[Day.DETERMINISTIC_VALUE]] == [2 * MICRO, 20]
    assert [days[Day.EVIDENCE], days[Day.EVIDENCE_VALUE]] == [MICRO // 2, 2]


def test_evidence_is_sure_before_after_and_without_the_household() -> None:
    sure, unsure = {"evidence": [share("a", 0.5), share("b", 0.4)]}, {"evidence": [share("a", 0.5)]}
    rows_ = [
        {"conversion_id": "1", **sure},
        {"conversion_id": "2", **sure, "placebo": 0.9},
        {"conversion_id": "3", **unsure, "placebo": 0.1},
        {"conversion_id": "4", **sure, "person": [share("a", 1.0, reached=True)], "placebo": 0.1, "knock_out": 0.85},
        {"conversion_id": "5", "click": clicked("a"), "evidence": None, "knock_out": 0.2},
    ]
    account = contributions(table(rows_)).account[:, 0] / MICRO
    assert account[[Account.OPEN, Account.OPEN_SURE, Account.OPEN_PLACEBO]].tolist() == [3, 2, 2]
    assert account[[Account.OPEN_BEFORE, Account.OPEN_AFTER]].tolist() == [1, 1]
    assert account[[Account.WITHHELD_SURE, Account.WITHHELD_BEFORE, Account.WITHHELD_AFTER]].tolist() == [1, 1, 0]
    assert account[[Account.KNOCKED_OUT, Account.KNOCKED_OUT_SURE]].tolist() == [2, 1]


def test_a_persons_shares_are_one_conversion_to_the_millionth() -> None:
    thirds = [share(ad, 1 / 3, reached=True) for ad in ("a", "b", "c")]
    state = contributions(table([{"conversion_id": "1", "person": thirds}]))
    assert sum(int(sums[Ad.PERSON, 0]) for sums in state.ads.values()) == MICRO


def test_replicates_count_a_conversion_as_often_as_their_weight_says() -> None:
    state = contributions(table([{"conversion_id": f"c{n}", "click": clicked("a")} for n in range(2_000)]))
    counted = state.ads["a"][Ad.CLICK] / MICRO
    assert counted[0] == 2_000
    # Poisson with mean 2,000, 64 times.
    assert abs(counted[1:].mean() - 2_000) < 5 * (2_000 / 64) ** 0.5
    assert 0.7 < counted[1:].std() / 2_000**0.5 < 1.3


def test_clicks_are_counted_with_and_without_identifier() -> None:
    found = click_contributions(pa.array(["a", "b", "a", None]), pa.array([1, 0, 0, 1]).to_numpy() > 0)
    assert found.clicks["a"].tolist() == [2, 1]
    assert found.clicks[""][Clicks.LOGGED_IN] == 1


def test_accounts_stay_apart() -> None:
    rows_ = [{"conversion_id": "1", "account_id": "b"}, {"conversion_id": "1", "account_id": "a"}]
    assert [(account, part.num_rows) for account, part in by_account(table(rows_))] == [("a", 1), ("b", 1)]
