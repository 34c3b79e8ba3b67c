"""What each check of the codec costs, and what it would cost to do it otherwise.

Clicks like the demo's, with 8 fields given, and clicks with most of them.
"""

import io
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import fastavro
import numpy as np
import pyarrow as pa
import pyruhvro
from rich.table import Table

from schemas import wire
from schemas.client.writer import RecordWriter
from schemas.codec import SEAL_FIELD, Decoder, with_seal
from schemas.definitions import definition, encode, parse, without_logical_types
from schemas.strings import holds_text, require_utf8
from schemas.topics import TOPICS
from schemas.validation import DAY_MS, EventTimeBounds, Validator
from tests.bench.timing import Measurement, ns_per_record

RECORDS = 5_000
NOW_MS = 1_750_000_000_000
TOPIC = TOPICS["clicks"]
SCHEMA = definition("clicks")
SCHEMA_ID = 7
BOUNDS = EventTimeBounds(90 * DAY_MS, 3_600_000)
INGEST_MS = np.full(RECORDS, NOW_MS, np.int64)
PARSED = parse(SCHEMA.text)
PLAIN = parse(without_logical_types(SCHEMA.text))


class _Registry:
    def writer_schemas(self, subject: str, schema_ids: Any) -> Mapping[int, str]:
        return {SCHEMA_ID: SCHEMA.text}


def table(found: Sequence[Measurement]) -> Table:
    """A row for what was measured, a column for the data it was measured on."""
    kinds = list(dict.fromkeys(item.data for item in found))
    rows: dict[str, dict[str, float]] = {}
    for item in found:
        rows.setdefault(item.what, {})[item.data] = item.ns_per_record
    table = Table("ns a record", *kinds, title="codec")
    for column in table.columns[1:]:
        column.justify = "right"
    for what, by_kind in rows.items():
        table.add_row(what, *(f"{by_kind[kind]:,.0f}" if kind in by_kind else "" for kind in kinds))
    return table


def run() -> Iterator[Measurement]:
    """Every figure, once for each kind of click."""
    for name, record in {"sparse": _sparse, "full": _full}.items():
        records = [record(number) for number in range(RECORDS)]
        messages = [wire.frame(SCHEMA_ID, encode(PLAIN, item)) for item in records]
        data = f"{name}, {sum(map(len, messages)) // RECORDS} B"
        for steps in (_decoding(messages), _publishing(records)):
            for what, step in steps.items():
                yield Measurement(what, data, ns_per_record(step, RECORDS, 3 if "fastavro" in what else 9))


def _decoding(messages: list[bytes]) -> dict[str, Callable[[], Any]]:
    seal = encode(parse('{"type": "long"}'), 2**61 + 12345)
    sealed_text = with_seal(SCHEMA.text)
    bodies = [message[wire.HEADER_BYTES :] for message in messages]
    sealed = [body + seal for body in bodies]
    batch = pyruhvro.deserialize_array(bodies, SCHEMA.text)
    validator = Validator(SCHEMA, TOPIC.event_time, BOUNDS)
    decoder = Decoder(TOPIC, _Registry(), BOUNDS)
    one_bad = [*messages[:3_210], messages[3_210][:-1], *messages[3_211:]]

    def decode_sealed() -> Any:
        found = pyruhvro.deserialize_array(sealed, sealed_text)
        return (found.column(SEAL_FIELD).to_numpy() == 1).all()

    def encode_again() -> bool:
        [again] = pyruhvro.serialize_record_batch(batch, SCHEMA.text, 1)
        return bool(again.equals(pa.array(bodies, again.type)))

    def one_by_one() -> list[Any]:
        return [fastavro.schemaless_reader(io.BytesIO(body), PARSED, None) for body in bodies]

    return {
        "schema ids from the headers": lambda: wire.schema_ids(messages),
        "bodies cut from the messages": lambda: [message[wire.HEADER_BYTES :] for message in messages],
        "bodies cut and sealed": lambda: [message[wire.HEADER_BYTES :] + seal for message in messages],
        "Arrow decode": lambda: pyruhvro.deserialize_array(bodies, SCHEMA.text),
        "Arrow decode with the seal, compared": decode_sealed,
        "instead of the seal: encode again, compare": encode_again,
        "text is UTF-8": lambda: [require_utf8(column) for column in batch.columns if holds_text(column.type)],
        "rules that refuse": lambda: validator.refuse(batch, INGEST_MS),
        "rules that drop": lambda: validator.drop_bad_fields(batch),
        "Decoder.decode, all of it": lambda: decoder.decode(messages, INGEST_MS),
        "Decoder.decode, one bad record in 5,000": lambda: decoder.decode(one_bad, INGEST_MS),
        "fastavro, record by record, no checks": one_by_one,
    }


def _publishing(records: list[dict[str, Any]]) -> dict[str, Callable[[], Any]]:
    writer = RecordWriter(TOPIC, SCHEMA, SCHEMA_ID, None)
    batch, bad = writer.from_records(records, Counter())
    assert not bad
    given = [name for name in batch.schema.names if batch.column(name).null_count < RECORDS]
    table = pa.Table.from_batches([batch]).select(given)
    return {
        "publish_table: columns checked": lambda: writer.from_table(table, Counter()),
        "publish_table: encoded": lambda: list(zip(writer.keys(batch), writer.encode(batch), strict=True)),
        "publish_records: records checked": lambda: writer.from_records(records, Counter()),
        "fastavro, encoded record by record": lambda: [encode(PLAIN, record) for record in records],
    }


def _sparse(number: int) -> dict[str, Any]:
    visitor = f"v{number % 9_973}-{number % 7}"
    return {
        **SCHEMA.defaults,
        "account_id": "demo",
        "click_id": f"{visitor}-{number}",
        "visitor_id": visitor,
        "event_time": NOW_MS - number * 1_000,
        "channel": ("alpha", "beta", "eta", "iota")[number % 4],
        "campaign_id": f"campaign-{('alpha', 'beta', 'eta', 'iota')[number % 4]}",
        "consent": "granted",
        "limited_data_use": False,
    }


def _full(number: int) -> dict[str, Any]:
    fbclid = f"IwAR{number:040x}_aBcD-eF"
    ids = dict.fromkeys(("ad_account_id", "adset_id", "ad_id", "creative_id"), f"2385{number % 97:011d}")
    return {
        **_sparse(number),
        **ids,
        "ingest_time": NOW_MS,
        "landing_url": f"https://shop.example/p/{number % 500}?utm_source=facebook&utm_medium=paid&fbclid={fbclid}",
        "referrer": "https://m.facebook.com/",
        "utm_source": "facebook",
        "utm_medium": "paid",
        "utm_campaign": "spring sale",
        "fbclid": fbclid,
        "fbp": f"fb.1.{NOW_MS}.{1_000_000_000 + number}",
        "email_sha256": f"{number:064x}",
        "external_id_sha256": f"{number * 7:064x}",
        "user_agent": "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 Safari/604.1",
        "ip": f"198.51.100.{number % 256}",
        "language": "de-DE",
        "time_zone": "Europe/Berlin",
        "screen_width": 390,
        "screen_height": 844,
        "pixel_ratio": 3.0,
    }
