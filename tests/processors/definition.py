"""What touchpoints a conversion or deal has, straight from the definition."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from processors.attribution import graph as people
from processors.attribution.facts import Retention

LOOKBACK_S, LATENESS_S = 100, 60
#: Buckets so small that windows reach over several.
RETENTION = Retention(LOOKBACK_S, LATENESS_S, bucket_s=40, link_reach_s=150, link_bucket_s=60, link_resolution_s=1)
#: Event times are multiples of this, so that edges of windows are hit.
STEP_MS = LOOKBACK_S * 1000 // 4

#: A content: its order among those of its id, and its fields.
Version = tuple[tuple[int, int, bytes], dict[str, Any]]


class Chosen(NamedTuple):
    """What counts of a conversion or deal: when, the click it remembers, and what it is known by."""

    event_ms: int
    click_id: str | None
    names: set[str]


def touchpoints_of(chosen: Chosen, versions: Sequence[Version], of_account: Sequence[Version]) -> list[tuple[str, str]]:
    """(click_id, channel), of all contents of the conversion, and all there is of the account."""
    latest_ms = chosen.event_ms + LATENESS_S * 1000
    looked_at = [
        value
        for value in of_account
        if "channel" in value[1] and any(is_looked_at(version, value[1]["event_time"]) for _, version in versions)
    ]
    linking = [
        value for value in of_account if any(is_linked_to(version, value[1]["event_time"]) for _, version in versions)
    ]
    reached = reached_from(versions, looked_at, linking)
    counting: dict[str, Version] = {}
    for order, fields in looked_at:
        is_asked = names_of(fields) & reached or f"k{fields['click_id']}" in reached
        if is_asked and order[1] <= latest_ms:
            counting[fields["click_id"]] = max(
                counting.get(fields["click_id"], (order, fields)), (order, fields), key=lambda value: value[0]
            )
    inside = [
        fields for _, fields in counting.values() if 0 <= chosen.event_ms - fields["event_time"] <= LOOKBACK_S * 1000
    ]
    links = [
        link
        for order, fields in linking
        # As coarse as links are held.
        if order[1] // 1000 * 1000 <= latest_ms
        for link in people.links_of(fields["event_time"] // 1000 * 1000, list(names_of(fields)))
        if set(link[1:]) <= reached
    ]
    return [
        (fields["click_id"], fields["channel"])
        for fields in sorted(inside, key=lambda fields: (fields["event_time"], fields["click_id"]))
        if is_of(chosen, fields, inside, links)
    ]


def names_of(fields: dict[str, Any]) -> set[str]:
    """What says who it is."""
    email = fields["email_sha256"]
    named = {
        "v": fields["visitor_id"],
        "e": email and email[:32],
        "o": fields.get("order_id"),
        "c": fields.get("contact_id"),
    }
    return {kind + value for kind, value in named.items() if value}


def reached_from(versions: Sequence[Version], clicks: Sequence[Version], linking: Sequence[Version]) -> set[str]:
    """Everything that records of two identifiers lead to from a conversion's own."""
    reached = {name for _, fields in versions for name in names_of(fields)}
    reached |= {f"k{fields['click_id']}" for _, fields in versions if fields["click_id"]}
    while True:
        more = {name for _, fields in linking if names_of(fields) & reached for name in names_of(fields)}
        more |= {name for _, fields in clicks if f"k{fields['click_id']}" in reached for name in names_of(fields)}
        if more <= reached:
            return reached
        reached |= more


def is_of(
    chosen: Chosen, click: dict[str, Any], inside: Sequence[dict[str, Any]], links: Sequence[people.Link]
) -> bool:
    """Whether the click is of the person who converted."""
    if click["click_id"] == chosen.click_id:
        return True
    own = chosen.names
    remembered = {name for fields in inside if fields["click_id"] == chosen.click_id for name in names_of(fields)}
    known = own | remembered
    if remembered or links:
        graph = people.Graph([*links, *people.links_of(chosen.event_ms, list(known))])
        if known:
            known = own | graph.person(min(known, key=lambda name: ("xepcolv".index(name[0]), name)))
    strong = {name for name in known if name[0] == "e"}
    strong = {name for name in own if name[0] == "e"} or strong
    names = names_of(click)
    return bool(names & known) and {name for name in names if name[0] == "e"} <= (strong or names)


def is_looked_at(conversion: dict[str, Any], click_ms: int) -> bool:
    """Whether the click's bucket is one of those the conversion's window touches, or next to them."""
    size_ms = RETENTION.bucket_s * 1000
    first, last = (conversion["event_time"] - LOOKBACK_S * 1000) // size_ms, conversion["event_time"] // size_ms
    return bool(first - 1 <= click_ms // size_ms <= last + 1)


def is_linked_to(conversion: dict[str, Any], record_ms: int) -> bool:
    """Whether what the record links may concern the conversion."""
    size_ms = RETENTION.link_bucket_s * 1000
    first = (conversion["event_time"] - RETENTION.link_reach_s * 1000) // size_ms
    last = (conversion["event_time"] + LATENESS_S * 1000) // size_ms
    return bool(first <= record_ms // size_ms <= last)
