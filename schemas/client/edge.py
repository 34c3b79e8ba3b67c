"""What happens to personal data at the publishing edge: hashed or redacted before it is written anywhere.

A publisher may give `email`, `phone`, `external_id` and Meta's further match keys in the clear. They leave
as SHA-256 under the names of the contract; the clear ones are not fields of any schema. Addresses of pages
lose the e-mail addresses and names that forms put into them.
"""

from collections import Counter
from collections.abc import Mapping, MutableMapping
from typing import Any

from schemas.identity import hash_identifier, redact_url

__all__ = ["CLEAR_FIELDS", "conceal"]

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
URL_FIELDS = ("landing_url", "referrer", "event_source_url")


def conceal(
    record: Mapping[str, Any], known: frozenset[str], default_country: str | None, dropped: Counter[str]
) -> MutableMapping[str, Any]:
    """The record without direct identifiers in the clear.

    `known` are the fields of its schema: a clear field is only taken where the schema has one for its hash.
    What cannot be normalised is dropped and counted in `dropped`, never the record.
    """
    concealed = {name: value for name, value in record.items() if name not in CLEAR_FIELDS}
    country = str(record.get("country") or default_country or "") or None
    for name in CLEAR_FIELDS.keys() & record.keys():
        _hash_into(concealed, name, record[name], country, known, dropped)
    for name in URL_FIELDS:
        if concealed.get(name):
            concealed[name] = redact_url(str(concealed[name]))
    return concealed


def _hash_into(
    record: MutableMapping[str, Any],
    name: str,
    value: Any,
    country: str | None,
    known: frozenset[str],
    dropped: Counter[str],
) -> None:
    match_key, field = CLEAR_FIELDS[name]
    if value is None or value == "":
        return
    digest = hash_identifier(match_key, value, country=country)
    if digest is None or (field or "user_data_sha256") not in known:
        dropped[name] += 1
    elif field is not None:
        record[field] = digest
    else:
        record["user_data_sha256"] = {**(record.get("user_data_sha256") or {}), match_key: digest}
