"""Pipeline value as entries of whole micros, which add up to what each deal is worth now.

An entry is the difference to what was entered of the deal before, so that nothing has to be known of how a deal came
to be worth what it was: a deal that is lost takes out exactly what it had brought, whatever stages it skipped, came
back to or was revalued in; a deal that is won ends at its amount.
"""

from collections.abc import Mapping
from typing import NamedTuple

from processors.pipeline_value.histories import LOST, WON, Deal
from processors.pipeline_value.values import StageValues

__all__ = ["Entry", "Held", "entries", "worth"]


class Held(NamedTuple):
    """What was entered of a deal so far, micros, and the version of the deal it was entered for."""

    version: int
    micros: int


class Entry(NamedTuple):
    """A change of a deal's value, micros, and what is held of it then."""

    deal_id: str
    change_micros: int
    held: Held


def worth(deal: Deal, values: StageValues, now_ms: int) -> int:
    """What a deal is worth at `now_ms`, micros: nothing where it is lost, its amount where it is won.

    A deal that is won for an unknown amount is worth what deals are won for; one in no stage nothing.
    """
    if deal.outcome == LOST or not (deal.entered or deal.outcome == WON):
        return 0
    if deal.outcome == WON:
        return values.deal_micros if deal.amount_micros is None else deal.amount_micros
    stage, entered_ms = deal.entered[-1]
    return values.micros(stage, now_ms - entered_ms)


def entries(
    held: Mapping[str, Held], deals: Mapping[str, tuple[int, Deal]], values: StageValues, now_ms: int
) -> list[Entry]:
    """What has to be entered so that the deals given are held at their worth; those of older versions are passed over.

    deals: by deal id, a version that grows with what is known of the deal, and the deal.
    """
    found = []
    for deal_id, (version, deal) in deals.items():
        before = held.get(deal_id, Held(-1, 0))
        if version < before.version:
            continue
        now = Held(version, worth(deal, values, now_ms))
        if now != before:
            found.append(Entry(deal_id, now.micros - before.micros, now))
    return found
