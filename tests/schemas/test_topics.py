import pytest

from schemas.definitions import definition
from schemas.topics import DEAD_LETTER_ROLES, TOPICS, dead_letter_topic, named, retry_topic, topics

everywhere = pytest.mark.parametrize("topic", TOPICS.values(), ids=TOPICS)
WITH_SCHEMA = {name: topic for name, topic in TOPICS.items() if topic.schema}
with_schema = pytest.mark.parametrize("topic", WITH_SCHEMA.values(), ids=WITH_SCHEMA)


@with_schema
def test_keys_and_event_time_are_fields_of_the_schema(topic) -> None:
    schema = definition(topic.schema)
    fields = {field["name"]: field for field in schema.fields}
    assert set(topic.key) <= fields.keys()
    assert topic.event_time is None or topic.event_time in schema.required
    # The last of them decides where no other has a value: it always has one.
    assert topic.key[-1] in schema.required
    assert fields[topic.key[-1]]["non_empty"]


@everywhere
def test_event_times_are_times(topic) -> None:
    if topic.event_time:
        field = next(field for field in definition(topic.schema).fields if field["name"] == topic.event_time)
        assert field["type"] == {"type": "long", "logicalType": "timestamp-millis"}


@everywhere
def test_a_namespace_is_in_front_of_the_topic_and_its_subject(topic) -> None:
    moved = named(topic, "eu.")
    assert (moved.name, moved.subject, moved.contract) == (
        f"eu.{topic.contract}",
        f"eu.{topic.contract}-value",
        topic.contract,
    )
    assert topics("eu.")[topic.contract] == moved
    assert named(moved, "") == topic


@with_schema
def test_a_dead_letter_has_room_for_the_largest_original(topic) -> None:
    if topic.schema != "dead-letters":
        for role in ("attribution", "loader"):
            assert dead_letter_topic(role).max_message_bytes > topic.max_message_bytes + (1 << 20)


@pytest.mark.parametrize("role", DEAD_LETTER_ROLES)
def test_what_is_in_a_dead_letter_can_be_retried(role: str) -> None:
    assert retry_topic(role).max_message_bytes >= dead_letter_topic(role).max_message_bytes
    assert retry_topic(role, "eu.").name == f"eu.{role}.retry"


def test_every_topic_but_those_of_retries_has_a_schema() -> None:
    assert TOPICS.keys() - WITH_SCHEMA.keys() == {f"{role}.retry" for role in DEAD_LETTER_ROLES}
    with pytest.raises(KeyError):
        definition(retry_topic("loader").schema)


def test_a_role_without_a_dead_letter_topic_is_an_error() -> None:
    with pytest.raises(KeyError):
        dead_letter_topic("nobody")


def test_what_everything_is_keyed_and_kept_by() -> None:
    """These are fixed for the life of a deployment: a record of a key would go to another partition."""
    assert {name: (topic.key, topic.retention_d) for name, topic in TOPICS.items()} == {
        "clicks": (("visitor_id", "click_id"), 60),
        "conversions": (("conversion_id",), 90),
        "crm-events": (("deal_id",), 400),
        "ad-performance": (("ad_account_id",), 120),
        "attributed-conversions": (("conversion_id",), 120),
        "deal-matches": (("deal_id",), 120),
        "identity-links": (("account_id",), 400),
        "attribution-quality": (("account_id",), 120),
        "match-models": (("account_id",), 60),
        "audits": (("account_id",), 400),
        "model-credit": (("account_id",), 120),
        "attribution-totals": (("account_id",), 400),
        "holdouts": (("account_id",), 400),
        "attribution.dlt": (("dead_letter_id",), 30),
        "loader.dlt": (("dead_letter_id",), 30),
        "attribution.retry": ((), 30),
        "loader.retry": ((), 30),
    }
