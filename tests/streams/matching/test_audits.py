"""`spendloop audit import`: good rows onto the topic, bad rows by their lines; and who a conversion was credited to."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from processors.matching.audits import Audit
from streams.admin import registry
from streams.matching.audits import audits_of, credited
from streams.settings import Settings
from tests.streams.replay.commands import done, spendloop, written


def audits(settings: Settings, account_id: str = "acme") -> dict[str, Audit]:
    client = registry(settings)
    try:
        return audits_of(settings, client, {account_id}).get(account_id, {})
    finally:
        client.close()


def test_audits_are_imported_and_the_last_word_counts(deployment: Settings, tmp_path: Path) -> None:
    file = written(
        tmp_path, "a.csv", "account_id,conversion_id,ad_id,person", "acme,c1,ad-1,v1", "acme,c2,,", "b,c1,ad-9,"
    )
    assert "3 audits imported" in done("audit", "import", file)
    assert audits(deployment) == {"c1": Audit("ad-1", "v1"), "c2": Audit(None)}
    assert audits(deployment, "b") == {"c1": Audit("ad-9")}

    again = written(
        tmp_path, "b.jsonl", '{"conversion_id": "c1", "ad_id": null}', '{"conversion_id": "c3", "ad_id": ""}'
    )
    assert "2 audits imported" in done("audit", "import", again, "--account", "acme")
    assert audits(deployment) == {"c1": Audit(None), "c2": Audit(None), "c3": Audit(None)}

    table = pa.table({"conversion_id": ["c4", "c5"], "ad_id": ["ad-2", None]})
    pq.write_table(table, tmp_path / "c.parquet")
    assert "2 audits imported" in done("audit", "import", str(tmp_path / "c.parquet"), "--account", "acme")
    assert audits(deployment)["c4"] == Audit("ad-2")
    assert audits(deployment)["c5"] == Audit(None)


def test_bad_rows_are_named_by_their_lines(deployment: Settings, tmp_path: Path) -> None:
    file = written(
        tmp_path,
        "a.jsonl",
        '{"conversion_id": "c1", "ad_id": "ad-1"}',
        '{"conversion_id": "c2"}',
        '{"ad_id": "ad-1"}',
        '{"conversion_id": "c4", "ad_id": "ad-1", "account_id": "other"}',
        '{"conversion_id": "c5", "ad_id": "ad-1", "revenue": 1}',
        "no json",
    )
    refused = spendloop("audit", "import", file, "--account", "acme")
    assert refused.exit_code == 1
    assert "line 2: missing_field: ad_id not given; null where no ad led to it" in refused.output
    assert "line 3: missing_field: conversion_id not given" in refused.output
    assert "line 4: bad_value: account_id is not acme" in refused.output
    assert "line 5: unknown_field" in refused.output
    assert "line 6: not JSON" in refused.output
    assert audits(deployment) == {}

    checked = spendloop("audit", "import", file, "--account", "acme", "--dry-run")
    assert checked.exit_code == 1
    assert "1 audits could be imported, 5 rows are bad" in checked.output
    assert audits(deployment) == {}

    rejected = tmp_path / "bad.jsonl"
    assert "1 audits imported, 5 rows are bad" in done(
        "audit", "import", file, "--account", "acme", "--reject", str(rejected)
    )
    assert audits(deployment) == {"c1": Audit("ad-1")}
    assert len(rejected.read_text().splitlines()) == 5


def test_a_file_that_says_nothing_of_ads_is_refused(deployment: Settings, tmp_path: Path) -> None:
    """It would count as so many conversions that no ad led to."""
    file = written(tmp_path, "a.csv", "conversion_id,ad", "c1,ad-1")
    refused = spendloop("audit", "import", file, "--account", "acme")
    assert refused.exit_code == 1
    assert "has no column ad_id" in refused.output
    assert audits(deployment) == {}


def test_without_an_account_every_row_names_its_own(deployment: Settings, tmp_path: Path) -> None:
    file = written(tmp_path, "a.csv", "conversion_id,ad_id", "c1,ad-1")
    refused = spendloop("audit", "import", file)
    assert refused.exit_code == 1
    assert "line 2: missing_field: account_id not given" in refused.output


def row(**changes: Any) -> dict[str, Any]:
    usual = {"layer": "probabilistic", "model_version": "m", "confidence_person": 0.9, "confidence_ad": 0.8}
    return {**usual, "click_id": None, "credited_click_id": None, "candidates": [], "touchpoints": [], **changes}


def candidate(click_id: str, ad_id: str | None, probability: float) -> dict[str, Any]:
    return {"click_id": click_id, "ad_id": ad_id, "probability": probability}


def touchpoint(click_id: str, ad_id: str, visitor_id: str | None = None) -> dict[str, Any]:
    return {"click_id": click_id, "ad_id": ad_id, "visitor_id": visitor_id}


OF_B = [touchpoint("k2", "b"), touchpoint("k3", "b")]
OTHER = candidate("k9", "x", 0.5)


@pytest.mark.parametrize(
    ("record", "ad_id", "known_as"),
    [
        (row(), None, set()),
        # The likeliest ad, not the likeliest click, of the person whose clicks are the touchpoints.
        (
            row(
                candidates=[
                    candidate("k9", "x", 0.5),
                    candidate("k1", "a", 0.2),
                    *(candidate(f"k{n}", "b", 0.15) for n in (2, 3)),
                ],
                touchpoints=[touchpoint("k1", "a", "v1"), touchpoint("k2", "b"), touchpoint("k3", "b")],
            ),
            "b",
            {"k1", "k2", "k3", "v1"},
        ),
        # The click is named: nothing is left to conclude.
        (
            row(candidates=[candidate("k1", "a", 0.3), candidate("k2", "b", 0.1)], credited_click_id="k2"),
            "b",
            {"k2"},
        ),
        (
            row(layer="email", touchpoints=[touchpoint("k1", "a"), *OF_B], credited_click_id="k1"),
            "a",
            {"k1", "k2", "k3"},
        ),
        # Kept and not used.
        (row(candidates=[candidate("k1", "a", 0.3), candidate("k2", "b", 0.1)]), "a", {"k1"}),
        (
            row(click_id="k1", layer="click_id", touchpoints=[touchpoint("k1", "a"), touchpoint("k2", "b")]),
            "a",
            {"k1", "k2"},
        ),
        (row(layer="visitor_id", touchpoints=[touchpoint("k1", "a"), *OF_B]), "b", {"k1", "k2", "k3"}),
    ],
)
def test_who_was_credited(record: dict[str, Any], ad_id: str | None, known_as: set[str]) -> None:
    found = credited(record)
    assert found.ad_id == ad_id
    assert found.known_as == known_as
