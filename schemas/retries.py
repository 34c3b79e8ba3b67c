"""The headers of a retry: where the record was first, so that to process it again is to repeat it.

A retry has the key, the value and the headers of the original, and six headers more. Names that begin with
`spendloop-` are kept for these: an original's own are left out of its retry.
"""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass

from schemas.errors import NotARetry
from schemas.validation import LAST

__all__ = ["Headers", "Origin", "foreign", "origin_of", "to_headers"]

Headers = Sequence[tuple[str, bytes | None]]

RESERVED = "spendloop-"
TOPIC, TOPIC_ID, PARTITION, OFFSET, TIME, ATTEMPT = NAMES = (
    "spendloop-origin-topic",
    "spendloop-origin-topic-id",
    "spendloop-origin-partition",
    "spendloop-origin-offset",
    "spendloop-origin-time",
    "spendloop-attempt",
)
#: What Kafka calls topics and their ids, which clients write in either alphabet of base 64.
TEXTS: Mapping[str, re.Pattern[str]] = {
    TOPIC: re.compile(r"[A-Za-z0-9._-]{1,249}"),
    TOPIC_ID: re.compile(r"[A-Za-z0-9+/=_-]{1,64}"),
}
#: The least and the greatest of each number.
NUMBERS: Mapping[str, tuple[int, int]] = {
    PARTITION: (0, 2**31 - 1),
    OFFSET: (0, 2**63 - 1),
    TIME: (0, LAST["timestamp-millis"]),
    ATTEMPT: (1, 2**31 - 1),
}
NUMBER = re.compile(r"[0-9]{1,19}")


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a record was first, under Kafka's names, and for which time it is processed now.

    time_ms: Kafka's timestamp of the original, which is its ingest time.
    """

    topic: str
    topic_id: str
    partition: int
    offset: int
    time_ms: int
    attempt: int


def to_headers(origin: Origin) -> list[tuple[str, bytes | None]]:
    """The six headers.

    >>> to_headers(Origin("clicks", "A1b2", 3, 991, 1_750_000_000_000, 2))[3]
    ('spendloop-origin-offset', b'991')
    """
    return [(name, str(value).encode()) for name, value in zip(NAMES, astuple(origin), strict=True)]


def origin_of(headers: Headers) -> Origin:
    """What the headers of a retry say. Raises NotARetry where one is missing, repeated or not what it should be."""
    given = Counter(name for name, _ in headers if name in NAMES)
    if missing := [name for name in NAMES if name not in given]:
        raise NotARetry(f"without the headers {', '.join(missing)}")
    if repeated := [name for name, count in given.items() if count > 1]:
        raise NotARetry(f"with {', '.join(repeated)} more than once")
    values = dict(headers)
    return Origin(
        _text(TOPIC, values),
        _text(TOPIC_ID, values),
        _number(PARTITION, values),
        _number(OFFSET, values),
        _number(TIME, values),
        _number(ATTEMPT, values),
    )


def foreign(headers: Headers) -> list[tuple[str, bytes | None]]:
    """The headers that are the publisher's own, in order.

    >>> foreign([("traceparent", b"00"), ("spendloop-attempt", b"2"), ("traceparent", None)])
    [('traceparent', b'00'), ('traceparent', None)]
    """
    return [(name, value) for name, value in headers if not name.startswith(RESERVED)]


def _text(name: str, values: Mapping[str, bytes | None]) -> str:
    text = (values[name] or b"").decode("ascii", errors="replace")
    if not TEXTS[name].fullmatch(text):
        raise NotARetry(f"{name} is not what Kafka would call one")
    return text


def _number(name: str, values: Mapping[str, bytes | None]) -> int:
    text = (values[name] or b"").decode("ascii", errors="replace")
    least, greatest = NUMBERS[name]
    if not NUMBER.fullmatch(text) or not least <= int(text) <= greatest:
        raise NotARetry(f"{name} is not a whole number between {least} and {greatest}")
    return int(text)
