"""What all clicks of an account say of its ads, gathered as they pass."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from processors.matching.evidence import Hashes, addresses_of, hash_text
from processors.totals.contributions import click_contributions
from processors.totals.homes import Homes
from processors.totals.observe import ClickNames
from processors.totals.state import State

__all__ = ["FIELDS", "AccountClicks", "AdPlace"]

#: Of a click: an identifier of the person.
PERSON_FIELDS = ("email_sha256", "phone_sha256", "external_id_sha256")
AD_FIELDS = ("ad_id", "ad_account_id", "campaign_id")
#: Fields of the contract that are looked at.
FIELDS = (*AD_FIELDS, *PERSON_FIELDS, "event_time", "ip")


class AdPlace(NamedTuple):
    """Where an ad belongs, by its last click, milliseconds; empty where that does not say."""

    event_ms: int
    ad_account_id: str
    campaign_id: str


class AccountClicks:
    """Clicks by ad, where each ad belongs, and which of some addresses are homes.

    state: sums of the clicks. ads: by id, the empty one for clicks on no known ad.
    """

    def __init__(self, addresses: Hashes) -> None:
        """`addresses` are those of the clicks that matter to the account's conversions."""
        self.state = State()
        self.ads: dict[str, AdPlace] = {}
        self._homes = Homes(addresses)

    def add(self, clicks: pa.RecordBatch) -> None:
        """Look at clicks of the account, which have FIELDS."""
        known = [pc.is_valid(clicks.column(name)).to_numpy(zero_copy_only=False) for name in PERSON_FIELDS]
        self.state = self.state.plus(click_contributions(clicks.column("ad_id"), np.logical_or.reduce(known)))
        self._homes.add(addresses_of(clicks))
        for ad_id, place in _places(clicks):
            self.ads[ad_id] = max(place, self.ads.get(ad_id, place))

    @property
    def homes(self) -> Hashes:
        """The homes among the addresses, ascending."""
        return self._homes.found()

    def names(self, ads: Hashes) -> ClickNames:
        """The names of ads that clicks have by hash; shape (clicks,)."""
        hashes, numbers = np.unique(ads, return_inverse=True)
        known = {hash_text(ad_id): ad_id for ad_id in self.ads if ad_id}
        return ClickNames(pa.array([known.get(int(value), "") for value in hashes], pa.string()), numbers)


def _places(clicks: pa.RecordBatch) -> Iterator[tuple[str, AdPlace]]:
    """Every ad with the places its clicks name, each once, at its last click."""
    columns = [pc.fill_null(clicks.column(name), "") for name in AD_FIELDS]
    table = pa.table([*columns, clicks.column("event_time").cast(pa.int64())], [*AD_FIELDS, "event_ms"])
    for row in table.group_by(list(AD_FIELDS)).aggregate([("event_ms", "max")]).to_pylist():
        yield row["ad_id"], AdPlace(row["event_ms_max"], row["ad_account_id"], row["campaign_id"])
