"""A state as arrays by ad: conversions as real numbers, with a column for the sums and one for each replicate."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from processors.totals.observations import CLASSES
from processors.totals.state import AD_SUMS, MICRO, Account, Ad, Clicks, State

__all__ = ["Sums", "sums_of"]

Floats = npt.NDArray[np.float64]


class Sums(NamedTuple):
    """Conversions by ad, shape (ads, replicates); `evidence` by device class, shape (classes, ads, replicates).

    ad_ids: the ads, in order. clicks: of each, and logged_in: share of them that carry an identifier, shape (ads,).
    account: shape (ACCOUNT_SUMS, replicates). The others are as in Ad.
    """

    ad_ids: tuple[str, ...]
    click: Floats
    blind: Floats
    blind_right: Floats
    blind_wrong: Floats
    person: Floats
    squared: Floats
    evidence: Floats
    clicks: Floats
    logged_in: Floats
    account: Floats

    def classes(self, first: Account) -> Floats:
        """The account's sums by device class, from the first of them on; shape (classes, replicates)."""
        return self.account[first : first + len(CLASSES)]


def sums_of(state: State) -> Sums:
    """The arrays of a state, ads in the order of their ids."""
    ad_ids = tuple(sorted(state.ads))
    width = state.account.shape[1]
    ads = np.stack([state.ads[ad_id] for ad_id in ad_ids]) if ad_ids else np.zeros((0, AD_SUMS, width))
    columns = ads.transpose(1, 0, 2) / MICRO
    clicks = np.array([state.clicks.get(ad_id, (0, 0)) for ad_id in ad_ids], np.float64).reshape(-1, len(Clicks))
    usual = clicks[:, Clicks.LOGGED_IN].sum() / max(float(clicks[:, Clicks.ALL].sum()), 1.0)
    own = clicks[:, Clicks.LOGGED_IN] / np.maximum(clicks[:, Clicks.ALL], 1)
    return Sums(
        ad_ids=ad_ids,
        click=columns[Ad.CLICK],
        blind=columns[Ad.BLIND],
        blind_right=columns[Ad.BLIND_RIGHT],
        blind_wrong=columns[Ad.BLIND_WRONG],
        person=columns[Ad.PERSON],
        squared=columns[Ad.SQUARED],
        evidence=columns[Ad.EVIDENCE :],
        clicks=clicks[:, Clicks.ALL],
        logged_in=np.where(clicks[:, Clicks.ALL] > 0, own, usual),
        account=state.account / MICRO,
    )
