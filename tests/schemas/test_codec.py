import json
import re
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyruhvro
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas import wire
from schemas.codec import Decoded, Decoder
from schemas.definitions import arrow_schema, definition, encode, parse, without_logical_types
from schemas.errors import RegistryUnavailable
from schemas.topics import TOPICS
from tests.schemas.messages import (
    BOUNDS,
    HASH,
    ID_FIELD,
    INPUTS,
    NOW_MS,
    OWN_ID,
    Schemas,
    body,
    full_record,
    message,
    records,
)
from tests.schemas.oracle import judge

BOUNDED = {"clicks": "channel", "conversions": "order_id", "crm-events": "close_reason", "ad-performance": "adset_id"}
DECODERS = {contract: Decoder(TOPICS[contract], Schemas(), BOUNDS) for contract in INPUTS}
every_input = pytest.mark.parametrize("contract", INPUTS)


def decode(contract: str, messages: list[bytes | None], decoder: Decoder | None = None) -> Decoded:
    return (decoder or DECODERS[contract]).decode(messages, np.full(len(messages), NOW_MS, np.int64))


def rows_of(batch: pa.RecordBatch, contract: str) -> list[dict[str, Any]]:
    """The rows as fastavro reads them where times are whole numbers."""
    plain = arrow_schema(without_logical_types(definition(contract).text))
    rows: list[dict[str, Any]] = batch.cast(plain).to_pylist(maps_as_pydicts="lossy")
    return rows


def check(contract: str, messages: list[bytes | None], decoded: Decoded) -> None:
    """The decoder found the records that the oracle finds, in their order, and calls all others bad."""
    expected = {row: judge(contract, value, NOW_MS) for row, value in enumerate(messages)}
    good = {row: record for row, record in expected.items() if record is not None}
    assert decoded.rows.tolist() == list(good)
    assert rows_of(decoded.batch, contract) == list(good.values())
    assert [item.row for item in decoded.bad] == [row for row in expected if row not in good]


def spoilt(contract: str) -> st.SearchStrategy[tuple[bytes | None, str]]:
    """Each kind of bad message, with the name of its error."""
    own, id_field, time_field = OWN_ID[contract], ID_FIELD[contract], TOPICS[contract].event_time
    other = INPUTS[INPUTS.index(contract) - 1]
    good = full_record(contract)
    whole = body(contract, good)

    def framed(content: bytes) -> bytes:
        return wire.frame(own, content)

    return st.one_of(
        st.sampled_from([(b"", "empty"), (None, "empty")]),
        st.binary(min_size=1, max_size=5).map(lambda value: (value, "too_short")),
        st.integers(1, 255).map(lambda magic: (bytes([magic]) + framed(whole)[1:], "wrong_magic")),
        st.integers(9, 2**32 - 1).map(lambda schema_id: (wire.frame(schema_id, whole), "unknown_schema")),
        st.just((message(other, full_record(other)), "unknown_schema")),
        st.integers(1, len(whole) - 1).map(lambda length: (framed(whole[:length]), "undecodable")),
        st.binary(min_size=1, max_size=20).map(lambda more: (framed(whole + more), "trailing_bytes")),
        st.just((framed(whole + whole), "trailing_bytes")),
        st.sampled_from([id_field, "account_id"]).map(
            lambda name: (framed(body(contract, good | {name: ""})), "missing_id")
        ),
        st.sampled_from([0, 4_102_444_800_000, -(2**63), 2**63 - 1]).map(
            lambda event_ms: (framed(body(contract, good | {time_field: event_ms})), "event_time_out_of_range")
        ),
        st.just((framed(body(contract, good | {BOUNDED[contract]: "x" * (1 << 20)})), "field_too_long")),
    )


@every_input
def test_exactly_the_bad_messages_are_bad(contract: str) -> None:
    good = records(contract).map(lambda record: (message(contract, record), ""))

    @settings(max_examples=40)
    @given(st.lists(good | spoilt(contract), max_size=25))
    def property_holds(mixed: list[tuple[bytes | None, str]]) -> None:
        messages = [value for value, _ in mixed]
        decoded = decode(contract, messages)
        check(contract, messages, decoded)
        assert decoded.rows.tolist() == [row for row, (_, error) in enumerate(mixed) if not error]
        assert [(item.row, item.error) for item in decoded.bad] == [
            (row, error) for row, (_, error) in enumerate(mixed) if error
        ]

    property_holds()


@every_input
def test_truncated_at_every_length(contract: str) -> None:
    good = message(contract, full_record(contract))
    messages: list[bytes | None] = [good]
    for length in range(len(good)):
        messages += [good[:length], good]
    decoded = decode(contract, messages)
    assert decoded.rows.tolist() == list(range(0, len(messages), 2))
    expected = ["empty", *["too_short"] * 5, *["undecodable"] * (len(good) - 6)]
    assert [item.error for item in decoded.bad] == expected


@every_input
@pytest.mark.parametrize("more", [b"\x00", b"\x02", b"\x80", b"\xff" * 9, bytes(9), bytes(100), "twice", "message"])
def test_trailing_bytes_of_every_kind(contract: str, more: bytes | str) -> None:
    good = message(contract, full_record(contract))
    trailing = {"twice": good[5:], "message": good}.get(more, more) if isinstance(more, str) else more
    decoded = decode(contract, [good, good + trailing, good])
    assert decoded.rows.tolist() == [0, 2]
    [bad] = decoded.bad
    assert (bad.row, bad.error, bad.schema_id) == (1, "trailing_bytes", OWN_ID[contract])
    assert bad.message == f"{len(trailing)} bytes after the end of the record"


@every_input
def test_a_null_written_through_a_nullable_union_is_the_empty_string(contract: str) -> None:
    """Both are one zero byte: the schema of the topic is what tells a null id from a good one."""
    nullable = json.loads(definition(contract).text)
    for field in nullable["fields"]:
        if field["name"] == ID_FIELD[contract]:
            field["type"] = ["null", "string"]
    record = full_record(contract)
    written = encode(parse(without_logical_types(json.dumps(nullable))), record | {ID_FIELD[contract]: None})
    assert written == body(contract, record | {ID_FIELD[contract]: ""})
    [bad] = decode(contract, [wire.frame(OWN_ID[contract], written)]).bad
    assert (bad.error, bad.message) == ("missing_id", f"{ID_FIELD[contract]} is empty")


@pytest.mark.parametrize("count", [1, 8, 9, 100, 1000])
@pytest.mark.parametrize("where", ["first", "last", "middle", "all", "every other"])
def test_wherever_the_bad_ones_stand(count: int, where: str) -> None:
    chosen = {
        "first": {0},
        "last": {count - 1},
        "middle": {count // 2},
        "all": set(range(count)),
        "every other": set(range(0, count, 2)),
    }[where]
    messages = [message("clicks", full_record("clicks", row))[: 40 if row in chosen else None] for row in range(count)]
    decoded = decode("clicks", list(messages))
    assert [item.row for item in decoded.bad] == sorted(chosen)
    assert decoded.rows.tolist() == [row for row in range(count) if row not in chosen]
    check("clicks", list(messages), decoded)


def test_the_order_of_the_chunk_is_kept_over_schema_ids() -> None:
    text = definition("clicks").text
    decoder = Decoder(TOPICS["clicks"], Schemas({"clicks-value": {1: text, 7: text, 9: text}}), BOUNDS)
    random = np.random.default_rng(3)
    ids = random.choice([1, 7, 9], 500)
    expected = [full_record("clicks", row) for row in range(500)]
    messages = [wire.frame(int(i), body("clicks", record)) for i, record in zip(ids, expected, strict=True)]
    decoded = decode("clicks", list(messages), decoder)
    assert decoded.rows.tolist() == list(range(500))
    assert rows_of(decoded.batch, "clicks") == expected


@every_input
def test_nothing_gives_nothing(contract: str) -> None:
    decoded = decode(contract, [])
    assert decoded.batch.schema == arrow_schema(definition(contract).text)
    assert (decoded.batch.num_rows, len(decoded.rows), decoded.bad) == (0, 0, [])


def test_only_bad_messages_of_two_schemas_leave_no_rows() -> None:
    text = definition("clicks").text
    decoder = Decoder(TOPICS["clicks"], Schemas({"clicks-value": {1: text, 7: text}}), BOUNDS)
    whole = body("clicks", full_record("clicks")) + b"\x00"
    decoded = decode("clicks", [wire.frame(1, whole), wire.frame(7, whole)], decoder)
    assert decoded.batch.num_rows == 0
    assert [item.error for item in decoded.bad] == ["trailing_bytes"] * 2


class TestMutations:
    """Whatever happens to the bytes: the decoder agrees with fastavro and the rules, one by one or in a batch."""

    @every_input
    def test_agrees_with_fastavro(self, contract: str) -> None:
        originals = [message(contract, full_record(contract, seed)) for seed in range(3)]
        places = st.integers(0, max(map(len, originals)) - 1)

        def edited(original: bytes, edits: list[tuple[str, int, int]]) -> bytes:
            found = bytearray(original)
            for edit, place, value in edits:
                place %= max(len(found), 1)
                if edit == "insert":
                    found.insert(place, value)
                elif edit == "flip" and found:
                    found[place] ^= 1 << value % 8
                elif found:
                    found[place : place + 1] = b"" if edit == "delete" else bytes([value])
            return bytes(found)

        edits = st.lists(
            st.tuples(st.sampled_from(["flip", "set", "insert", "delete"]), places, st.integers(0, 255)), max_size=3
        )
        mutants = st.builds(edited, st.sampled_from(originals), edits)

        @settings(max_examples=80)
        @given(st.lists(mutants, min_size=1, max_size=24))
        def property_holds(messages: list[bytes | None]) -> None:
            decoded = decode(contract, messages)
            check(contract, messages, decoded)
            for item in decoded.bad:
                assert [other.error for other in decode(contract, [messages[item.row]]).bad] == [item.error]

        property_holds()

    @every_input
    def test_flipped_bits(self, contract: str) -> None:
        good = message(contract, full_record(contract))
        step = 1 if contract == "ad-performance" else 5  # has no factor in common with the eight bits of a byte
        flips: list[bytes | None] = [
            good[:place] + bytes([good[place] ^ 1 << bit]) + good[place + 1 :]
            for place, bit in (divmod(number, 8) for number in range(0, 8 * len(good), step))
        ]
        check(contract, flips, decode(contract, flips))

    def test_the_oracle_knows_good_from_bad(self) -> None:
        good = message("clicks", full_record("clicks"))
        assert judge("clicks", good, NOW_MS) == full_record("clicks")
        assert judge("clicks", good + b"\x00", NOW_MS) is None
        assert judge("clicks", good, NOW_MS - 3_600_001 - 86_400_000) is None

    @pytest.mark.parametrize("neighbours", [0, 30])
    @pytest.mark.parametrize(
        ("content", "error"),
        [
            (b"\xff\xfe", "undecodable"),
            (b"\xed\xa0\x80", "undecodable"),  # half of a surrogate pair
            (b"\xc0\x80", "undecodable"),  # an overlong zero
            ("é𝄞".encode(), None),
        ],
    )
    def test_text_is_utf8(self, content: bytes, error: str | None, neighbours: int) -> None:
        marker = "MARKER"[: len(content)]
        record = full_record("clicks") | {"channel": marker}
        spoiled = message("clicks", record).replace(marker.encode(), content, 1)
        others = [message("clicks", full_record("clicks", seed)) for seed in range(neighbours)]
        decoded = decode("clicks", [*others, spoiled])
        assert [item.error for item in decoded.bad] == ([error] if error else [])
        if not error:
            assert decoded.batch.column("channel")[-1].as_py() == content.decode()

    @pytest.mark.parametrize("neighbours", [0, 30])
    def test_text_inside_lists_and_maps_is_utf8(self, neighbours: int) -> None:
        for contract, marker in (("ad-performance", b"action_type-"), ("conversions", b"ct")):
            good = message(contract, full_record(contract))
            assert marker in good
            spoiled = good.replace(marker, b"\xff" * len(marker), 1)
            decoded = decode(contract, [good] * neighbours + [spoiled])
            assert [(item.row, item.error) for item in decoded.bad] == [(neighbours, "undecodable")]

    @pytest.mark.parametrize("neighbours", [0, 30])
    @pytest.mark.parametrize("number", [2**31, 2**32, 2**40, -(2**31) - 1, -(2**50)])
    def test_a_number_of_more_bits_than_its_type(self, number: int, neighbours: int) -> None:
        """pyruhvro alone would make 2**32 a zero."""
        for contract, name in (("clicks", "screen_width"), ("ad-performance", "day")):
            wide = json.loads(without_logical_types(definition(contract).text))
            for field in wide["fields"]:
                if field["name"] == name:
                    field["type"] = "long" if isinstance(field["type"], str) else ["null", "long"]
            parsed = parse(json.dumps(wide).replace('{"type": "int"}', '"long"'))
            spoiled = wire.frame(OWN_ID[contract], encode(parsed, full_record(contract) | {name: number}))
            decoded = decode(contract, [message(contract, full_record(contract))] * neighbours + [spoiled])
            assert [(item.row, item.error) for item in decoded.bad] == [(neighbours, "undecodable")]


class TestWriterSchemas:
    """Records written with another version of the schema."""

    def test_an_added_field_is_left_out_and_a_missing_one_gets_its_default(self) -> None:
        newer = changed("conversions", add=[{"name": "loyalty", "type": ["null", "string"], "default": None}])
        older = changed("conversions", drop={"gclid", "user_data_sha256", "action_source", "source_version"})
        decoder = Decoder(
            TOPICS["conversions"],
            Schemas({"conversions-value": {1: definition("conversions").text, 2: newer, 3: older}}),
            BOUNDS,
        )
        whole = [full_record("conversions", seed) for seed in range(30)]
        ids = [1 + seed % 3 for seed in range(30)]
        plain = {1: definition("conversions").text, 2: newer, 3: older}
        messages = [
            wire.frame(i, encode(parse(without_logical_types(plain[i])), record | {"loyalty": "gold"}))
            for i, record in zip(ids, whole, strict=True)
        ]
        decoded = decode("conversions", [*messages, messages[1] + b"\x00", messages[2][:-1]], decoder)
        defaults = {"gclid": None, "user_data_sha256": {}, "action_source": "website", "source_version": 0}
        assert rows_of(decoded.batch, "conversions") == [
            record | (defaults if i == 3 else {}) for i, record in zip(ids, whole, strict=True)
        ]
        assert decoded.batch.schema == arrow_schema(definition("conversions").text)
        assert [(item.row, item.error) for item in decoded.bad] == [(30, "trailing_bytes"), (31, "undecodable")]

    def test_members_of_nested_records_are_matched_by_name(self) -> None:
        def nested(change: Callable[[list[dict[str, Any]]], None]) -> str:
            schema = json.loads(definition("ad-performance").text)
            change(next(field for field in schema["fields"] if field["name"] == "actions")["type"]["items"]["fields"])
            return json.dumps(schema)

        newer = nested(
            lambda members: members.insert(0, {"name": "window", "type": ["null", "string"], "default": None})
        )
        older = nested(lambda members: members.pop())
        decoder = Decoder(TOPICS["ad-performance"], Schemas({"ad-performance-value": {2: newer, 3: older}}), BOUNDS)
        record = full_record("ad-performance")
        with_window = record | {"actions": [action | {"window": "7d"} for action in record["actions"]]}
        messages = [
            wire.frame(2, encode(parse(without_logical_types(newer)), with_window)),
            wire.frame(3, encode(parse(without_logical_types(older)), record)),
        ]
        decoded = decode("ad-performance", list(messages), decoder)
        without_value = record | {"actions": [action | {"value_micros": None} for action in record["actions"]]}
        assert rows_of(decoded.batch, "ad-performance") == [record, without_value]

    @pytest.mark.parametrize("avro", ["bytes", {"type": "bytes", "logicalType": "decimal", "precision": 9}])
    def test_a_type_that_the_batch_decoder_cannot_do_is_read_one_by_one(self, avro: Any) -> None:
        text = changed("clicks", add=[{"name": "raw", "type": ["null", avro], "default": None}])
        decoder = Decoder(TOPICS["clicks"], Schemas({"clicks-value": {5: text}}), BOUNDS)
        parsed = parse(without_logical_types(text))
        expected = [full_record("clicks", seed) for seed in range(40)]
        messages = [wire.frame(5, encode(parsed, record | {"raw": b"\xff\x00"})) for record in expected]
        empty = wire.frame(5, encode(parsed, full_record("clicks") | {"click_id": "", "raw": None}))
        decoded = decode("clicks", [*messages, messages[0] + b"\x00", messages[0][:-1], empty, None], decoder)
        assert rows_of(decoded.batch, "clicks") == expected
        assert [(item.row, item.error) for item in decoded.bad] == [
            (40, "trailing_bytes"),
            (41, "undecodable"),
            (42, "missing_id"),
            (43, "empty"),
        ]

    def test_a_batch_decoder_that_reads_otherwise_than_fastavro_is_not_used(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def read_otherwise(bodies: list[bytes], text: str) -> pa.RecordBatch:
            batch = deserialize_array(bodies, text)
            position = batch.schema.get_field_index("limited_data_use")
            return batch.set_column(position, batch.schema.field(position), pc.invert(batch.column(position)))

        deserialize_array = pyruhvro.deserialize_array
        monkeypatch.setattr(pyruhvro, "deserialize_array", read_otherwise)
        records = [full_record("clicks", seed) for seed in range(20)]
        decoded = decode(
            "clicks", [message("clicks", record) for record in records], Decoder(TOPICS["clicks"], Schemas())
        )
        assert rows_of(decoded.batch, "clicks") == records

    @pytest.mark.parametrize(
        "text",
        [
            '"string"',
            '{"type": "record", "name": "Other", "fields": []}',
            '{"type": "object"}',
            "not JSON",
        ],
    )
    def test_a_schema_that_is_no_version_of_the_topics_is_as_good_as_unknown(self, text: str) -> None:
        decoder = Decoder(TOPICS["clicks"], Schemas({"clicks-value": {1: definition("clicks").text, 5: text}}), BOUNDS)
        good = full_record("clicks")
        decoded = decode("clicks", [message("clicks", good), wire.frame(5, b"\x02a")], decoder)
        assert rows_of(decoded.batch, "clicks") == [good]
        assert [(item.row, item.error) for item in decoded.bad] == [(1, "unknown_schema")]
        assert "cannot be read as clicks" in decoded.bad[0].message

    def test_a_field_of_another_type_is_no_version_either(self) -> None:
        text = definition("clicks").text.replace(
            '"name":"channel","type":["null","string"]', '"name":"channel","type":["null","long"]'
        )
        assert text != definition("clicks").text
        decoder = Decoder(TOPICS["clicks"], Schemas({"clicks-value": {5: text}}), BOUNDS)
        written = encode(parse(without_logical_types(text)), full_record("clicks") | {"channel": 5})
        assert [item.error for item in decode("clicks", [wire.frame(5, written)], decoder).bad] == ["unknown_schema"]


class TestRegistry:
    def test_an_outage_is_no_bad_record(self) -> None:
        class Down(Schemas):
            up = False

            def writer_schemas(self, subject: str, schema_ids: Collection[int]) -> Mapping[int, str]:
                if not self.up:
                    raise RegistryUnavailable("down")
                return super().writer_schemas(subject, schema_ids)

        source = Down()
        decoder = Decoder(TOPICS["clicks"], source, BOUNDS)
        messages: list[bytes | None] = [message("clicks", full_record("clicks")), b"", None]
        with pytest.raises(RegistryUnavailable):
            decode("clicks", messages, decoder)
        source.up = True
        assert decode("clicks", messages, decoder).rows.tolist() == [0]
        source.up = False
        assert decode("clicks", messages, decoder).rows.tolist() == [0]  # known by now

    def test_one_look_however_many_unknown_ids(self) -> None:
        source = Schemas()
        decoder = Decoder(TOPICS["clicks"], source, BOUNDS)
        content = body("clicks", full_record("clicks"))
        messages = [wire.frame(schema_id, content) for schema_id in (1, 100, 101, 102, 2**31, 2**32 - 1)]
        decoded = decode("clicks", list(messages), decoder)
        assert source.looks == 1
        assert Counter(item.error for item in decoded.bad) == {"unknown_schema": 5}
        # A dead letter has 31 bits for it.
        assert [item.schema_id for item in decoded.bad] == [100, 101, 102, None, None]

    def test_nothing_to_look_up_is_no_look(self) -> None:
        source = Schemas()
        decode("clicks", [b"", None, b"{json}"], Decoder(TOPICS["clicks"], source, BOUNDS))
        assert source.looks == 0


def test_a_refused_record_names_its_tenant_in_as_many_bytes_as_a_dead_letter_takes() -> None:
    record = full_record("clicks") | {"account_id": "é" * 200}
    [bad] = decode("clicks", [message("clicks", record)]).bad
    assert bad.error == "field_too_long"
    assert bad.account_id == "é" * 128


def test_every_error_is_in_the_documentation() -> None:
    page = (Path(__file__).parents[2] / "docs" / "dead-letters.md").read_text(encoding="utf-8")
    documented = set(re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE))
    assert documented == {
        *("empty", "too_short", "wrong_magic", "unknown_schema", "undecodable", "trailing_bytes"),
        *("missing_id", "field_too_long", "bad_value", "event_time_out_of_range", "not_a_retry"),
        "refused_by_clickhouse",
    }


def test_a_message_never_repeats_the_value() -> None:
    record = full_record("clicks") | {"channel": "jo@example.com" * 100}
    [bad] = decode("clicks", [message("clicks", record)]).bad
    assert "jo@" not in bad.message


def test_dropped_values_are_counted() -> None:
    record = full_record("conversions")
    leaky = record | {
        "email_sha256": "jo@example.com",
        "user_data_sha256": {"fn": "Jo", "ct": HASH, "jo@example.com": HASH},
    }
    decoded = decode("conversions", [message("conversions", record), message("conversions", leaky)])
    assert decoded.dropped_fields == {"email_sha256": 1, "user_data_sha256": 2}
    assert rows_of(decoded.batch, "conversions") == [
        record,
        record | {"email_sha256": None, "user_data_sha256": {"ct": HASH}},
    ]


def changed(contract: str, *, add: list[dict[str, Any]] | None = None, drop: Collection[str] = ()) -> str:
    schema = json.loads(definition(contract).text)
    schema["fields"] = [field for field in schema["fields"] if field["name"] not in drop] + (add or [])
    return json.dumps(schema)
