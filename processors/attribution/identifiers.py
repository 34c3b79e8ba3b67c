"""What a click or conversion is known by: the fields, and how their values are written where they identify."""

from collections.abc import Iterable, Mapping, Sequence
from hashlib import blake2b

import pyarrow as pa
import pyarrow.compute as pc

from processors.matching.evidence import Hashes, hash_text

__all__ = [
    "HASH_DIGITS",
    "IDENTIFIERS",
    "SHARED",
    "click_name",
    "identifiers_of",
    "name_of_hash",
    "remembered_fbclids",
]

#: Fields a conversion may be matched by, and what stands in front of their values in the store; the surest first.
#: Of click ids there is the hash that evidence has of them.
IDENTIFIERS: Mapping[str, str] = {
    "click_id": "k",
    "fbclid": "f",
    "external_id_sha256": "x",
    "email_sha256": "e",
    "phone_sha256": "p",
    "visitor_id": "v",
}
#: Those of a conversion or deal that it shares with others of these only, which may know more of the person.
SHARED: Mapping[str, str] = {"order_id": "o", "lead_id": "l", "contact_id": "c"}
#: Of a hash, which has 64: no two people share so many.
HASH_DIGITS = 32


def remembered_fbclids(conversions: pa.RecordBatch) -> list[str | None]:
    """The fbclid of each conversion; where it has none, that of its _fbc cookie, version.subdomain.time.fbclid."""
    given = conversions.column("fbclid")
    if conversions.column("fbc").null_count == conversions.num_rows:
        fbclids: list[str | None] = given.to_pylist()
        return fbclids
    pairs = zip(given.to_pylist(), conversions.column("fbc").to_pylist(), strict=True)
    return [fbclid or (fbc.split(".")[3] if fbc and fbc.count(".") >= 3 else None) for fbclid, fbc in pairs]


def identifiers_of(
    records: pa.RecordBatch,
    fields: Iterable[str],
    fbclids: Sequence[str | None] | None = None,
    clicks: Hashes | None = None,
) -> list[list[str | None]]:
    """For each field one identifier a row, None where the record does not have it; no list where none has, nor of a
    field that is not of the records' topic.

    `fbclids` stand for the field's, `clicks` for the hashes of the click ids, where they are known already.
    """
    found = []
    for name in fields:
        if name not in records.schema.names:
            continue
        column = records.column(name)
        kind = IDENTIFIERS.get(name) or SHARED[name]
        if name == "click_id":
            found.append(_click_names(column) if clicks is None else _names_of_hashes(clicks))
            continue
        if name == "fbclid":
            values = fbclids if fbclids is not None else column.to_pylist()
            found.append([kind + _digest(value) if value else None for value in values])
            continue
        if column.null_count == len(column):
            continue
        if name.endswith("_sha256"):
            column = pc.utf8_slice_codeunits(column, 0, HASH_DIGITS)
        found.append([kind + value if value else None for value in column.to_pylist()])
    return found


def click_name(click_id: str) -> str:
    """The identifier of a click: with the hash that evidence has of its id, by which traces name it."""
    return name_of_hash(hash_text(click_id))


def name_of_hash(click: int) -> str:
    """The identifier of a click, by the hash of its id."""
    return f"{IDENTIFIERS['click_id']}{click:016x}"


def _click_names(click_ids: pa.Array) -> list[str | None]:
    return [click_name(value) if value else None for value in click_ids.to_pylist()]


def _names_of_hashes(clicks: Hashes) -> list[str | None]:
    digits, kind = clicks.astype(">u8").tobytes().hex(), IDENTIFIERS["click_id"]
    return [kind + digits[16 * row : 16 * row + 16] if click else None for row, click in enumerate(clicks.tolist())]


def _digest(fbclid: str) -> str:
    return blake2b(fbclid.encode(), digest_size=HASH_DIGITS // 2).hexdigest()
