"""Letters put on the topic directly: which are meant, which count, which can be replayed."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer

from schemas import wire
from schemas.client.publisher import Publisher
from schemas.definitions import encode, history, parse
from schemas.errors import BadRecord
from schemas.retries import Origin, to_headers
from schemas.topics import dead_letter_topic
from sinks.dead_letters import DeadLetters, RawRecord
from streams.admin import registry
from streams.settings import Settings
from tests.schemas.client.topic import Tail
from tests.streams.replay.commands import done, spendloop

ROLE = "attribution"
TOPIC_ID = "b+c/DoSHSiGT42NkLx1xKw"


@pytest.fixture
def publisher(deployment: Settings) -> Iterator[Publisher]:
    client = registry(deployment)
    with Publisher(deployment.kafka.client(), client, prefix=deployment.namespace) as publisher:
        yield publisher
    client.close()


def put(
    publisher: Publisher,
    offset: int,
    *,
    error: str = "undecodable",
    account: str | None = "acme",
    topic: str = "clicks",
    value: bytes | None = b"value",
    headers: Any = (),
) -> None:
    record = RawRecord(offset, 1_750_000_000_000 + offset, b"key", value, headers)
    bad = BadRecord(0, error, "wrong", 9, account)
    DeadLetters(publisher, ROLE).put(publisher.name(topic), TOPIC_ID, 1, record, bad)
    publisher.flush()


def put_again(publisher: Publisher, offset: int, attempt: int, error: str) -> None:
    """As the role does when a retry fails."""
    origin = Origin(publisher.name("clicks"), TOPIC_ID, 1, offset, 1_750_000_000_000 + offset, attempt)
    put(publisher, offset, error=error, topic=f"{ROLE}.retry", headers=to_headers(origin))


def replayed(settings: Settings, *arguments: str) -> list[Any]:
    retries = Tail(settings, f"{ROLE}.retry")
    done("dlt", "replay", ROLE, "--yes", *arguments)
    return retries.read()


def test_an_original_is_published_with_its_origin(deployment: Settings, publisher: Publisher) -> None:
    own = [("traceparent", b"00"), ("absent", None), ("traceparent", b"\xff")]
    put(publisher, 7, headers=[*own, ("spendloop-attempt", b"forged")])
    [record] = replayed(deployment)
    assert (record.key(), record.value()) == (b"key", b"value")
    origin = Origin(publisher.name("clicks"), TOPIC_ID, 1, 7, 1_750_000_000_007, 2)
    assert record.headers() == [*own, *to_headers(origin)]


def test_a_record_without_key_or_value_is_published_without(deployment: Settings, publisher: Publisher) -> None:
    put(publisher, 8, value=None, error="empty")
    assert [record.value() for record in replayed(deployment)] == [None]


def test_a_letter_written_twice_is_one_and_its_newest_attempt_counts(
    deployment: Settings, publisher: Publisher
) -> None:
    for _ in range(2):
        put(publisher, 1)
    put(publisher, 2)
    put_again(publisher, 2, 3, "bad_value")
    put_again(publisher, 2, 2, "trailing_bytes")
    listed = done("dlt", "list", ROLE)
    assert f"2 dead letters of {ROLE}, of which 1 failed again" in listed
    assert "trailing_bytes" not in listed
    attempts = {dict(r.headers())["spendloop-origin-offset"]: dict(r.headers()) for r in replayed(deployment)}
    assert {offset: headers["spendloop-attempt"] for offset, headers in attempts.items()} == {b"1": b"2", b"2": b"4"}


def test_filters(deployment: Settings, publisher: Publisher) -> None:
    put(publisher, 1, error="empty", account=None, topic="clicks")
    put(publisher, 2, error="bad_value", account="acme", topic="clicks")
    time.sleep(0.01)
    middle = datetime.now(UTC).isoformat()
    put(publisher, 3, error="bad_value", account="beta", topic="conversions")

    def offsets(*arguments: str) -> list[int]:
        shown = done("dlt", "show", ROLE, *arguments).splitlines()
        return sorted(int(line.rpartition(":")[2]) for line in shown if line.startswith("dead letter"))

    assert offsets() == [1, 2, 3]
    assert offsets("--error", "bad_value") == [2, 3]
    assert offsets("--error", "bad_value", "--error", "empty") == [1, 2, 3]
    assert offsets("--account", "acme") == [2]
    assert offsets("--account", "acme", "--account", "beta", "--topic", "conversions") == [3]
    assert offsets("--from", middle) == [3]
    assert offsets("--to", middle) == [1, 2]
    assert offsets("--error", "nothing") == []
    assert offsets("--limit", "1") == [3]


def test_a_letter_that_was_cut_is_not_replayed(deployment: Settings, publisher: Publisher) -> None:
    put(publisher, 1, value=b"v" * 4_000_000)
    put(publisher, 2, headers=[("h", b"x" * 1_000_000)])
    put(publisher, 3)
    dry = done("dlt", "replay", ROLE, "--dry-run")
    assert "2 cannot be replayed, being cut" in dry
    assert f"1 dead letters of {ROLE} to replay" in dry
    assert [dict(record.headers())["spendloop-origin-offset"] for record in replayed(deployment)] == [b"3"]
    shown = done("dlt", "show", ROLE, f"{ROLE}:{TOPIC_ID}:1:1")
    assert "3145728 bytes" in shown
    assert "not possible: cut" in shown


def test_letters_of_the_first_schema_are_read_and_others_left_out(deployment: Settings, publisher: Publisher) -> None:
    topic = dead_letter_topic(ROLE, deployment.namespace)
    first = history("dead-letters")[0]
    client = registry(deployment)
    fields = {"dead_letter_id": "a:b:0:1", "role": ROLE, "topic": publisher.name("clicks"), "topic_id": "b"}
    fields |= {"partition": 0, "offset": 1, "record_time": 5, "error_class": "empty", "error_message": "m"}
    fields |= {"attempt": 1, "headers": []}
    body = encode(parse(first.text), fields)
    own = client.schema_id(topic.subject, first)
    producer = Producer(deployment.kafka.client())
    for value in (wire.frame(own, body), None, b"{}", wire.frame(own, body[:9]), wire.frame(987_654, body)):
        producer.produce(topic.name, value, key=b"k")
    producer.flush(30)
    client.close()
    result = spendloop("dlt", "list", ROLE)
    assert f"1 dead letters of {ROLE}" in result.stdout
    assert "4 records on the topic are no dead letters" in result.stderr


def test_the_terminal_shows_nothing_of_the_original(deployment: Settings, publisher: Publisher) -> None:
    personal = b"jo@example.com"
    put(publisher, 1, value=b"\x00\x00\x00\x00\x2a" + personal, headers=[("h-jo@example.com", personal)])
    shown = done("dlt", "show", ROLE)
    assert "jo@" not in shown + done("dlt", "list", ROLE)
    assert {
        line.split()[0]: line.split(maxsplit=1)[1].strip() for line in shown.splitlines() if line.strip()
    }.items() >= {
        "value": "19 bytes",
        "key": "3 bytes",
        "headers": "1 of 30 bytes",
    }.items()
    assert "schema id    42" in shown


def test_an_account_cannot_write_to_the_terminal(deployment: Settings, publisher: Publisher) -> None:
    put(publisher, 1, account="[red]a\x1b[2J")
    assert "[red]a\ufffd[2J" in done("dlt", "list", ROLE)


def test_the_original_is_written_to_a_new_file_alone(
    deployment: Settings, publisher: Publisher, tmp_path: Path
) -> None:
    put(publisher, 1, value=b"\x00original\xff")
    put(publisher, 2, value=None)
    letter, file = f"{ROLE}:{TOPIC_ID}:1:1", tmp_path / "original"
    done("dlt", "show", ROLE, letter, "--raw", str(file))
    assert file.read_bytes() == b"\x00original\xff"
    assert file.stat().st_mode & 0o777 == 0o600
    again = spendloop("dlt", "show", ROLE, letter, "--raw", str(file))
    assert (again.exit_code, file.read_bytes()) == (1, b"\x00original\xff")
    assert "exists" in again.stderr
    assert "no value" in spendloop("dlt", "show", ROLE, f"{ROLE}:{TOPIC_ID}:1:2", "--raw", f"{file}2").stderr
    missing = spendloop("dlt", "show", ROLE, f"{ROLE}:{TOPIC_ID}:1:3")
    assert missing.exit_code == 1
    assert f"there is no dead letter {ROLE}:{TOPIC_ID}:1:3" in missing.stderr
    assert spendloop("dlt", "show", ROLE, "--raw", str(file)).exit_code == 2


def test_the_rate_is_kept_to(deployment: Settings, publisher: Publisher) -> None:
    for offset in range(10):
        put(publisher, offset)
    began = time.monotonic()
    assert len(replayed(deployment, "--rate", "20/s")) == 10
    assert time.monotonic() - began > 9 / 20


def test_asked_before_anything_is_published(deployment: Settings, publisher: Publisher) -> None:
    put(publisher, 1)
    retries = Tail(deployment, f"{ROLE}.retry")
    refused = spendloop("dlt", "replay", ROLE, typed="n\n")
    assert refused.exit_code == 1
    assert f"Publish 1 records to {ROLE}.retry" in refused.stdout
    assert retries.read() == []
    assert spendloop("dlt", "replay", ROLE, typed="y\n").exit_code == 0
    assert len(retries.read()) == 1


def test_no_dead_letters(deployment: Settings) -> None:
    assert f"0 dead letters of {ROLE}" in done("dlt", "list", ROLE)
    assert done("dlt", "show", ROLE) == ""
    assert f"0 dead letters of {ROLE} to replay" in done("dlt", "replay", ROLE)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nobody"], "'nobody' is none of attribution, loader"),
        ([ROLE, "--from", "yesterday"], "not a time in ISO 8601"),
        ([ROLE, "--from", "2026-03-01T10:00:00"], "has no zone: write 2026-03-01T10:00:00Z"),
        ([ROLE, "--to", "2026-03-01"], "has no zone: write 2026-03-01T00:00:00Z"),
        ([ROLE, "--from", "1969-12-31T23:59:59Z"], "is before 1970"),
        ([ROLE, "--from", "2026-03-01T10:00:00Z", "--to", "2026-03-01T11:00:00+01:00"], "--from is not before --to"),
        ([ROLE, "--topic", "klicks"], "'klicks' is not one of"),
    ],
)
def test_nonsense_is_explained(settings: Settings, arguments: list[str], said: str) -> None:
    result = spendloop("dlt", "list", *arguments)
    assert result.exit_code == 2
    assert said in " ".join(result.stderr.split())


@pytest.mark.parametrize("rate", ["0", "-1", "fast", "5/min"])
def test_no_rate(settings: Settings, rate: str) -> None:
    result = spendloop("dlt", "replay", ROLE, "--rate", rate)
    assert result.exit_code == 2
    assert "not a number of records a second" in result.stderr


def test_a_deployment_without_topics(settings: Settings) -> None:
    result = spendloop("dlt", "list", ROLE)
    assert result.exit_code == 1
    assert "run `spendloop topics apply`" in result.stderr
