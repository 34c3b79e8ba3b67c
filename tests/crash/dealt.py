"""Matches of deals, against the definition."""

from collections import Counter

from sinks.redis.attribution_store import ROLE
from streams.replay.letters import Letters
from streams.settings import Settings
from tests.crash.attributed import decode, greatest, say_what_differs
from tests.crash.load import Journeys
from tests.crash.outcome import Found

__all__ = ["compare", "ending_outdated"]

OUTPUT = "deal-matches"


def compare(settings: Settings, journeys: Journeys, *, has_forgotten: bool = False) -> Found:
    """Of each deal the greatest version, which has to be its last record, too: compaction keeps that.

    An event published twice is two; `has_forgotten` as for conversions.
    """
    batches = (batch for batch, _ in decode(settings, "crm-events"))
    events = Counter(name for batch in batches for name in batch.column("deal_id").to_pylist())
    found = Found(sent=events.total())
    with Letters(settings, ROLE) as letters:
        found.dead_lettered = letters.index().num_rows
    wanted = journeys.deals()
    got = greatest(settings, OUTPUT, "deal_id", found, has_forgotten)
    for deal_id in wanted.keys() - got.keys():
        found.lacks(f"deal {deal_id}")
    for deal_id in got.keys() - wanted.keys():
        found.exceeds(f"deal {deal_id}")
    for deal_id in wanted.keys() & got.keys():
        if wanted[deal_id] == got[deal_id]:
            found.found += events[deal_id]
        else:
            say_what_differs(deal_id, wanted[deal_id], got[deal_id], found)
    for deal_id, (last, greatest_version) in ending_outdated(settings).items():
        found.exceeds(f"the last record of {deal_id} is of version {last}, not {greatest_version}")
    return found


def ending_outdated(settings: Settings) -> dict[str, tuple[int, int]]:
    """The deals whose last record is not of the greatest version, with both versions."""
    last: dict[str, int] = {}
    most: dict[str, int] = {}
    for batch, _ in decode(settings, OUTPUT):
        columns = (batch.column(name).to_pylist() for name in ("deal_id", "facts_held"))
        for deal_id, facts_held in zip(*columns, strict=True):
            last[deal_id] = facts_held
            most[deal_id] = max(facts_held, most.get(deal_id, 0))
    return {deal_id: (last[deal_id], most[deal_id]) for deal_id in last if last[deal_id] < most[deal_id]}
