"""What a decoder must say of one message, found the slow way: fastavro, and the rules value by value."""

import io
import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

import fastavro

from schemas import wire
from schemas.definitions import definition
from schemas.topics import TOPICS
from schemas.validation import EventTimeBounds
from tests.schemas.messages import BOUNDS, OWN_ID, PLAIN

#: 2200-01-01 in milliseconds and in days.
END_MS, END_DAY = 7_258_118_400_000, 84_006


def judge(
    contract: str, message: bytes | None, ingest_ms: int, bounds: EventTimeBounds = BOUNDS
) -> dict[str, Any] | None:
    """The record the message holds as the decoder should give it, None where the message is bad."""
    if not message or len(message) <= wire.HEADER_BYTES or message[:5] != wire.header(OWN_ID[contract]):
        return None
    stream = io.BytesIO(message[5:])
    try:
        record = fastavro.schemaless_reader(stream, PLAIN[contract], None)
    except Exception:
        return None
    assert isinstance(record, dict)
    if stream.read() or any(_broken(record, contract, ingest_ms, bounds)):
        return None
    return {
        field["name"]: _kept(field, record[field["name"]]) if "drop_unless" in field else record[field["name"]]
        for field in definition(contract).fields
    }


def _broken(record: Mapping[str, Any], contract: str, ingest_ms: int, bounds: EventTimeBounds) -> Iterator[bool]:
    event_time = TOPICS[contract].event_time
    for field in definition(contract).fields:
        if field["name"] == event_time:
            yield not -bounds.max_age_ms <= record[event_time] - ingest_ms <= bounds.max_ahead_ms
        else:
            yield from _breaks(field, field["type"], record[field["name"]])


def _breaks(rules: Mapping[str, Any], avro: Any, value: Any) -> Iterator[bool]:
    if isinstance(avro, list):
        avro = avro[1]
    if value is None:
        return
    if isinstance(value, list):
        for item in value:
            yield from _breaks(rules, avro["items"], item)
    elif isinstance(value, dict) and avro["type"] == "record":
        for member in avro["fields"]:
            yield from _breaks(member, member["type"], value[member["name"]])
    elif isinstance(value, str):
        yield bool(rules.get("non_empty")) and value == ""
        yield len(value.encode()) > rules.get("max_length", math.inf)
        yield "pattern" in rules and re.fullmatch(rules["pattern"].strip("^$"), value) is None
    elif isinstance(value, float):
        yield not math.isfinite(value)
    elif isinstance(value, int) and not isinstance(value, bool):
        logical = avro.get("logicalType") if isinstance(avro, dict) else None
        least, greatest = {"timestamp-millis": (0, END_MS), "date": (0, END_DAY)}.get(
            logical or "", rules.get("range", (-(2**63), 2**63 - 1))
        )
        yield not least <= value <= greatest
        yield avro == "int" and not -(2**31) <= value < 2**31


def _kept(field: Mapping[str, Any], value: Any) -> Any:
    def good(text: str, pattern: str) -> bool:
        return re.fullmatch(pattern.strip("^$"), text) is not None

    if isinstance(value, dict):
        return {
            key: text
            for key, text in value.items()
            if good(text, field["drop_unless"]) and good(key, field["drop_unless_key"])
        }
    return value if value is None or good(value, field["drop_unless"]) else None
