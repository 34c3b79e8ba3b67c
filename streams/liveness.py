"""How long a process may be silent or busy, so that one taken for dead changes nothing afterwards.

A producer gives a record up before the group takes its process for dead, and a revoke ends before the group goes on
without us: whoever owns a partition next finds all that its owner before will ever do.
"""

from confluent_kafka import KafkaError

__all__ = [
    "DELIVERY_TIMEOUT_S",
    "FENCED_MEMBER",
    "REBALANCE_TIMEOUT_S",
    "REVOKE_BUDGET_S",
    "SESSION_TIMEOUT_S",
    "MemberFenced",
]

#: For so long the partitions of a process that died wait for another.
SESSION_TIMEOUT_S = 15.0
#: What Kafka has not acknowledged by then is given up, and sent again by whoever still owns the partition.
DELIVERY_TIMEOUT_S = 10.0
#: For so long a rebalance waits for a process that is busy.
REBALANCE_TIMEOUT_S = 30.0
#: What a revoke may take.
REVOKE_BUDGET_S = 20.0
#: What a static member is told once, by a commit or a poll. From then on its client is silent.
FENCED_MEMBER = (KafkaError.FENCED_INSTANCE_ID, KafkaError._FATAL)


class MemberFenced(Exception):
    """The group has given the name of this static member to another: it gets nothing more, and cannot join again."""

    def __init__(self, error: KafkaError) -> None:
        super().__init__(
            f"{error.str()}. Either a second process was given the same kafka.group_instance_id, or Kafka was away "
            "while this one joined again; then it only has to be started."
        )
