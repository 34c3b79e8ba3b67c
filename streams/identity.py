"""The identity graph as ClickHouse has it, for people: who somebody is taken for, and why; and taking it apart."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import NamedTuple

from processors.attribution.graph import Graph, Link
from processors.attribution.identifiers import HASH_DIGITS, IDENTIFIERS, SHARED
from processors.attribution.link_records import FIELDS
from processors.attribution.links import LinkFact, counting_links
from schemas.client.publisher import Publisher
from schemas.identity import hash_identifier
from sinks.clickhouse.client import ClickHouse
from streams.admin import registry
from streams.settings import Settings

__all__ = ["Identifier", "IdentifierError", "Neighbourhood", "named", "neighbourhood", "parse_identifier", "unlink"]

DAY_MS = 86_400_000
#: From the identifier that is asked for, link by link.
MOST_STEPS = 8
#: What a person types in clear is hashed here, and goes no further: its name among the match keys, and its field.
CLEAR = {
    "email": ("em", "email_sha256"),
    "phone": ("ph", "phone_sha256"),
    "external_id": ("external_id", "external_id_sha256"),
}
QUERY = """
SELECT first_kind, first_value, second_kind, second_value, event_time, link_ingest_time, is_removed
FROM identity_links FINAL
WHERE account_id = {account} AND (
    concat(first_kind, '=', first_value) IN ({names}) OR concat(second_kind, '=', second_value) IN ({names})
)
"""


class IdentifierError(Exception):
    """What was typed is no identifier."""


class Identifier(NamedTuple):
    """One identifier: the field it comes from, and its value; of a hash the first digits."""

    field: str
    value: str

    def __str__(self) -> str:
        return f"{self.field}={self.value}"


class Neighbourhood(NamedTuple):
    """person: the identifiers of one person. links: what joins them. refused, removed: links that do not count."""

    person: frozenset[Identifier]
    links: list[LinkFact]
    refused: list[Link]
    removed: list[LinkFact]


def parse_identifier(text: str) -> Identifier:
    """From field=value, where e-mail addresses, phone numbers and external ids may be given in clear.

    >>> str(parse_identifier("visitor_id=v-1"))
    'visitor_id=v-1'
    >>> str(parse_identifier("email=Jo@example.com"))
    'email_sha256=f4e19df2e6c609fbd59a42b9063d0fad'

    Raises IdentifierError.
    """
    field, separator, value = text.partition("=")
    known = {name for name in FIELDS.values() if name not in ("click_id", "fbclid")}
    if not separator or not value or field not in known | CLEAR.keys():
        # It is not said once more: who forgot the field gave an address.
        raise IdentifierError(f"not FIELD=VALUE with one of {', '.join(sorted(known | CLEAR.keys()))} as the field")
    if field in CLEAR:
        key, hashed_field = CLEAR[field]
        hashed = hash_identifier(key, value)
        if hashed is None:
            raise IdentifierError(f"what is given as {field} is none")
        field, value = hashed_field, hashed
    return Identifier(field, value[:HASH_DIGITS] if field.endswith("_sha256") else value)


def neighbourhood(clickhouse: ClickHouse, account_id: str, identifier: Identifier) -> Neighbourhood:
    """Who an identifier is taken for. Raises Unavailable, Refused."""
    known: set[Identifier] = {identifier}
    new, facts = known, set[LinkFact]()
    for _ in range(MOST_STEPS):
        found = _links(clickhouse, account_id, new)
        facts |= found
        reached = {named(name) for fact in found for name in fact.link[1:]}
        new, known = reached - known, known | reached
        if not new:
            break
    counting = counting_links(sorted(facts))
    graph = Graph(counting)
    person = frozenset(map(named, graph.person(_name(identifier))))
    joined = set(counting) - set(graph.refused)
    return Neighbourhood(
        person,
        sorted(fact for fact in facts if fact.link in joined and named(fact.link.first) in person),
        graph.refused,
        sorted(fact for fact in facts if fact.is_removed),
    )


def unlink(settings: Settings, account_id: str, first: Identifier, second: Identifier, now: datetime) -> None:
    """Say that two identifiers are not the same person's: what joined them until now does not count any more."""
    one, other = sorted((first, second), key=_name)
    day_ms = int(now.astimezone(UTC).timestamp() * 1000) // DAY_MS * DAY_MS
    record: Mapping[str, object] = {
        "account_id": account_id,
        "first_kind": one.field,
        "first_value": one.value,
        "second_kind": other.field,
        "second_value": other.value,
        "event_time": day_ms,
        "link_ingest_time": day_ms,
        "is_removed": True,
        "reason": "operator",
    }
    client = registry(settings)
    try:
        with Publisher(settings.kafka.client(), client, prefix=settings.namespace) as publisher:
            publisher.publish("identity-links", record)
    finally:
        client.close()


def _links(clickhouse: ClickHouse, account_id: str, names: Iterable[Identifier]) -> set[LinkFact]:
    listed = ", ".join(_quoted(str(name)) for name in sorted(names))
    rows = clickhouse.query(QUERY.format(account=_quoted(account_id), names=listed)).to_pylist()
    found = set()
    for row in rows:
        pair = sorted(_name(Identifier(row[f"{side}_kind"], row[f"{side}_value"])) for side in ("first", "second"))
        times = (int(row[name].timestamp() * 1000) for name in ("event_time", "link_ingest_time"))
        event_ms, ingest_ms = times
        found.add(LinkFact(Link(event_ms, *pair), ingest_ms, bool(row["is_removed"])))
    return found


def _quoted(text: str) -> str:
    """As a literal of ClickHouse's."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _name(identifier: Identifier) -> str:
    kinds = {**IDENTIFIERS, **SHARED}
    return kinds[identifier.field] + identifier.value


def named(name: str) -> Identifier:
    """The identifier that the graph knows by this name."""
    return Identifier(FIELDS[name[0]], name[1:])
