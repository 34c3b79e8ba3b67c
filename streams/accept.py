"""Going on with a topic where the commits of a role cannot: it was created anew, or retention was faster.

Guarantee: nothing is skipped that the topic still has. A partition whose commit is certainly of the topic as it
is now, and within it, stays where it is; every other begins at the oldest record (delivery.md, rule 8). What was
processed before is processed again, which changes nothing.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from confluent_kafka import ConsumerGroupTopicPartitions, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient

from schemas.topics import topics
from sinks.errors import Unavailable
from streams.admin import topic_ids
from streams.loader.blocks import CommitNote
from streams.offsets import Commit, Offsets
from streams.roles import Generation, Role
from streams.settings import Settings

__all__ = ["RoleRunning", "Standing", "accept", "require_stopped", "standings"]

TIMEOUT_S = 30.0


class RoleRunning(Exception):
    """Processes of a role run, and would commit over what is set for them."""


@dataclass(frozen=True, slots=True)
class Standing:
    """How a role stands with a partition.

    start: where it has to begin; None where it can go on.
    says: what happened, what is lost, and what follows.
    """

    role: Role
    partition: int
    start: int | None
    says: str


def require_stopped(settings: Settings, roles: Collection[Role]) -> None:
    """Raises RoleRunning where one of these roles has a process, Unavailable where Kafka does not answer."""
    admin = AdminClient(settings.kafka.client())
    for role in roles:
        group = settings.group(role.name)
        try:
            found = admin.describe_consumer_groups([group], request_timeout=TIMEOUT_S)[group].result()
        except KafkaException as error:
            if error.args[0].code() == KafkaError.GROUP_ID_NOT_FOUND:
                continue
            raise Unavailable(f"Kafka does not describe {group}: {error.args[0].str()}") from error
        if found.members:
            where = ", ".join(sorted({member.host.lstrip("/") for member in found.members}))
            raise RoleRunning(
                f"{role.name} runs ({len(found.members)} processes in the group {group}, on {where}): stop every "
                f"`spendloop {role.command}` first. One that was killed counts for some seconds more."
            )


def standings(settings: Settings, contract: str, roles: Collection[Role]) -> list[Standing]:
    """How each of these roles stands with each partition of a topic. Raises TopicError, Unavailable."""
    name = topics(settings.namespace)[contract].name
    topic_id = topic_ids(settings.kafka.client(), [name])[name]
    with Offsets(settings) as offsets:
        bounds = offsets.bounds(contract)
        return [
            _standing(role, partition, commit, topic_id, *bounds[partition])
            for role in roles
            for partition, commit in offsets.commits(role.name, contract).items()
        ]


def accept(settings: Settings, contract: str, found: Sequence[Standing]) -> None:
    """Have the roles begin where their standings say. May be repeated. Raises TopicError, RoleRunning, Unavailable."""
    name = topics(settings.namespace)[contract].name
    topic_id = topic_ids(settings.kafka.client(), [name])[name]
    admin = AdminClient(settings.kafka.client())
    for role in {item.role.name: item.role for item in found}.values():
        starts = {item.partition: item.start for item in found if item.role is role and item.start is not None}
        if not starts:
            continue
        # Before the commits, which say that all is done.
        if role.accept is not None:
            role.accept(settings, Generation(name, topic_id, starts))
        note = CommitNote(topic_id).text()
        _commit(admin, settings.group(role.name), [TopicPartition(name, *start, note) for start in starts.items()])


def _standing(role: Role, partition: int, commit: Commit, topic_id: str, low: int, high: int) -> Standing:
    offset, note = commit.offset, CommitNote.read(commit.metadata)
    begins = f"begins at {low}"
    if offset is None and low == high:
        return Standing(role, partition, None, "nothing was committed, and nothing is there")
    if offset is None:
        return Standing(role, partition, low, f"nothing was committed; {begins}")
    if note is not None and note.topic_id != topic_id:
        lost = f"was at {offset} of the topic before ({note.topic_id}): what that had from there on is lost"
        return Standing(role, partition, low, f"{lost}; {begins}")
    if offset > high:
        lost = f"was at {offset}, which is beyond the end: what the topic before had from there on is lost"
        return Standing(role, partition, low, f"{lost}; {begins}")
    if offset < low:
        lost = f"was at {offset}: {low - offset} offsets, to {low - 1}, were removed by retention and are lost"
        return Standing(role, partition, low, f"{lost}; {begins}")
    if note is None:
        return Standing(role, partition, low, f"was at {offset}, perhaps of a topic before; {begins}")
    return Standing(role, partition, None, f"goes on at {offset}")


def _commit(admin: AdminClient, group: str, positions: Sequence[TopicPartition]) -> None:
    """Commit for a group that nobody is in. Raises RoleRunning where somebody has come in meanwhile."""
    request = ConsumerGroupTopicPartitions(group, list(positions))
    try:
        answer = admin.alter_consumer_group_offsets([request], request_timeout=TIMEOUT_S)[group].result()
    except KafkaException as error:
        raise Unavailable(f"Kafka does not take the commit: {error.args[0].str()}") from error
    for position in answer.topic_partitions:
        if position.error is not None:
            raise RoleRunning(f"{position.topic}/{position.partition} of {group}: {position.error.str()}")
