"""How long after a kill the work goes on."""

import math
from collections.abc import Sequence
from itertools import zip_longest

from tests.crash.crew import Kill
from tests.crash.disturbances import Outage
from tests.crash.journal import Entry

__all__ = ["seconds_to_recover"]


def seconds_to_recover(kills: Sequence[Kill | Outage], entries: Sequence[Entry]) -> list[float]:
    """Of each kill that was not followed by another before.

    Of a worker: until another process has finished a chunk of one of the partitions it had worked on. Of a server:
    until the group's commits move again after it is back.
    """
    seconds = []
    for kill, next_at in zip_longest(kills, [kill.at for kill in kills[1:]], fillvalue=math.inf):
        again_at = _worker_again(kill, entries) if isinstance(kill, Kill) else _server_again(kill, entries)
        if again_at is not None and again_at < next_at:
            seconds.append(again_at - kill.at)
    return seconds


def _worker_again(kill: Kill, entries: Sequence[Entry]) -> float | None:
    places = {entry.place for entry in entries if entry.pid == kill.pid and entry.what == "begun"}
    others = (e for e in entries if e.what == "finished" and e.at > kill.at and e.pid != kill.pid)
    return next((entry.at for entry in others if entry.place in places), None)


def _server_again(outage: Outage, entries: Sequence[Entry]) -> float | None:
    return next((entry.at for entry in entries if entry.what == "committed" and entry.at > outage.back_at), None)
