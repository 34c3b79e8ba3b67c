"""Records of model credit."""

import pytest

from processors.credit import markov
from processors.credit.journeys import PathOutcome, count_journeys
from schemas.definitions import arrow_schema, definition, from_records
from sinks.clickhouse.path_counts import Period
from streams.credit.records import Unusable, model_credit
from streams.settings import Settings
from streams.ticks.cut import Cut

JOURNEYS = count_journeys(
    [
        PathOutcome(("a", "b"), "EUR", 3, 2, 100, 4),
        PathOutcome(("b",), "USD", 1, 1, 9, 0),
        PathOutcome(("a",), "", 0, 0, 0, 5),
    ]
)
CUT = [Cut("clicks", "x", 0, 7), Cut("clicks", "x", 1, 5)]


@pytest.fixture
def without_servers(monkeypatch: pytest.MonkeyPatch) -> Settings:
    for name in ("KAFKA__BOOTSTRAP_SERVERS", "REGISTRY__URL", "CLICKHOUSE__URL"):
        monkeypatch.setenv(f"SPENDLOOP_{name}", "http://nowhere")
    monkeypatch.setenv("SPENDLOOP_REDIS__URL", "redis://nowhere")
    return Settings()


def test_a_model_a_record(without_servers: Settings) -> None:
    found = list(model_credit(without_servers, "acme", "Purchase", Period(1_000, 61_000), CUT, JOURNEYS))
    records = [record for record in found if not isinstance(record, Unusable)]
    assert [(r["model"], r["chain_order"]) for r in records] == [
        ("markov", 1),
        ("markov", 2),
        ("markov", 3),
        ("shapley", 0),
    ]
    for record in records:
        assert (record["paths"], record["conversions"], record["nulls"]) == (3, 4, 9)
        assert (record["as_of"], record["period_s"], record["records_read"]) == (61_000, 60, 12)
        assert [item["channel"] for item in record["channels"]] == ["a", "b"]
        assert sum(item["conversions"] for item in record["channels"]) == pytest.approx(4)
        assert {item["currency"]: sum(item["value_micros"]) for item in record["amounts"]} == {"EUR": 100, "USD": 9}
    batch = from_records(records, arrow_schema(definition("model-credit").text))
    assert batch.num_rows == 4


def test_what_a_model_cannot_take_is_said_and_the_others_go_on(
    without_servers: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(markov, "MAX_STATES", 2)
    found = list(model_credit(without_servers, "acme", "Purchase", Period(0, 1), CUT, JOURNEYS))
    assert [isinstance(item, Unusable) for item in found] == [False, True, True, False]
    assert "of order 2 over 2 channels has 3 states" in found[1].problem
