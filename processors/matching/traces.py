"""Traces: what a store keeps of clicks, by the keys of lookups, so that conversions find them; and what it finds.

A list of traces that has become too long says nothing any more (`None` below): so many share its key. That depends on
the clicks alone and not on their order, as does everything here.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from processors.matching.candidates import (
    COUNTLESS,
    DAY_MS,
    LOOKUPS,
    MOST_CLICKS,
    WINDOW_MS,
    Counts,
    Ints,
    Lookup,
    Pairs,
    evidence_keys,
    nearest,
)
from processors.matching.evidence import MISSING, Evidence, Hashes
from processors.matching.tally import DEVICES_AN_ADDRESS, DEVICES_AN_ADDRESS_DAY, devices_of

__all__ = ["FoundClicks", "Traces", "find_clicks", "keys_of", "traces_of"]

#: visitor and fingerprint are only told apart, for which half of a hash is enough.
TRACE = np.dtype(
    [("event_s", ">u4"), ("ingest_s", ">u4"), ("visitor", ">u4"), ("fingerprint", ">u4"), ("click_id", ">u8")]
)
#: Which lookup, and the hash of what is looked up.
KEY = np.dtype([("letter", "u1"), ("key", ">u8")])
FRAMED = np.dtype([("length", ">u2"), ("trace", TRACE)])
#: The traces of a list, end to end, each with its length in front (2 bytes); None where there are too many.
Traces = bytes | None
Flags = npt.NDArray[np.bool_]


class FoundClicks(NamedTuple):
    """Clicks that share evidence with conversions.

    click_id: hashes of the clicks' ids, each once; event_s: when they happened, seconds. Shape (clicks,).
    pairs: rows of the conversions, and of these. counts: of the conversions.
    """

    click_id: Hashes
    event_s: Ints
    pairs: Pairs
    counts: Counts


def keys_of(evidence: Evidence) -> Mapping[str, list[bytes | None]]:
    """By lookup the key of each row under which its trace is kept and looked for; None where it has none."""
    return {name: _written(letter, evidence, lookup) for letter, (name, lookup) in enumerate(LOOKUPS.items())}


def traces_of(evidence: Evidence, ingest_ms: Ints) -> list[bytes]:
    """The trace of each click."""
    traces = np.empty(len(evidence.event_ms), TRACE)
    traces["event_s"], traces["ingest_s"] = evidence.event_ms // 1000, ingest_ms // 1000
    traces["visitor"], traces["fingerprint"] = devices_of(evidence) & _HALF, evidence.fingerprint & _HALF
    traces["click_id"] = evidence.click_id
    return _each(traces)


def find_clicks(
    conversions: Evidence, known_until_ms: Ints, lists: Mapping[str, Sequence[Sequence[Traces]]]
) -> FoundClicks:
    """The clicks before each conversion that share evidence with it, as far as they had arrived by `known_until_ms`.

    lists: by lookup, for each conversion, what is held under its key in the 30 days before, in one or more pieces.
    """
    seen = {name: _Seen(conversions, known_until_ms, pieces) for name, pieces in lists.items()}
    read = [seen[name].read(lookup) for name, lookup in LOOKUPS.items()]
    strength = np.repeat(np.arange(len(read)), [len(rows) for rows, _ in read])
    conversion = np.concatenate([rows for rows, _ in read])
    traces = np.concatenate([found for _, found in read])
    click_id, first, click = np.unique(traces["click_id"].astype(np.uint64), return_index=True, return_inverse=True)
    gap_ms = conversions.event_ms[conversion] - traces["event_s"].astype(np.int64) * 1000
    return FoundClicks(
        click_id=click_id,
        event_s=traces["event_s"].astype(np.int64)[first],
        pairs=nearest(conversion, click, strength, gap_ms, click_id),
        counts=Counts(
            ip=seen["ip"].sizes(),
            block=seen["block"].sizes(),
            fingerprint=seen["device"].sizes(conversions.fingerprint),
            device=seen["device"].sizes(),
        ),
    )


HALF_BITS = np.uint64(32)
_HALF = np.uint64(0xFFFFFFFF)


def _written(letter: int, evidence: Evidence, lookup: Lookup) -> list[bytes | None]:
    keys = evidence_keys(evidence, lookup.columns)
    written = np.empty(len(keys), KEY)
    written["letter"], written["key"] = ord("0") + letter, keys
    return [key if given else None for key, given in zip(_each(written), (keys != MISSING).tolist(), strict=True)]


def _each(records: npt.NDArray[np.void]) -> list[bytes]:
    """The bytes of each record."""
    found: list[bytes] = records.view(f"V{records.itemsize}").tolist()
    return found


class _Seen:
    """The lists of one lookup, as the conversions see them: clicks before them that had arrived, each once."""

    def __init__(self, conversions: Evidence, known_until_ms: Ints, pieces: Sequence[Sequence[Traces]]) -> None:
        self._count = len(pieces)
        self._countless = np.array([None in some for some in pieces], np.bool_)
        present = [[piece for piece in some if piece] for some in pieces]
        framed = np.frombuffer(b"".join(piece for some in present for piece in some), FRAMED)
        conversion = np.repeat(np.arange(self._count), [sum(map(len, some)) // FRAMED.itemsize for some in present])
        traces = framed["trace"]
        event_ms = traces["event_s"].astype(np.int64) * 1000
        asked_ms = conversions.event_ms[conversion]
        kept = (event_ms <= asked_ms) & (event_ms >= asked_ms - WINDOW_MS)
        kept &= traces["ingest_s"].astype(np.int64) * 1000 <= known_until_ms[conversion]
        conversion, traces = conversion[kept], traces[kept]
        # Newest first; of a click that was corrected the content that arrived last.
        order = np.lexsort((-traces["ingest_s"].astype(np.int64), traces["click_id"], conversion))
        conversion, traces = conversion[order], traces[order]
        again = (np.diff(conversion, prepend=-1) == 0) & (np.diff(traces["click_id"].astype(np.int64), prepend=0) == 0)
        conversion, traces = conversion[~again], traces[~again]
        order = np.lexsort((~traces["click_id"], -traces["event_s"].astype(np.int64), conversion))
        self._conversion, self._traces = conversion[order], traces[order]
        self._countless |= np.bincount(conversion, minlength=self._count) > MOST_CLICKS

    def sizes(self, fingerprint: Hashes | None = None) -> Ints:
        """How many clicks each conversion has in its list; of the same fingerprint where that is asked for."""
        rows = self._conversion
        if fingerprint is not None:
            rows = rows[self._traces["fingerprint"] == fingerprint[rows] & _HALF]
        return np.where(self._countless, COUNTLESS, np.bincount(rows, minlength=self._count))

    def read(self, lookup: Lookup) -> tuple[Ints, npt.NDArray[np.void]]:
        """Rows of conversions, and for each the trace of a click that is read for it: those nearest in time."""
        shut = self._countless.copy()
        chosen = np.ones(len(self._conversion), np.bool_)
        if lookup.capped:
            shut |= _devices(self._conversion, self._traces, self._count) > DEVICES_AN_ADDRESS
        rank = np.arange(len(self._conversion)) - np.searchsorted(self._conversion, self._conversion, "left")
        chosen &= (rank < lookup.depth) & ~shut[self._conversion]
        if lookup.capped:
            chosen &= ~self._crowded()
        return self._conversion[chosen], self._traces[chosen]

    def _crowded(self) -> Flags:
        """Traces of days on which more devices than usual shared the key."""
        days = self._traces["event_s"].astype(np.int64) // (DAY_MS // 1000)
        groups = np.unique(_paired(self._conversion, days), return_inverse=True)[1]
        devices = _devices(groups, self._traces, len(groups))
        return np.greater(devices, DEVICES_AN_ADDRESS_DAY)[groups]


def _devices(groups: Ints, traces: npt.NDArray[np.void], count: int) -> Ints:
    """How many browsers there are in each group."""
    distinct = np.unique(_paired(groups, traces["visitor"])) >> HALF_BITS
    found: Ints = np.bincount(distinct.astype(np.int64), minlength=count)
    return found


def _paired(first: npt.NDArray[Any], second: npt.NDArray[Any]) -> Hashes:
    """Two columns of numbers below 2^32 as one, in the order of both."""
    pairs: Hashes = (first.astype(np.uint64) << HALF_BITS) | second.astype(np.uint64)
    return pairs
