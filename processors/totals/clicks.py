"""What all clicks of an account say of its ads, gathered as they pass."""

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from processors.matching.evidence import Hashes, addresses_of, hash_text
from processors.totals.contributions import click_contributions
from processors.totals.homes import Homes
from processors.totals.observe import ClickNames
from processors.totals.state import State

__all__ = ["FIELDS", "AccountClicks"]

#: Of a click: an identifier of the person.
PERSON_FIELDS = ("email_sha256", "phone_sha256", "external_id_sha256")
#: And where its ad belongs.
PLACES = ("ad_account_id", "campaign_id")
#: Fields of the contract that are looked at.
FIELDS = ("ad_id", *PLACES, *PERSON_FIELDS, "event_time", "ip")


class AccountClicks:
    """Clicks by ad, where each ad belongs, and which of some addresses are homes.

    state: sums of the clicks.
    """

    def __init__(self, addresses: Hashes) -> None:
        """`addresses` are those of the clicks that matter to the account's conversions."""
        self.state = State()
        #: By field and ad: when a click named it last, milliseconds, and what it named.
        self._places: dict[str, dict[str, tuple[int, str]]] = {name: {} for name in PLACES}
        self._homes = Homes(addresses)

    def add(self, clicks: pa.RecordBatch) -> None:
        """Look at clicks of the account, which have FIELDS."""
        known = [pc.is_valid(clicks.column(name)).to_numpy(zero_copy_only=False) for name in PERSON_FIELDS]
        self.state = self.state.plus(click_contributions(clicks.column("ad_id"), np.logical_or.reduce(known)))
        self._homes.add(addresses_of(clicks))
        for name, places in self._places.items():
            for ad_id, place in _named(clicks, name):
                places[ad_id] = max(place, places.get(ad_id, place))

    @property
    def ad_accounts(self) -> dict[str, str]:
        """The ad account of each ad that is named with one, by its last click that does."""
        return {ad_id: name for ad_id, (_, name) in self._places["ad_account_id"].items()}

    @property
    def campaigns(self) -> dict[str, str]:
        """The same of campaigns, for every ad: empty where it is named with none."""
        return {ad_id: self._places["campaign_id"].get(ad_id, (0, ""))[1] for ad_id in self.state.clicks}

    @property
    def homes(self) -> Hashes:
        """The homes among the addresses, ascending."""
        return self._homes.found()

    def names(self, ads: Hashes) -> ClickNames:
        """The names of ads that clicks have by hash; shape (clicks,)."""
        hashes, numbers = np.unique(ads, return_inverse=True)
        known = {hash_text(ad_id): ad_id for ad_id in self.state.clicks if ad_id}
        return ClickNames(pa.array([known.get(int(value), "") for value in hashes], pa.string()), numbers)


def _named(clicks: pa.RecordBatch, name: str) -> Iterator[tuple[str, tuple[int, str]]]:
    """Every ad with what its clicks have in a field, each value once, at its last click."""
    columns = [
        pc.fill_null(clicks.column("ad_id"), ""),
        clicks.column(name),
        clicks.column("event_time").cast(pa.int64()),
    ]
    table = pa.table(columns, ["ad_id", name, "event_ms"]).drop_null()
    for row in table.group_by(["ad_id", name]).aggregate([("event_ms", "max")]).to_pylist():
        yield row["ad_id"], (row["event_ms_max"], row[name])
