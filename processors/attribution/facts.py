"""Clicks and conversions as facts: what is stored of them, under which identifiers, for how long.

A message that comes again, byte for byte, is the same fact and keeps the ingest time of its first arrival. So a
source that takes a correction back raises `source_version`: sending the first message once more changes nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import msgpack
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from schemas.facts import Fact, HeldFact, digest, identifier

__all__ = [
    "ChosenConversion",
    "Retention",
    "Touchpoint",
    "choose_conversion",
    "choose_touchpoints",
    "click_facts",
    "conversion_facts",
    "read_touchpoints",
]

VISITOR, CLICK = "v", "k"


@dataclass(frozen=True, slots=True)
class Retention:
    """How far back a conversion looks for clicks, and how long facts are held beyond that.

    lookback_s: by account, with a default; seconds.
    lateness_s: what the slowest record may be late, with the longest outage and the age of a replay; seconds.
    """

    default_lookback_s: int
    lateness_s: int
    lookback_s: Mapping[str, int] = field(default_factory=dict)

    def lookback_of(self, account_id: str) -> int:
        """The account's lookback window, seconds."""
        return self.lookback_s.get(account_id, self.default_lookback_s)

    def expires_at_s(self, account_id: str, event_ms: int, ingest_ms: int) -> int:
        """When nothing can ask for a fact any more, seconds since the epoch.

        However old the event, the fact outlives an outage after its arrival: its record may be delivered again.
        """
        return max(event_ms // 1000 + self.lookback_of(account_id), ingest_ms // 1000) + self.lateness_s

    def is_late(self, event_ms: int, ingest_ms: int) -> bool:
        """Whether facts in the window of a conversion of that event time may have expired at the ingest time."""
        return ingest_ms > event_ms + self.lateness_s * 1000


class Touchpoint(NamedTuple):
    """What attribution needs of one content of a click."""

    click_id: str
    source_version: int
    ingest_ms: int
    digest: bytes
    event_ms: int
    visitor_id: str | None
    interaction: str
    channel: str | None
    ad_account_id: str | None
    campaign_id: str | None
    adset_id: str | None
    ad_id: str | None
    creative_id: str | None
    fbclid: str | None

    @property
    def order(self) -> tuple[int, int, bytes]:
        """Of the contents of one click_id the greatest counts."""
        return self.source_version, self.ingest_ms, self.digest


class ChosenConversion(NamedTuple):
    """The content of a conversion that counts: the message as it was published, and when it arrived."""

    ingest_ms: int
    event_ms: int
    visitor_id: str | None
    click_id: str | None
    message: bytes

    def is_of(self, touchpoint: Touchpoint) -> bool:
        """Whether the touchpoint is the same person's, as far as this content knows: an earlier one may have erred."""
        if self.click_id and touchpoint.click_id == self.click_id:
            return True
        return bool(self.visitor_id) and touchpoint.visitor_id == self.visitor_id


#: Columns of a click that its stored content holds after version and times, in the order of Touchpoint.
CONTENT = (
    "visitor_id",
    "interaction",
    "channel",
    "ad_account_id",
    "campaign_id",
    "adset_id",
    "ad_id",
    "creative_id",
    "fbclid",
)


def click_facts(
    clicks: pa.RecordBatch, messages: Sequence[bytes], ingest_ms: npt.NDArray[np.int64], retention: Retention
) -> list[Fact]:
    """One fact a click. `messages` and `ingest_ms` have a row each for the rows of `clicks`."""
    pack = msgpack.Packer().pack
    event_ms = _times(clicks, "event_time")
    facts = []
    for account, click_id, version, event, ingest, message, content in zip(
        clicks.column("account_id").to_pylist(),
        clicks.column("click_id").to_pylist(),
        clicks.column("source_version").to_pylist(),
        event_ms,
        ingest_ms.tolist(),
        messages,
        zip(*(clicks.column(name).to_pylist() for name in CONTENT), strict=True),
        strict=True,
    ):
        packed = pack((version, ingest, event, *content))
        identifiers = _identifiers(account, content[0], click_id)
        expires_at_s = retention.expires_at_s(account, event, ingest)
        facts.append(Fact(account, click_id, digest(message), packed, identifiers, expires_at_s))
    return facts


def conversion_facts(
    conversions: pa.RecordBatch,
    messages: Sequence[bytes],
    ingest_ms: npt.NDArray[np.int64],
    retention: Retention,
) -> list[Fact]:
    """One fact a conversion, holding the whole message. Rows as in `click_facts`."""
    facts = []
    for account, conversion_id, version, event, ingest, message, visitor_id, click_id in zip(
        conversions.column("account_id").to_pylist(),
        conversions.column("conversion_id").to_pylist(),
        conversions.column("source_version").to_pylist(),
        _times(conversions, "event_time"),
        ingest_ms.tolist(),
        messages,
        conversions.column("visitor_id").to_pylist(),
        conversions.column("click_id").to_pylist(),
        strict=True,
    ):
        packed = msgpack.packb((version, ingest, event, visitor_id, click_id, message))
        identifiers = _identifiers(account, visitor_id, click_id)
        expires_at_s = retention.expires_at_s(account, event, ingest)
        facts.append(Fact(account, conversion_id, digest(message), packed, identifiers, expires_at_s))
    return facts


def read_touchpoints(held: Sequence[HeldFact]) -> list[Touchpoint]:
    """Every content held, in no order; a click_id with several contents is there several times."""
    touchpoints = []
    for fact in held:
        version, ingest_ms, *content = msgpack.unpackb(fact.content)
        touchpoints.append(Touchpoint(fact.id, version, ingest_ms, fact.digest, *content))
    return touchpoints


def choose_touchpoints(touchpoints: Sequence[Touchpoint]) -> list[Touchpoint]:
    """The touchpoints that count, one a click_id, oldest first, click_id deciding between equals."""
    chosen: dict[str, Touchpoint] = {}
    for touchpoint in touchpoints:
        other = chosen.get(touchpoint.click_id)
        if other is None or touchpoint.order > other.order:
            chosen[touchpoint.click_id] = touchpoint
    return sorted(chosen.values(), key=lambda touchpoint: (touchpoint.event_ms, touchpoint.click_id))


def choose_conversion(held: Sequence[HeldFact]) -> ChosenConversion:
    """The content of a conversion that counts."""
    contents = [(fact.digest, *msgpack.unpackb(fact.content)) for fact in held]
    _, _, *content = max(contents, key=lambda content: (content[1], content[2], content[0]))
    return ChosenConversion(*content)


def _identifiers(account_id: str, visitor_id: str | None, click_id: str | None) -> list[str]:
    pairs = ((VISITOR, visitor_id), (CLICK, click_id))
    return [identifier(account_id, kind, value) for kind, value in pairs if value]


def _times(batch: pa.RecordBatch, name: str) -> list[int]:
    times: list[int] = batch.column(name).cast(pa.int64()).to_pylist()
    return times
