"""Links as records of their topic, and back."""

from collections.abc import Mapping, Sequence

import pyarrow as pa

from processors.attribution.graph import Link
from processors.attribution.identifiers import IDENTIFIERS, SHARED
from processors.attribution.links import CarriedLink, LinkFact
from schemas.definitions import arrow_schema, definition

__all__ = ["RECORD", "link_records", "published_links"]

SCHEMA = arrow_schema(definition("identity-links").text)
#: The reason of a link that a record carried.
RECORD = "record"
FIELDS: Mapping[str, str] = {kind: name for name, kind in {**IDENTIFIERS, **SHARED}.items()}
KINDS: Mapping[str, str] = {name: kind for kind, name in FIELDS.items()}


def link_records(links: Sequence[CarriedLink], topic: str, partition: int, offsets: Sequence[int]) -> pa.RecordBatch:
    """Records of links that records of a partition carried; `offsets` are those of the rows the links name."""
    facts = [item.fact for item in links]
    count = len(links)
    columns = {
        "account_id": [item.account_id for item in links],
        "first_kind": [FIELDS[fact.link.first[0]] for fact in facts],
        "first_value": [fact.link.first[1:] for fact in facts],
        "second_kind": [FIELDS[fact.link.second[0]] for fact in facts],
        "second_value": [fact.link.second[1:] for fact in facts],
        "event_time": [fact.link.event_ms for fact in facts],
        "link_ingest_time": [fact.ingest_ms for fact in facts],
        "is_removed": [fact.is_removed for fact in facts],
        "reason": [RECORD] * count,
        "origin_topic": [topic] * count,
        "origin_partition": [partition] * count,
        "origin_offset": [offsets[item.row] for item in links],
    }
    arrays = [pa.array(columns[field.name], field.type) for field in SCHEMA]
    return pa.RecordBatch.from_arrays(arrays, schema=SCHEMA)


def published_links(records: pa.RecordBatch) -> list[CarriedLink]:
    """The links that records of their topic say; those between kinds nobody knows are left out."""
    firsts, seconds = (
        zip(records.column(f"{side}_kind").to_pylist(), records.column(f"{side}_value").to_pylist(), strict=True)
        for side in ("first", "second")
    )
    times = (records.column(name).cast(pa.int64()).to_pylist() for name in ("event_time", "link_ingest_time"))
    accounts, removed = (records.column(name).to_pylist() for name in ("account_id", "is_removed"))
    found = []
    for row, (account_id, first, second, event_ms, ingest_ms, is_removed) in enumerate(
        zip(accounts, firsts, seconds, *times, removed, strict=True)
    ):
        if first[0] in KINDS and second[0] in KINDS:
            names = sorted(KINDS[kind] + value for kind, value in (first, second))
            found.append(CarriedLink(account_id, LinkFact(Link(event_ms, *names), ingest_ms, is_removed), row))
    return found
