"""Every way a record can be refused, and the one way the registry can be out of reach."""

from dataclasses import dataclass, replace

__all__ = [
    "BadRecord",
    "ContractError",
    "DeliveryFailed",
    "DeliveryPending",
    "IncompatibleSchema",
    "InvalidRecords",
    "NotARetry",
    "PublisherBroken",
    "RegistryUnavailable",
]


@dataclass(frozen=True, slots=True)
class BadRecord:
    """A record that cannot be processed: a failure as data, bound for the dead letters.

    `row` is its position in the batch it came in, `error` a name from docs/dead-letters.md, `message`
    says what was wrong and never repeats the offending value.
    """

    row: int
    error: str
    message: str
    schema_id: int | None = None
    account_id: str | None = None

    def moved_to(self, row: int) -> "BadRecord":
        """The same, at its position in another batch."""
        return replace(self, row=row)


class ContractError(Exception):
    """The contract between publishers and consumers does not hold."""


class IncompatibleSchema(ContractError):
    """The registry refused a schema: it is not FULL_TRANSITIVE compatible with those before it."""


class RegistryUnavailable(ContractError):
    """The schema registry did not answer. An outage, not a bad record: wait and try again."""


class InvalidRecords(ContractError):
    """Records a publisher was asked to send do not meet the contract. None of them was sent."""

    def __init__(self, bad: list[BadRecord]) -> None:
        first = "; ".join(f"record {b.row}: {b.error}: {b.message}" for b in bad[:3])
        more = f"; and {len(bad) - 3} more" if len(bad) > 3 else ""
        super().__init__(first + more)
        self.bad = bad


class NotARetry(ContractError):
    """A record on a retry topic does not say where it came from; the message says what its headers lack."""


class DeliveryFailed(ContractError):
    """Kafka did not acknowledge some records. Those may or may not be on the topic: send them again."""


class DeliveryPending(DeliveryFailed):
    """Kafka has not acknowledged everything in time and is still being asked: flush again, or send again."""


class PublisherBroken(ContractError):
    """The Kafka client cannot go on: it was fenced, or may not write. A new publisher is needed."""
