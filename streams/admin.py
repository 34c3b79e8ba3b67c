"""Creates topics and registers schemas, and finds out which generation of a topic is there."""

import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewTopic,
    ResourceType,
)

from schemas.client.registry import Registry
from schemas.definitions import history
from schemas.topics import Topic, topics
from sinks.errors import Unavailable
from streams.settings import Settings

__all__ = [
    "Applied",
    "RecordsGone",
    "TopicError",
    "TopicRecreated",
    "apply_topics",
    "registry",
    "require_same_topics",
    "topic_ids",
]

TIMEOUT_S = 30.0
RETRY_S = 0.2
#: What is asked every few seconds also tells that Kafka does not answer.
BRIEF_TIMEOUT_S = 5.0
DAY_MS = 86_400_000


class TopicError(Exception):
    """A topic is not as the contract says, and nothing can change that without a person."""


class TopicRecreated(Exception):
    """A topic was deleted and created again: its offsets mean other records than the commits do."""

    def __init__(self, topic: str, was: str, now: str, group: str) -> None:
        super().__init__(
            f"{topic} was created anew (it was {was}, it is {now}): its offsets are other records now. To go on with "
            f"the new topic, stop every process of the group {group} and run `spendloop topics accept`."
        )


class RecordsGone(Exception):
    """Kafka no longer has the records a role would have to go on with."""

    def __init__(self, topic: str, partition: int, start: int, log_start: int, log_end: int | None = None) -> None:
        if start < log_start:
            lost = f"the records from {start} to {log_start - 1} are gone: retention removed them before they were read"
        else:
            lost = f"the log ends at {log_end}, before {start}: Kafka has lost records that were read"
        super().__init__(
            f"{topic}, partition {partition}: {lost}. Nothing is skipped in silence: to go on with what is left, "
            "stop the role and run `spendloop topics accept`."
        )


@dataclass(frozen=True, slots=True)
class Applied:
    """What `apply_topics` found or did for one topic."""

    topic: str
    partitions: int
    created: bool
    new_versions: int


def registry(settings: Settings) -> Registry:
    """The client of the configured registry."""
    section = settings.registry
    return Registry(section.url, user=section.user, password=section.password.get_secret_value())


def apply_topics(settings: Settings) -> list[Applied]:
    """Create what is missing and register every schema version; what is there already stays as it is.

    Raises TopicError where a topic has another number of partitions than the settings say, IncompatibleSchema,
    RegistryUnavailable or Unavailable.
    """
    admin = AdminClient(settings.kafka.client())
    wanted = topics(settings.namespace)
    present = _partition_counts(admin)
    for topic in wanted.values():
        _require_partitions(topic, present.get(topic.name), settings.kafka.partitions)
    missing = [topic for topic in wanted.values() if topic.name not in present]
    if unheard_of := _create(admin, missing, settings):
        present |= _counts_of(admin, unheard_of)
        missing = [topic for topic in missing if topic.name not in present]
        for topic in wanted.values():
            _require_partitions(topic, present.get(topic.name), settings.kafka.partitions)
    _configure(admin, [topic for topic in wanted.values() if topic.name in present], settings)
    client = registry(settings)
    try:
        return [
            Applied(
                topic.name,
                present.get(topic.name, settings.kafka.partitions),
                topic in missing,
                client.register(topic.subject, history(topic.schema)) if topic.schema else 0,
            )
            for topic in wanted.values()
        ]
    finally:
        client.close()


def topic_ids(kafka: Mapping[str, Any], names: Collection[str], timeout_s: float = TIMEOUT_S) -> dict[str, str]:
    """Kafka's ids of these topics: a topic deleted and created again under its name is another topic.

    Raises TopicError for one that is not there, Unavailable where Kafka does not answer.
    """
    admin = AdminClient(dict(kafka))
    found = {}
    for name, future in admin.describe_topics(TopicCollection(list(names)), request_timeout=timeout_s).items():
        try:
            found[name] = str(future.result().topic_id)
        except KafkaException as error:
            if error.args[0].code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
                raise TopicError(f"topic {name} is not there: run `spendloop topics apply`") from error
            raise Unavailable(f"Kafka does not answer: {error.args[0].str()}") from error
    return found


def require_same_topics(kafka: Mapping[str, Any], known: Mapping[str, str], group: str) -> None:
    """Raises TopicRecreated where a topic has another id than the one known; otherwise as `topic_ids`."""
    for topic, topic_id in topic_ids(kafka, list(known), BRIEF_TIMEOUT_S).items():
        if topic_id != known[topic]:
            raise TopicRecreated(topic, known[topic], topic_id, group)


def _partition_counts(admin: AdminClient) -> dict[str, int]:
    try:
        metadata = admin.list_topics(timeout=TIMEOUT_S)
    except KafkaException as error:
        raise Unavailable(f"Kafka does not answer: {error.args[0].str()}") from error
    return {name: len(topic.partitions) for name, topic in metadata.topics.items()}


def _require_partitions(topic: Topic, present: int | None, wanted: int) -> None:
    if present is not None and present != wanted:
        raise TopicError(
            f"{topic.name} has {present} partitions and the settings say {wanted}. The number is fixed, since "
            "records of one key would move to another partition. To change it: create the deployment anew under "
            "another `namespace` and `clickhouse.database`, publish to it, and retire this one when its topics "
            "have run out; or set "
            f"kafka.partitions = {present}."
        )


def _counts_of(admin: AdminClient, names: Collection[str]) -> dict[str, int]:
    """The same of topics that are there and of which a broker may not have heard yet. Raises Unavailable."""
    deadline = time.monotonic() + TIMEOUT_S
    while set(names) - (found := _partition_counts(admin)).keys():
        if time.monotonic() > deadline:
            raise Unavailable(f"Kafka has {', '.join(sorted(names))} and does not say how many partitions they have")
        time.sleep(RETRY_S)
    return {name: found[name] for name in names}


def _create(admin: AdminClient, missing: Collection[Topic], settings: Settings) -> set[str]:
    """Create topics; the names of those that somebody else has created, a moment ago. Raises TopicError."""
    present = set()
    new = [
        NewTopic(
            topic.name,
            num_partitions=settings.kafka.partitions,
            replication_factor=settings.kafka.replication_factor,
            config=_config(topic, settings.kafka.replication_factor),
        )
        for topic in missing
    ]
    for name, future in admin.create_topics(new, request_timeout=TIMEOUT_S).items() if new else ():
        try:
            future.result()
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise TopicError(f"{name} could not be created: {error.args[0].str()}") from error
            present.add(name)
    return present


def _configure(admin: AdminClient, present: Collection[Topic], settings: Settings) -> None:
    """Bring the settings the contract knows of to what it says; an operator's own stay."""
    replication_factor = settings.kafka.replication_factor
    resources = [
        ConfigResource(
            ResourceType.TOPIC,
            topic.name,
            incremental_configs=[
                ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)
                for name, value in _config(topic, replication_factor).items()
            ],
        )
        for topic in present
    ]
    for resource, future in admin.incremental_alter_configs(resources).items() if resources else ():
        try:
            future.result()
        except KafkaException as error:
            raise TopicError(f"{resource.name} could not be configured: {error.args[0].str()}") from error


def _config(topic: Topic, replication_factor: int) -> dict[str, str]:
    kept_ms = str(topic.retention_d * DAY_MS)
    config = {
        **(
            {"cleanup.policy": "compact", "min.compaction.lag.ms": kept_ms}
            if topic.is_compacted
            else {"cleanup.policy": "delete", "retention.ms": kept_ms}
        ),
        "max.message.bytes": str(topic.max_message_bytes),
        # The record timestamp is the ingest time: the broker's clock, not one a publisher could set.
        "message.timestamp.type": "LogAppendTime",
    }
    if replication_factor > 2:
        config["min.insync.replicas"] = "2"
    return config
