"""The history of every schema. What is released stays, and every version reads and is read by every other."""

import copy
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.resources import files
from itertools import pairwise, permutations
from typing import Any

import avro.schema
import pyarrow as pa
import pytest
from avro.compatibility import ReaderWriterCompatibilityChecker, SchemaCompatibilityType

from schemas.definitions import (
    Definition,
    arrow_schema,
    compact,
    definition,
    encode,
    from_records,
    history,
    parse,
    without_logical_types,
)
from schemas.topics import TOPICS
from tests.schemas.messages import full_record

FOLDER = files("schemas") / "avro"
RELEASED: Mapping[str, str] = json.loads((FOLDER / "released.json").read_text(encoding="utf-8"))
NAMES = sorted({topic.schema for topic in TOPICS.values() if topic.schema})
every_schema = pytest.mark.parametrize("name", NAMES)
#: Attributes that are rules, and the Avro types they are rules of.
RULES = {
    "non_empty": {"string"},
    "max_length": {"string"},
    "pattern": {"string"},
    "drop_unless": {"string", "map"},
    "drop_unless_key": {"map"},
    "range": {"long", "int", "array"},
}
#: Names that say it all; any other field has a `doc`.
OBVIOUS = {
    *("account_id", "order_id", "deal_id", "contact_id", "pipeline_id", "campaign_id", "adset_id", "ad_id"),
    *("creative_id", "click_id", "visitor_id", "schema_id", "topic_id", "gclid", "landing_url", "referrer"),
    *("event_source_url", "utm_source", "utm_medium", "utm_campaign", "utm_term", "utm_content", "utm_id"),
    *("pixel_ratio", "from_stage", "to_stage", "deal_created_time", "amount_micros", "value_micros", "close_reason"),
    *("impressions", "link_clicks", "reach", "action_type", "count", "candidates", "touchpoints", "probability"),
    *("event_time", "interaction", "channel", "ad_account_id", "lookback_window_s", "model_version"),
    *(
        "origin_partition",
        "origin_offset",
        "role",
        "topic",
        "partition",
        "offset",
        "attempt",
        "key",
        "value",
        "headers",
    ),
}


def fingerprint(text: str) -> str:
    """Of all there is in a schema, defaults, rules and docs included; Avro's own leaves them out."""
    return hashlib.sha256(compact(text).encode()).hexdigest()


# --- What is checked: each function gives the problems it finds ---


def release_problems(present: Mapping[str, str], released: Mapping[str, str]) -> Iterator[str]:
    """`present`: the text of each file; `released`: its fingerprint when it was released."""
    for file, text in present.items():
        if file not in released:
            yield f'{file} is not in released.json: "{file}": "{fingerprint(text)}"'
        elif released[file] != fingerprint(text):
            yield f"{file} was changed after its release: put the change into a new version"
    yield from (f"{file} was released and is gone" for file in released.keys() - present.keys())


def version_problems(versions: Sequence[Definition]) -> Iterator[str]:
    numbers = [version.version for version in versions]
    if numbers != list(range(1, len(versions) + 1)):
        yield f"{versions[0].name} has versions {numbers}"
    for one, other in permutations(versions, 2):
        checked = ReaderWriterCompatibilityChecker().get_compatibility(
            reader=avro.schema.parse(one.text), writer=avro.schema.parse(other.text)
        )
        if checked.compatibility is not SchemaCompatibilityType.compatible:
            yield f"{one.name} v{one.version} cannot read v{other.version}: {checked.messages}"
    for older, newer in pairwise(versions):
        yield from member_problems(older, newer)


def member_problems(older: Definition, newer: Definition) -> Iterator[str]:
    """Members of nested records are projected by Arrow, whose only default is null."""
    before, after = dict(nested_members(older)), dict(nested_members(newer))
    for path in before.keys() ^ after.keys():
        member = before.get(path) or after[path]
        if (
            path.rpartition(".")[0] in {other.rpartition(".")[0] for other in before}
            and member.get("default", 0) is not None
        ):
            yield f"{path} comes or goes without null as its default"


def convention_problems(schema: Definition) -> Iterator[str]:
    first = schema.fields[0]
    if schema.name != "dead-letters" and (first["name"] != "account_id" or not first.get("non_empty")):
        yield "account_id is not the first field, or may be empty"
    if [topic for topic in TOPICS.values() if topic.schema == schema.name and topic.key[-1] not in schema.required]:
        yield "the key of its topic is not required"
    for field in [*schema.fields, *(member for _, member in nested_members(schema))]:
        yield from field_problems(field)


def field_problems(field: Mapping[str, Any]) -> Iterator[str]:
    name, avro_type = field["name"], field["type"]
    inner = avro_type[-1] if isinstance(avro_type, list) else avro_type
    kind = inner["type"] if isinstance(inner, dict) else inner
    logical = inner.get("logicalType") if isinstance(inner, dict) else None
    if isinstance(avro_type, list):
        yield from nullable_problems(field)
    if kind not in {"string", "boolean", "int", "long", "double", "bytes", "array", "map", "record"}:
        yield f"{name} is of type {kind}, which no consumer expects"
    if kind == "string" and not field.keys() & {"max_length", "pattern", "drop_unless"}:
        yield f"{name} has no bound"
    if name.endswith("_micros") and "range" not in field:
        yield f"{name} has no range"
    if name.endswith("_time") and logical != "timestamp-millis":
        yield f"{name} is not a time"
    if name.endswith("_sha256") and "drop_unless" not in field:
        yield f"{name} may hold what is no hash"
    if "doc" not in field and name not in OBVIOUS:
        yield f"{name} has no doc"
    misplaced = (rule for rule, kinds in RULES.items() if rule in field and kind not in kinds)
    yield from (f"{name}: {rule} is no rule of {kind}" for rule in misplaced)
    unknown = field.keys() - RULES.keys() - {"name", "type", "default", "doc"}
    yield from (f"{name}: nobody knows the rule {rule}" for rule in unknown)


def nullable_problems(field: Mapping[str, Any]) -> Iterator[str]:
    if field["type"][0] != "null" or len(field["type"]) != 2:
        yield f"{field['name']} is a union other than of null and one type"
    if field.get("default", 0) is not None:
        yield f"{field['name']} may be null but that is not its default"
    if field.get("non_empty"):
        yield f"{field['name']} is non_empty but may be null"


def nested_members(schema: Definition) -> Iterator[tuple[str, Mapping[str, Any]]]:
    def walk(path: str, avro_type: Any) -> Iterator[tuple[str, Mapping[str, Any]]]:
        if isinstance(avro_type, list):
            for branch in avro_type:
                yield from walk(path, branch)
        elif isinstance(avro_type, dict):
            yield from walk(path, avro_type.get("items"))
            for member in avro_type.get("fields", []):
                yield f"{path}.{member['name']}", member
                yield from walk(f"{path}.{member['name']}", member["type"])

    for field in schema.fields:
        yield from walk(field["name"], field["type"])


# --- They hold of what is there ---


def test_what_is_released_is_unchanged_and_what_is_there_is_released() -> None:
    present = {file.name: file.read_text(encoding="utf-8") for file in FOLDER.iterdir() if file.name.endswith(".avsc")}
    assert list(release_problems(present, RELEASED)) == []


def test_every_file_belongs_to_a_topic() -> None:
    assert {file.rpartition(".v")[0] for file in RELEASED} == set(NAMES)


@every_schema
def test_every_version_reads_every_other(name: str) -> None:
    assert list(version_problems(history(name))) == []


@every_schema
def test_conventions(name: str) -> None:
    problems = [problem for version in history(name) for problem in convention_problems(version)]
    # A dead letter holds the headers of the original, however long their keys are.
    assert problems == (["key has no bound"] * len(history(name)) if name == "dead-letters" else [])


def test_an_attributed_conversion_begins_with_all_fields_of_the_conversion() -> None:
    conversion = definition("conversions").fields
    assert definition("attributed-conversions").fields[: len(conversion)] == conversion


@every_schema
def test_arrow_columns_are_the_fields(name: str) -> None:
    schema = definition(name)
    columns = arrow_schema(schema.text)
    assert columns.names == [field["name"] for field in schema.fields]
    assert {column.name for column in columns if not column.nullable} == {
        field["name"] for field in schema.fields if not isinstance(field["type"], list)
    }


@every_schema
def test_defaults_are_values_of_their_fields(name: str) -> None:
    schema = definition(name)
    assert set(schema.required) | schema.defaults.keys() == {field["name"] for field in schema.fields}
    columns = arrow_schema(schema.text)
    optional = pa.schema([columns.field(default) for default in schema.defaults])
    from_records([schema.defaults], optional).validate(full=True)


# --- They can fail ---

BASE = {
    "type": "record",
    "name": "Thing",
    "fields": [
        {"name": "account_id", "type": "string", "doc": "d", "non_empty": True, "max_length": 9},
        {"name": "note", "type": ["null", "string"], "default": None, "doc": "d", "max_length": 9},
        {
            "name": "parts",
            "doc": "d",
            "default": [],
            "type": {
                "type": "array",
                "items": {"type": "record", "name": "Part", "fields": [{"name": "size", "type": "long", "doc": "d"}]},
            },
        },
    ],
}


def thing(version: int = 1, change: Callable[[list[dict[str, Any]]], object] = lambda fields: None) -> Definition:
    schema = copy.deepcopy(BASE)
    fields: Any = schema["fields"]
    change(fields)
    return Definition("things", version, compact(json.dumps(schema)), tuple(fields))


def test_a_thing_without_fault_has_none() -> None:
    assert list(convention_problems(thing())) == []
    added = thing(2, lambda fields: fields.append({"name": "more", "type": ["null", "long"], "default": None}))
    assert list(version_problems([thing(), added])) == []


@pytest.mark.parametrize(
    ("released", "problem"),
    [
        ({}, "is not in released.json"),
        ({"a.v1.avsc": "0" * 64}, "was changed after its release"),
        ({"a.v1.avsc": fingerprint(thing().text), "a.v2.avsc": "0" * 64}, "a.v2.avsc was released and is gone"),
    ],
)
def test_a_broken_release_is_found(released: Mapping[str, str], problem: str) -> None:
    [found] = release_problems({"a.v1.avsc": thing().text}, released)
    assert problem in found


@pytest.mark.parametrize(
    "change",
    [
        lambda fields: fields[0].update(doc="another"),
        lambda fields: fields[0].update(max_length=10),
        lambda fields: fields[1].update(default="x"),
        lambda fields: fields.reverse(),
    ],
)
def test_any_change_shows_in_the_fingerprint(change: Callable[[list[dict[str, Any]]], object]) -> None:
    assert fingerprint(thing(1, change).text) != fingerprint(thing().text)
    assert fingerprint(json.dumps(json.loads(thing().text), indent=4)) == fingerprint(thing().text)


@pytest.mark.parametrize(
    "change",
    [
        lambda fields: fields.append({"name": "more", "type": "long"}),
        lambda fields: fields.pop(0),
        lambda fields: fields[0].update(type="long"),
        lambda fields: fields[1].update(name="remark", default="x", type="string") or fields[0].update(name="tenant"),
        lambda fields: fields[2]["type"]["items"]["fields"].append({"name": "more", "type": "long"}),
        lambda fields: fields[2]["type"]["items"]["fields"].append({"name": "more", "type": "long", "default": 5}),
    ],
    ids=["added without default", "removed", "another type", "renamed", "member without default", "member's default"],
)
def test_an_incompatible_version_is_found(change: Callable[[list[dict[str, Any]]], object]) -> None:
    assert list(version_problems([thing(), thing(2, change)])) != []
    assert list(version_problems([thing(), thing(2), thing(3, change)])) != []


@pytest.mark.parametrize("numbers", [[2], [1, 3], [1, 1]])
def test_a_gap_in_the_versions_is_found(numbers: list[int]) -> None:
    assert list(version_problems([thing(number) for number in numbers])) != []


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda fields: fields[0].update(name="tenant"), "account_id is not the first"),
        (lambda fields: fields[0].pop("non_empty"), "account_id is not the first"),
        (lambda fields: fields[1].pop("max_length"), "note has no bound"),
        (lambda fields: fields[1].pop("default"), "may be null but"),
        (lambda fields: fields[1].update(type=["string", "null"]), "a union other than"),
        (lambda fields: fields[1].update(type=["null", "string", "long"]), "a union other than"),
        (lambda fields: fields[1].update(type={"type": "enum", "name": "E", "symbols": ["a"]}), "of type enum"),
        (lambda fields: fields[1].update(non_empty=True), "non_empty but may be null"),
        (lambda fields: fields[1].update(max_lenght=5), "nobody knows the rule max_lenght"),
        (lambda fields: fields[1].pop("doc"), "note has no doc"),
        (lambda fields: fields[2].update(max_length=5), "no rule of array"),
        (lambda fields: fields[2]["type"]["items"]["fields"][0].update(name="size_micros"), "has no range"),
        (lambda fields: fields[2]["type"]["items"]["fields"][0].update(name="size_time"), "is not a time"),
        (lambda fields: fields[1].update(name="note_sha256"), "may hold what is no hash"),
    ],
)
def test_a_broken_convention_is_found(change: Callable[[list[dict[str, Any]]], object], problem: str) -> None:
    assert any(problem in found for found in convention_problems(thing(1, change)))


# --- The rest of the module ---


def test_unknown_names_are_no_schemas() -> None:
    with pytest.raises(KeyError):
        history("nothing")


@pytest.mark.parametrize("text", ['{"type": "enum"}', "not JSON"])
def test_what_has_no_columns_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match="no Arrow schema"):
        arrow_schema(text)


@pytest.mark.parametrize("name", ["clicks", "conversions", "crm-events", "ad-performance"])
def test_times_are_whole_numbers_on_the_wire(name: str) -> None:
    text = definition(name).text
    assert "logicalType" not in without_logical_types(text)
    record = full_record(name)
    assert encode(parse(text), record) == encode(parse(without_logical_types(text)), record)
