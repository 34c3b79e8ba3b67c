"""Links between identifiers as facts: which records carry them, how they are held, and which of them count."""

import struct
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from processors.attribution.facts import Retention
from processors.attribution.graph import KINDS, Link, links_of
from processors.attribution.identifiers import IDENTIFIERS, SHARED, identifiers_of
from schemas.facts import Entries

__all__ = ["CarriedLink", "LinkFact", "counting_links", "link_entries", "links_carried", "read_links"]

Times = npt.NDArray[np.int64]
#: In front of what a link leads to: event and ingest time, in units of Retention.link_resolution_s, is_removed.
LINK_HEAD = struct.Struct(">II?")


class LinkFact(NamedTuple):
    """A link, and when it arrived, ms since the epoch; both times as coarse as Retention.link_resolution_s.

    is_removed: the two are not the same person's; links between them of its time and before do not count.
    """

    link: Link
    ingest_ms: int
    is_removed: bool = False


class CarriedLink(NamedTuple):
    """A link of a tenant, and the row of the record that carried it."""

    account_id: str
    fact: LinkFact
    row: int


def links_carried(records: pa.RecordBatch, ingest_ms: Times, retention: Retention) -> list[CarriedLink]:
    """The links of a batch of clicks or conversions, each once; `ingest_ms` has shape (records.num_rows,)."""
    unit_ms = retention.link_resolution_s * 1000
    arrived = (ingest_ms // unit_ms * unit_ms).tolist()
    event_ms = records.column("event_time").cast(pa.int64()).to_numpy() // unit_ms * unit_ms
    found = {
        (account_id, LinkFact(link, arrived[row])): row
        for row, account_id, links in _links(records, event_ms)
        for link in links
    }
    return [CarriedLink(account_id, fact, row) for (account_id, fact), row in found.items()]


def link_entries(links: Iterable[CarriedLink], retention: Retention) -> list[Entries]:
    """Links on their way into the store, by tenant and bucket, each under both of its identifiers."""
    unit_ms = retention.link_resolution_s * 1000
    groups: dict[tuple[str, int], tuple[list[str], list[bytes], list[int]]] = {}
    for account_id, (link, ingest_ms, is_removed), _ in links:
        key = account_id, retention.link_bucket_of(link.event_ms)
        identifiers, contents, times = groups.setdefault(key, ([], [], []))
        head = LINK_HEAD.pack(link.event_ms // unit_ms, ingest_ms // unit_ms, is_removed)
        identifiers += [link.first, link.second]
        contents += [head + link.second.encode(), head + link.first.encode()]
        times.append(ingest_ms)
    return [
        Entries(
            account_id,
            bucket,
            retention.link_bucket_expires_at_s(bucket, max(times)),
            list(retention.conversion_buckets_of_links(bucket)),
            identifiers,
            contents,
        )
        for (account_id, bucket), (identifiers, contents, times) in groups.items()
    ]


def read_links(identifier: str, contents: Iterable[bytes], retention: Retention) -> list[LinkFact]:
    """What is held under an identifier."""
    unit_ms = retention.link_resolution_s * 1000
    found = []
    for content in contents:
        event, ingest, is_removed = LINK_HEAD.unpack_from(content)
        first, second = sorted((identifier, content[LINK_HEAD.size :].decode()))
        found.append(LinkFact(Link(event * unit_ms, first, second), ingest * unit_ms, is_removed))
    return found


def counting_links(facts: Sequence[LinkFact]) -> list[Link]:
    """The links that nobody has taken back."""
    taken_back: dict[tuple[str, str], int] = {}
    for link, _, is_removed in facts:
        if is_removed:
            pair = link.first, link.second
            taken_back[pair] = max(taken_back.get(pair, link.event_ms), link.event_ms)
    return [
        link
        for link, _, is_removed in facts
        if not is_removed and link.event_ms > taken_back.get((link.first, link.second), -1)
    ]


def _links(records: pa.RecordBatch, event_ms: Times) -> Iterator[tuple[int, str, Sequence[Link]]]:
    """Row, account and links of the records that have any."""
    fields = {**IDENTIFIERS, **SHARED}
    own = [name for name, kind in fields.items() if kind in KINDS and name in records.schema.names]
    carried = np.array([np.asarray(records.column(name).is_valid()) for name in own]).sum(axis=0)
    rows = np.flatnonzero(carried > 1)
    if not len(rows):
        return
    some = records.take(pa.array(rows))
    columns = identifiers_of(some, own)
    accounts = some.column("account_id").to_pylist()
    for row, account_id, time, *names in zip(rows.tolist(), accounts, event_ms[rows].tolist(), *columns, strict=True):
        yield row, account_id, links_of(time, [name for name in names if name])
