"""Good records of every input topic, messages made of them, and a table in the place of the registry."""

import random
from collections.abc import Collection, Mapping
from typing import Any

from hypothesis import strategies as st

from schemas import wire
from schemas.definitions import definition, encode, parse, without_logical_types
from schemas.topics import TOPICS
from schemas.validation import DAY_MS, EventTimeBounds

INPUTS = ("clicks", "conversions", "crm-events", "ad-performance")
OWN_ID = {contract: number for number, contract in enumerate(INPUTS, 1)}
#: The field that tells a record from the others of its topic.
ID_FIELD = {"clicks": "click_id", "conversions": "conversion_id", "crm-events": "event_id", "ad-performance": "ad_id"}
NOW_MS = 1_750_000_000_000
BOUNDS = EventTimeBounds(max_age_ms=90 * DAY_MS, max_ahead_ms=3_600_000)
PLAIN = {contract: parse(without_logical_types(definition(contract).text)) for contract in INPUTS}
HASH = "ab" * 32


class Schemas:
    """A registry that is a table: subject -> id -> text. Counts the looks at it."""

    def __init__(self, by_subject: Mapping[str, Mapping[int, str]] | None = None) -> None:
        own = {TOPICS[name].subject: {OWN_ID[name]: definition(name).text} for name in INPUTS}
        self._by_subject = own if by_subject is None else by_subject
        self.looks = 0

    def writer_schemas(self, subject: str, schema_ids: Collection[int]) -> Mapping[int, str]:
        self.looks += 1
        known = self._by_subject.get(subject, {})
        return {schema_id: known[schema_id] for schema_id in schema_ids if schema_id in known}


def full_record(contract: str, seed: int = 0) -> dict[str, Any]:
    """A good record with every field given."""
    return {
        field["name"]: _full_value(field, field["type"], random.Random(seed)) for field in definition(contract).fields
    }


def body(contract: str, record: Mapping[str, Any]) -> bytes:
    return encode(PLAIN[contract], record)


def message(contract: str, record: Mapping[str, Any]) -> bytes:
    return wire.frame(OWN_ID[contract], body(contract, record))


def records(contract: str) -> st.SearchStrategy[dict[str, Any]]:
    """Any record that breaks no rule."""
    return st.fixed_dictionaries(
        {field["name"]: _values(field, field["type"]) for field in definition(contract).fields}
    )


def _full_value(field: Mapping[str, Any], avro: Any, choose: random.Random) -> Any:
    if isinstance(avro, list):
        avro = avro[1]
    kind = avro["type"] if isinstance(avro, dict) else avro
    if kind == "array":
        return [_full_value(field, avro["items"], choose) for _ in range(2)]
    if kind == "record":
        return {member["name"]: _full_value(member, member["type"], choose) for member in avro["fields"]}
    if kind == "map":
        return {"fn": HASH, "ct": HASH}
    if isinstance(avro, dict):
        return NOW_MS - choose.randrange(DAY_MS) if avro["logicalType"] == "timestamp-millis" else 20_000
    if kind == "string":
        if "pattern" in field:
            return choose.choice(["EUR", "USD", "JPY"])
        return (
            HASH
            if "drop_unless" in field
            else f"{field['name']}-é-{choose.randrange(1000)}"[: field["max_length"] // 2]
        )
    return {"int": 1080, "long": choose.randrange(10**9), "double": 2.5, "boolean": True}[kind]


def _values(field: Mapping[str, Any], avro: Any) -> st.SearchStrategy[Any]:
    if isinstance(avro, list):
        return st.none() | _values(field, avro[1])
    kind = avro["type"] if isinstance(avro, dict) else avro
    if kind == "array":
        return st.lists(_values(field, avro["items"]), max_size=3)
    if kind == "record":
        return st.fixed_dictionaries({member["name"]: _values(member, member["type"]) for member in avro["fields"]})
    if kind == "map":
        return st.dictionaries(st.sampled_from(["fn", "ln", "f5_1"]), st.just(HASH), max_size=2)
    if isinstance(avro, dict):
        if avro["logicalType"] == "date":
            return st.integers(0, 84_000)
        if field["name"] in ("event_time", "as_of"):
            return st.integers(NOW_MS - 90 * DAY_MS, NOW_MS + 3_600_000)
        return st.integers(0, 7_258_118_400_000)
    return {"string": _strings, "int": _ints, "long": _longs, "double": _doubles, "boolean": _booleans}[kind](field)


def _strings(field: Mapping[str, Any]) -> st.SearchStrategy[str]:
    if "pattern" in field:
        return st.text(st.sampled_from("ABCXYZ"), min_size=3, max_size=3)
    if "drop_unless" in field:
        return st.text(st.sampled_from("0189abf"), min_size=64, max_size=64)
    encodable = st.characters(exclude_categories=["Cs"])
    return st.text(encodable, min_size=1 if field.get("non_empty") else 0, max_size=min(12, field["max_length"] // 4))


def _ints(field: Mapping[str, Any]) -> st.SearchStrategy[int]:
    return st.integers(-(2**31), 2**31 - 1)


def _longs(field: Mapping[str, Any]) -> st.SearchStrategy[int]:
    return st.integers(*field.get("range", (-(2**63), 2**63 - 1)))


def _doubles(field: Mapping[str, Any]) -> st.SearchStrategy[float]:
    return st.floats(allow_nan=False, allow_infinity=False)


def _booleans(field: Mapping[str, Any]) -> st.SearchStrategy[bool]:
    return st.booleans()
