"""The world has the marginals its parameters name, and its tables are of the contract."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from processors.simulation.parameters import WORLDS, World, WorldError, parse_world, vary
from processors.simulation.tables import Tables, tables_of
from processors.simulation.world import Market, simulate
from schemas.definitions import arrow_schema, definition

SMALL = World().scaled(0.05)


@pytest.fixture(scope="module")
def market() -> Market:
    return simulate(SMALL, seed=3)


@pytest.fixture(scope="module")
def tables(market: Market) -> Tables:
    return tables_of(market, seed=3)


def test_the_same_number_gives_the_same_world(tables: Tables) -> None:
    again = tables_of(simulate(SMALL, seed=3), seed=3)
    assert all(one.equals(other) for one, other in zip(tables, again, strict=True))
    assert not tables_of(simulate(SMALL, seed=4), seed=4).clicks.equals(tables.clicks)


def test_there_are_as_many_of_each_as_asked_for(market: Market) -> None:
    assert len(market.clicks.day) == SMALL.clicks
    assert len(np.unique(market.clicks.person)) == SMALL.people
    assert len(np.unique(market.people.household[: SMALL.people])) == SMALL.households
    assert (market.conversions.cause >= 0).sum() == SMALL.ad_caused
    assert (market.conversions.cause < 0).sum() == SMALL.organic


def test_what_caused_a_conversion_was_its_buyers_click_at_most_so_long_before(market: Market) -> None:
    conversions, clicks = market.conversions, market.clicks
    caused = conversions.cause >= 0
    cause = conversions.cause[caused]
    assert (clicks.person[cause] == conversions.person[caused]).all()
    assert (market.ads.site[clicks.ad[cause]] == conversions.site[caused]).all()
    delay = conversions.day[caused] - clicks.day[cause]
    assert delay.min() > 0
    assert delay.max() <= SMALL.delay_max_days
    assert len(np.unique(cause)) == len(cause)


@pytest.mark.parametrize("seed", [1, 2])
def test_shares_are_those_of_the_parameters(seed: int) -> None:
    market = simulate(SMALL, seed)
    conversions, clicks, people = market.conversions, market.clicks, market.people
    caused = conversions.cause >= 0
    cause = conversions.cause[caused]
    crosses = conversions.device[caused] != clicks.device[cause]
    moved = conversions.place[caused] != clicks.place[cause]
    buyers = people.household[conversions.person[~caused]] < SMALL.households
    found = {
        "cross_device_share": crosses.mean(),
        "other_network_share": moved.mean(),
        "organic_in_clicker_households": buyers.mean(),
        "ios_share": people.devices.is_ios[people.first_device].mean(),
        "logged_in_share": clicks.logged_in.mean(),
        "carrier_share": (clicks.place == 2).mean(),
    }
    wanted = {name: np.mean(getattr(SMALL, name)) for name in found}
    assert found == pytest.approx(wanted, abs=0.06)
    delays = 24 * (conversions.day[caused] - clicks.day[cause])
    # Long delays end beyond the window more often, which brings the median down a little.
    assert 6.5 < np.median(delays) < 8.5


def test_ids_are_kept_as_often_as_published(market: Market, tables: Tables) -> None:
    caused = market.conversions.cause >= 0
    assert market.conversions.keeps_click_id[caused].mean() == pytest.approx(0.42, abs=0.04)
    known = pa.compute.or_kleene(
        pc.is_valid(tables.conversions["click_id"]), pc.is_valid(tables.conversions["fbclid"])
    ).to_numpy()
    assert (known == market.conversions.keeps_click_id).all()


def test_audiences_differ_by_ad() -> None:
    market = simulate(WORLDS["audiences"].scaled(0.2), seed=1)
    clicks, ads = market.clicks, market.ads
    is_ios = market.people.devices.is_ios[clicks.device]
    by_ad = np.bincount(clicks.ad, is_ios) / np.bincount(clicks.ad)
    assert np.corrcoef(by_ad, ads.ios)[0, 1] > 0.9
    assert (ads.ios.min(), ads.ios.max()) == (0.06, 0.72)


def test_tables_are_columns_of_the_contract(tables: Tables) -> None:
    for name, table in (("clicks", tables.clicks), ("conversions", tables.conversions)):
        schema = arrow_schema(definition(name).text)
        assert all(schema.field(field.name).type == field.type for field in table.schema)
        assert set(definition(name).required) <= set(table.column_names)
        assert table["event_time"].to_pylist() == sorted(table["event_time"].to_pylist())


def test_truth_names_the_click_and_its_ad(tables: Tables) -> None:
    truth = tables.conversion_truth
    ads = dict(zip(tables.clicks["click_id"].to_pylist(), tables.clicks["ad_id"].to_pylist(), strict=True))
    causes = truth["caused_by"].to_pylist()
    assert [ads.get(cause) for cause in causes] == truth["ad_id"].to_pylist()
    assert causes.count(None) == SMALL.organic


def test_iphones_are_alike_and_androids_are_not(market: Market, tables: Tables) -> None:
    agents = tables.clicks["user_agent"].combine_chunks()
    is_iphone = pc.match_substring(agents, "iPhone").to_numpy(zero_copy_only=False)
    assert pc.count_distinct(agents.filter(pa.array(is_iphone))).as_py() < 20
    assert pc.count_distinct(agents.filter(pa.array(~is_iphone))).as_py() > 2_000


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"carrier_share": 1.2}, "carrier_share"),
        ({"ios_share": (0.5, 0.1)}, "the lower end comes first"),
        ({"people": 300_000}, "cannot all click"),
        ({"carrier_share": 0.7, "office_share": 0.5}, "more than 1"),
        ({"ad_caused": 150_000}, "at most half"),
    ],
)
def test_a_world_that_cannot_be_says_why(changes: dict[str, object], message: str) -> None:
    with pytest.raises(WorldError, match=message):
        vary(World(), changes)


@pytest.mark.parametrize(
    ("text", "message"), [("ads = [", "not TOML"), ('world = "mars"', "'mars' is none of"), ("adz = 3", "adz")]
)
def test_parameters_that_are_wrong_are_named(text: str, message: str) -> None:
    with pytest.raises(WorldError, match=message):
        parse_world(text)
