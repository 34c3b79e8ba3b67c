"""What clicks say of ads is the same however they are cut and ordered."""

from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from processors.matching.evidence import MISSING, addresses_of, hash_text
from processors.totals.clicks import FIELDS, AccountClicks
from processors.totals.homes import HOUSEHOLD_CLICKS

TEXTS = {name: pa.string() for name in FIELDS if name != "event_time"}
SCHEMA = pa.schema([*TEXTS.items(), ("event_time", pa.timestamp("ms", "UTC"))])


def clicks(rows: list[dict[str, Any]]) -> pa.RecordBatch:
    return pa.RecordBatch.from_pylist([dict.fromkeys(FIELDS) | row for row in rows], SCHEMA)


def seen(batches: list[pa.RecordBatch], addresses: np.ndarray) -> AccountClicks:
    found = AccountClicks(addresses)
    for batch in batches:
        found.add(batch)
    return found


some_clicks = st.lists(
    st.fixed_dictionaries(
        {
            "ad_id": st.sampled_from([None, "a", "b"]),
            "ad_account_id": st.sampled_from([None, "one", "two"]),
            "campaign_id": st.sampled_from([None, "x", "y"]),
            "email_sha256": st.sampled_from([None, "e"]),
            "phone_sha256": st.sampled_from([None, "p"]),
            "ip": st.sampled_from([None, "192.0.2.1", "2001:db8::1", "2001:db8::2"]),
            "event_time": st.integers(0, 4).map(lambda ms: datetime.fromtimestamp(ms / 1000, UTC)),
        }
    ),
    min_size=1,
    max_size=30,
)


@given(rows=some_clicks, data=st.data())
def test_any_split_and_order_says_the_same(rows: list[dict[str, Any]], data: st.DataObject) -> None:
    whole = clicks(rows)
    addresses = addresses_of(whole)
    one = seen([whole], addresses)
    shuffled = data.draw(st.permutations(rows))
    cut = data.draw(st.integers(0, len(rows)))
    other = seen([clicks(shuffled[:cut]), clicks(shuffled[cut:])], addresses)
    assert one.state == other.state
    assert (one.ad_accounts, one.campaigns) == (other.ad_accounts, other.campaigns)
    assert one.homes.tolist() == other.homes.tolist()
    assert one.campaigns.keys() == {row["ad_id"] or "" for row in rows}
    assert one.ad_accounts.keys() == {row["ad_id"] or "" for row in rows if row["ad_account_id"]}
    logged_in = sum(bool(row["email_sha256"] or row["phone_sha256"]) for row in rows)
    assert sum(counts.tolist()[1] for counts in one.state.clicks.values()) == logged_in


def test_an_ad_is_where_its_last_click_says_that_says_it() -> None:
    at = [datetime.fromtimestamp(second, UTC) for second in (1, 2)]
    found = seen(
        [
            clicks([{"ad_id": "a", "campaign_id": "new", "event_time": at[1]}, {"ad_id": "b", "event_time": at[0]}]),
            clicks([{"ad_id": "a", "campaign_id": "old", "ad_account_id": "act", "event_time": at[0]}]),
        ],
        np.zeros(0, np.uint64),
    )
    assert (found.ad_accounts, found.campaigns) == ({"a": "act"}, {"a": "new", "b": ""})


def test_ads_have_their_names_and_addresses_of_few_clicks_are_homes() -> None:
    crowd = [{"ip": "192.0.2.1", "ad_id": "a"}] * (HOUSEHOLD_CLICKS + 1)
    home = [{"ip": "2001:db8::1", "ad_id": "b"}] * HOUSEHOLD_CLICKS
    batch = clicks([{**row, "event_time": datetime.fromtimestamp(0, UTC)} for row in crowd + home])
    found = seen([batch], addresses_of(batch))
    assert found.homes.tolist() == addresses_of(batch)[-1:].tolist()
    names = found.names(np.array([hash_text("b"), MISSING, hash_text("a"), hash_text("b")], np.uint64))
    assert names.ad_ids.take(pa.array(names.ads)).to_pylist() == ["b", "", "a", "b"]
