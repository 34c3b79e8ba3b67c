"""What happens to personal data at the publishing edge: hashed or redacted before it is written anywhere.

A publisher may give `email`, `phone`, `external_id` and Meta's further match keys in the clear. They leave
as SHA-256 under the names of the contract; the clear ones are not fields of any schema. Addresses of pages
lose the e-mail addresses and names that forms put into them. What Meta takes unhashed, and would refuse a
whole request for, is left out where it is malformed. What is left out is counted, and never costs the record.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from schemas.identity import hash_fields, valid_fbc, valid_fbp, valid_ip, valid_lead_id
from schemas.redaction import redact_text, redact_url

__all__ = ["CLEAR_FIELDS", "clean", "conceal", "conceal_columns"]

#: Field in the clear -> (Meta's name of the match key, the contract's field; None: in user_data_sha256).
CLEAR_FIELDS: Mapping[str, tuple[str, str | None]] = {
    "email": ("em", "email_sha256"),
    "phone": ("ph", "phone_sha256"),
    "external_id": ("external_id", "external_id_sha256"),
    "first_name": ("fn", None),
    "last_name": ("ln", None),
    "date_of_birth": ("db", None),
    "gender": ("ge", None),
    "city": ("ct", None),
    "state": ("st", None),
    "zip": ("zp", None),
    "country": ("country", None),
}
MATCH_KEYS = "user_data_sha256"
FIELD_OF_KEY = {match_key: name for name, (match_key, _) in CLEAR_FIELDS.items()}
HASHED_FIELDS = {field or MATCH_KEYS for _, field in CLEAR_FIELDS.values()}
CLEANERS: Mapping[str, Callable[[str], str | None]] = {
    "landing_url": redact_url,
    "referrer": redact_url,
    "event_source_url": redact_url,
    **{f"utm_{part}": redact_text for part in ("source", "medium", "campaign", "term", "content", "id")},
    "ip": valid_ip,
    "fbp": valid_fbp,
    "fbc": valid_fbc,
    "lead_id": valid_lead_id,
}


def conceal(
    record: Mapping[str, Any], known: frozenset[str], default_country: str | None, dropped: Counter[str]
) -> dict[str, Any]:
    """The record with hashes in the place of direct identifiers.

    `known` are the fields of its schema: a clear field is only taken where the schema has one for its hash.
    What cannot be normalised is left out and counted in `dropped`.
    """
    concealed = {name: value for name, value in record.items() if name not in CLEAR_FIELDS}
    given = {CLEAR_FIELDS[name][0]: record[name] for name in record if name in CLEAR_FIELDS}
    if not given:
        return concealed
    hashed, unreadable = hash_fields(given, country=default_country)
    dropped.update(FIELD_OF_KEY[match_key] for match_key in unreadable)
    for match_key, digest in hashed.items():
        field = CLEAR_FIELDS[FIELD_OF_KEY[match_key]][1]
        if (field or MATCH_KEYS) not in known:
            dropped[FIELD_OF_KEY[match_key]] += 1
        elif field is not None:
            concealed[field] = digest
        else:
            concealed[MATCH_KEYS] = {**(concealed.get(MATCH_KEYS) or {}), match_key: digest}
    return concealed


def conceal_columns(
    table: pa.Table, known: frozenset[str], default_country: str | None, dropped: Counter[str]
) -> pa.Table:
    """`conceal` for every row of a table."""
    clear = [name for name in table.column_names if name in CLEAR_FIELDS]
    if not clear:
        return table
    hashed = [name for name in table.column_names if name in HASHED_FIELDS]
    rows = [
        conceal(record, known, default_country, dropped)
        for record in table.select(clear + hashed).to_pylist(maps_as_pydicts="lossy")
    ]
    table = table.drop_columns(clear + hashed)
    for name in sorted(HASHED_FIELDS & known):
        values = [row.get(name) for row in rows]
        if name == MATCH_KEYS:
            entries = [list((value or {}).items()) for value in values]
            table = table.append_column(name, pa.array(entries, pa.map_(pa.string(), pa.string())))
        else:
            table = table.append_column(name, pa.array(values, pa.string()))
    return table


def clean(batch: pa.RecordBatch, dropped: Counter[str]) -> pa.RecordBatch:
    """The batch with redacted addresses of pages, and without malformed values of what Meta takes unhashed."""
    for name in CLEANERS.keys() & set(batch.schema.names):
        position = batch.schema.get_field_index(name)
        column = batch.column(position)
        if column.null_count < len(column):
            distinct = column.dictionary_encode()
            cleaned = pa.array([CLEANERS[name](value) for value in distinct.dictionary.to_pylist()], pa.string())
            kept = pc.take(cleaned, distinct.indices)
            if left_out := kept.null_count - column.null_count:
                dropped[name] += left_out
            batch = batch.set_column(position, batch.schema.field(position), kept)
    return batch
