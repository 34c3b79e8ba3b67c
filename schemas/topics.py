"""The topics: what each is keyed by, which schema it carries, how long it is kept."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

__all__ = ["TOPICS", "Topic", "dead_letter_topic", "named", "retry_topic", "topics"]

MEBIBYTE = 1 << 20
#: Roles with dead letters, and with retries of them. One added here gets both topics at the next `topics apply`.
DEAD_LETTER_ROLES = ("attribution", "loader")


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic of the contract.

    `name` is Kafka's name, prefix included; `contract` the name the project knows it by and
    `schema` the file of its schema. The record key is the first of the `key` fields that has a value; with
    `is_scoped` the tenant's id stands in front of it, where compaction would take two tenants' for one.
    `event_time` names the field that is held against the ingest time, where a person's clock set it.
    A topic of retries has neither schema nor key fields: its records are those of other topics, with their keys.
    Where it is compacted the last record of each key stays for good, and the others `retention_d` at least.
    """

    name: str
    contract: str
    schema: str | None
    key: tuple[str, ...]
    retention_d: int
    event_time: str | None = None
    max_message_bytes: int = 2 * MEBIBYTE
    is_compacted: bool = False
    is_scoped: bool = False

    @property
    def subject(self) -> str:
        """The registry's name for the schemas of this topic's values (TopicNameStrategy)."""
        return f"{self.name}-value"


def _topic(contract: str, key: tuple[str, ...], retention_d: int, event_time: str | None = None) -> Topic:
    return Topic(contract, contract, contract, key, retention_d, event_time)


#: Retention follows the ingest time, not the event time: an old event that arrives late is kept as long.
TOPICS: Mapping[str, Topic] = {
    topic.contract: topic
    for topic in (
        _topic("clicks", ("visitor_id", "click_id"), 60, "event_time"),
        _topic("conversions", ("conversion_id",), 90, "event_time"),
        _topic("crm-events", ("deal_id",), 400, "event_time"),
        _topic("ad-performance", ("ad_account_id",), 120, "as_of"),
        _topic("attributed-conversions", ("conversion_id",), 120),
        # Of a deal the last version, for as long as it may close.
        replace(_topic("deal-matches", ("deal_id",), 120), is_compacted=True, is_scoped=True),
        _topic("identity-links", ("account_id",), 400),
        _topic("attribution-quality", ("account_id",), 120),
        # Every version, until no conversion is matched anew that was matched with it.
        replace(_topic("match-models", ("account_id",), 60), is_compacted=True),
        _topic("audits", ("account_id",), 400),
        _topic("model-credit", ("account_id",), 120),
        _topic("attribution-totals", ("account_id",), 400),
        _topic("holdouts", ("account_id",), 400),
        *(
            # An envelope around the original, with its headers: it has to be larger than any original.
            Topic(f"{role}.dlt", f"{role}.dlt", "dead-letters", ("dead_letter_id",), 30, None, 4 * MEBIBYTE)
            for role in DEAD_LETTER_ROLES
        ),
        *(
            # An original with six headers more, out of a dead letter: it has to take what fits in one.
            Topic(f"{role}.retry", f"{role}.retry", None, (), 30, None, 4 * MEBIBYTE)
            for role in DEAD_LETTER_ROLES
        ),
    )
}


def topics(prefix: str = "") -> Mapping[str, Topic]:
    """All topics by contract name, under the names they have in a deployment with this prefix."""
    return {name: named(topic, prefix) for name, topic in TOPICS.items()}


def named(topic: Topic, prefix: str) -> Topic:
    """The same topic as it is called in a deployment with this prefix.

    >>> named(TOPICS["clicks"], "eu.").subject
    'eu.clicks-value'
    """
    return replace(topic, name=f"{prefix}{topic.contract}")


def dead_letter_topic(role: str, prefix: str = "") -> Topic:
    """Where a role puts what it cannot process."""
    return named(TOPICS[f"{role}.dlt"], prefix)


def retry_topic(role: str, prefix: str = "") -> Topic:
    """What a role is given to process again; schemas.retries says where each record came from."""
    return named(TOPICS[f"{role}.retry"], prefix)
