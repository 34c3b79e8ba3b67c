import hashlib
from collections import Counter
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.client.edge import CLEAR_FIELDS, clean, conceal, conceal_columns
from schemas.definitions import arrow_schema, definition, from_records
from tests.schemas.messages import HASH, full_record

KNOWN = frozenset(field["name"] for field in definition("conversions").fields)
PERSON = {
    "email": " Jo.Doe@Example.com ",
    "phone": "020 7946 0958",
    "external_id": "Customer-7",
    "first_name": "Jo-Ann",
    "last_name": "O'Doe",
    "date_of_birth": "1980-02-03",
    "gender": "Female",
    "city": "St. Ives",
    "state": "Cornwall",
    "zip": "TR26 1AB",
    "country": "UK",
}


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def test_everything_is_hashed_under_the_names_of_the_contract() -> None:
    dropped: Counter[str] = Counter()
    concealed = conceal({"conversion_id": "c", **PERSON}, KNOWN, None, dropped)
    assert concealed == {
        "conversion_id": "c",
        "email_sha256": sha256("jo.doe@example.com"),
        "phone_sha256": sha256("442079460958"),
        "external_id_sha256": sha256("Customer-7"),
        "user_data_sha256": {
            "fn": sha256("joann"),
            "ln": sha256("odoe"),
            "db": sha256("19800203"),
            "ge": sha256("f"),
            "ct": sha256("stives"),
            "st": sha256("cornwall"),
            "zp": sha256("tr261ab"),
            "country": sha256("gb"),
        },
    }
    assert PERSON.keys() == CLEAR_FIELDS.keys()
    assert not dropped


def test_the_default_country_completes_a_number_unless_the_record_says_otherwise() -> None:
    number, dropped = {"phone": "020 7946 0958"}, Counter[str]()
    assert conceal(number, KNOWN, None, dropped) == {}
    assert dropped == {"phone": 1}
    completed = sha256("442079460958")
    assert conceal(number, KNOWN, "GB", dropped)["phone_sha256"] == completed
    assert conceal(number | {"country": "UK"}, KNOWN, "US", dropped)["phone_sha256"] == completed
    assert conceal(number | {"country": "Atlantis"}, KNOWN, "GB", dropped)["phone_sha256"] == completed
    assert dropped == {"phone": 1, "country": 1}


def test_hashes_that_were_given_stay_where_nothing_replaces_them() -> None:
    given_hashes = {"email_sha256": HASH, "user_data_sha256": {"fn": HASH, "ct": HASH}}
    concealed = conceal(given_hashes | {"email": None, "first_name": "Jo"}, KNOWN, None, Counter())
    assert concealed == {"email_sha256": HASH, "user_data_sha256": {"fn": sha256("jo"), "ct": HASH}}
    dropped: Counter[str] = Counter()
    assert conceal(given_hashes | {"email": "none@"}, KNOWN, None, dropped) == given_hashes
    assert dropped == {"email": 1}


def test_a_schema_without_a_field_for_the_hash_takes_no_identifier() -> None:
    dropped: Counter[str] = Counter()
    known = frozenset(field["name"] for field in definition("clicks").fields)
    concealed = conceal({"click_id": "k", "email": "jo@example.com", "first_name": "Jo"}, known, None, dropped)
    assert concealed == {"click_id": "k", "email_sha256": sha256("jo@example.com")}
    assert dropped == {"first_name": 1}


people = st.fixed_dictionaries(
    {},
    optional={name: st.none() | st.just(value) | st.just("?") | st.just("") for name, value in PERSON.items()}
    | {"email_sha256": st.none() | st.just(HASH), "user_data_sha256": st.just({"ct": HASH})},
)


@given(st.lists(people, min_size=1, max_size=6), st.sampled_from([None, "GB"]))
def test_a_table_is_concealed_as_its_rows_are(rows: list[dict[str, Any]], country: str | None) -> None:
    by_row, by_column = Counter[str](), Counter[str]()
    columns = {name: [row.get(name) for row in rows] for name in sorted({name for row in rows for name in row})}
    table = pa.table(
        {
            name: pa.array([list((value or {}).items()) for value in values], pa.map_(pa.string(), pa.string()))
            if name == "user_data_sha256"
            else pa.array(values, pa.string())
            for name, values in columns.items()
        }
        | {"conversion_id": pa.array([str(number) for number in range(len(rows))])}
    )
    found = conceal_columns(table, KNOWN, country, by_column).to_pylist(maps_as_pydicts="strict")
    expected = [conceal(row, KNOWN, country, by_row) for row in rows]
    for number, (got, want) in enumerate(zip(found, expected, strict=True)):
        assert got.pop("conversion_id") == str(number)
        assert {name: value for name, value in got.items() if value} == {
            name: value for name, value in want.items() if value
        }
    assert by_row == by_column


class TestClean:
    def clean(self, **values: list[str | None]) -> tuple[dict[str, list[str | None]], Counter[str]]:
        rows = [dict(zip(values, row, strict=True)) for row in zip(*values.values(), strict=True)]
        schema = arrow_schema(definition("conversions").text)
        batch = from_records([full_record("conversions", 1) | row for row in rows], schema)
        dropped: Counter[str] = Counter()
        cleaned = clean(batch, dropped)
        assert cleaned.schema == schema
        return {name: cleaned.column(name).to_pylist() for name in values}, dropped

    def test_addresses_of_pages_are_redacted_not_counted(self) -> None:
        url = "https://shop.example/thanks?email=jo%40shop.example&fbclid=IwAR0_aB#top"
        cleaned, dropped = self.clean(event_source_url=[url, None, url, "https://shop.example/"])
        redacted = "https://shop.example/thanks?email=redacted&fbclid=IwAR0_aB"
        assert cleaned["event_source_url"] == [redacted, None, redacted, "https://shop.example/"]
        assert "event_source_url" not in dropped

    def test_what_meta_would_refuse_a_request_for_is_left_out_and_counted(self) -> None:
        fbc = "fb.1.1554763741205.AbCdEfGh"
        cleaned, dropped = self.clean(
            ip=["192.0.2.1", "::ffff:192.0.2.1", "unknown", None],
            fbc=[fbc, fbc.upper(), None, "null"],
            fbp=["fb.1.1596403881668.1116446470", None, "", "x"],
            lead_id=["123456789012345", "l:123456789012345", None, None],
        )
        assert cleaned == {
            "ip": ["192.0.2.1", "192.0.2.1", None, None],
            "fbc": [fbc, None, None, None],
            "fbp": ["fb.1.1596403881668.1116446470", None, None, None],
            "lead_id": ["123456789012345", None, None, None],
        }
        assert {name: dropped[name] for name in cleaned} == {"ip": 1, "fbc": 2, "fbp": 2, "lead_id": 1}


@pytest.mark.parametrize("contract", ["clicks", "conversions", "crm-events"])
def test_no_schema_has_a_field_in_the_clear(contract: str) -> None:
    assert not {field["name"] for field in definition(contract).fields} & CLEAR_FIELDS.keys()
