"""The shape in which facts travel between a role and its store.

A fact is a tenant's id with a content, which includes when it arrived. Facts are sets: storing one twice changes
nothing, and the order of arrival does not matter. Of several contents under one id the one that counts is the
greatest by (source version, ingest time, content).

Facts lie in buckets of event time, `Retention.bucket_s` seconds long, so that they can be found by an identifier
and a window, and forgotten together.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

__all__ = [
    "LINK_HEAD_BYTES",
    "TRACE_BYTES",
    "ConversionFact",
    "Entries",
    "Held",
    "HeldContent",
    "HeldConversion",
    "HeldEntries",
    "Identifier",
]

#: Bytes of a click's trace, and of what stands before the other identifier in a link: no entry of theirs is shorter.
TRACE_BYTES = 24
LINK_HEAD_BYTES = 9
#: A tenant and an identifier in it.
Identifier = tuple[str, str]


class Entries(NamedTuple):
    """Touchpoints, links, or traces of clicks, of one tenant and bucket on their way into the store.

    identifiers, contents: side by side; a content is there once for each identifier it can be asked by.
    conversion_buckets: in which buckets conversions lie that these may concern.
    expires_at_s: seconds since the epoch.
    """

    account_id: str
    bucket: int
    expires_at_s: int
    conversion_buckets: Sequence[int]
    identifiers: Sequence[str] | Sequence[bytes]
    contents: Sequence[bytes]


class ConversionFact(NamedTuple):
    """A conversion, or what was heard of a deal, on its way into the store.

    id: a text; where it is no conversion_id, it begins with a surrogate, which stands for a byte that is no UTF-8.
    identifiers: what it can be asked by; each leads to it, and so does what is linked to one of them.
    touchpoint_buckets, link_buckets: where touchpoints lie that it may have, and links that concern it.
    expires_at_s, bucket_expires_at_s: of the conversion, and of the bucket in which identifiers lead to it.
    due_ms: ingest time by which everything has to be known before it is settled for the first time; None for never.
    """

    account_id: str
    id: str
    content: bytes
    identifiers: Sequence[str]
    bucket: int
    touchpoint_buckets: Sequence[int]
    link_buckets: Sequence[int]
    expires_at_s: int
    bucket_expires_at_s: int
    due_ms: int | None = None


class HeldContent(NamedTuple):
    """One content of a conversion, and by what it asks for touchpoints."""

    identifiers: Sequence[str]
    content: bytes


class HeldConversion(NamedTuple):
    """All contents held of a conversion or deal.

    reached: the identifiers of the contents, and all that links lead to from there; whose they are is not said.
    steps_cut: how many steps from link to link were not gone, for too many identifiers lie there. It only grows.
    settled: how often it was begun to be settled.
    """

    account_id: str
    conversion_id: str
    contents: Sequence[HeldContent]
    reached: Collection[str]
    steps_cut: int = 0
    settled: int = 0


class HeldEntries(NamedTuple):
    """What is held under one identifier.

    contents: in no order.
    overfull: the buckets that hold more than identifies anybody. Their contents are not there.
    """

    contents: Sequence[bytes]
    overfull: Collection[int] = ()


class Held(NamedTuple):
    """Conversions, and the touchpoints and links of what is reached from them, read after everything was stored."""

    conversions: Sequence[HeldConversion]
    touchpoints: Mapping[Identifier, HeldEntries]
    links: Mapping[Identifier, HeldEntries]
