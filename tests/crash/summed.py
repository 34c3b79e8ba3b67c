"""Outputs and sums of the fenced consumer, against what was sent."""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence

import pyarrow.compute as pc

from schemas.topics import topics
from streams.settings import Settings
from tests.crash.load import Journeys
from tests.crash.outcome import Found, read_topic
from tests.crash.sums import OUTPUT, SOURCES, output_id, sums_of

__all__ = ["compare"]


def compare(settings: Settings, journeys: Journeys) -> Found:
    """Each record has one output by id, with its own bytes, and is in the sums once, however often it was published."""
    sent = {
        output_id(topics(settings.namespace)[source].name, message.partition(), message.offset()): message.value()
        for source in SOURCES
        for message in read_topic(settings, source)
    }
    outputs: defaultdict[bytes, set[bytes]] = defaultdict(set)
    records = read_topic(settings, OUTPUT)
    for message in records:
        outputs[message.key()].add(message.value())
    found = Found(sent=len(sent), repeated=len(records) - len(outputs))
    found.found = sum(outputs[key] == {value} for key, value in sent.items() if key in outputs)
    found.hold_against(Counter(list(sent)), {key: len(values) for key, values in outputs.items()}, "output")
    clicks, conversions = asyncio.run(_read_sums(settings))
    found.hold_against(Counter(journeys.clicks.column("channel").to_pylist()), clicks, "in the sum of clicks of")
    values = journeys.conversions.column("value_micros")
    found.hold_against({"count": len(values)}, {"count": conversions["count"]}, "in the sum of conversions'")
    if difference := conversions["value"] - pc.sum(values).as_py():
        (found.exceeds if difference > 0 else found.lacks)(f"{abs(difference)} in the sum of conversions' value")
    return found


async def _read_sums(settings: Settings) -> Sequence[Mapping[str, int]]:
    sums = sums_of(settings)
    try:
        return [await sums.read(name) for name in SOURCES]
    finally:
        await sums.close()
