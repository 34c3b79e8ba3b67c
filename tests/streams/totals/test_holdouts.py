"""`spendloop holdout import`: good tests onto the topic, bad rows by their lines."""

from pathlib import Path

import pytest

from processors.totals.holdout import Holdout, HoldoutTest
from streams.admin import registry
from streams.settings import Settings
from streams.totals.holdouts import holdout_tests
from tests.streams.replay.commands import done, spendloop, written

HEADER = "scope,scope_id,test,from_day,to_day,incremental_share,low,high"
DAY = 20_514  # 2026-03-02


def imported(settings: Settings, account_id: str) -> list[HoldoutTest]:
    client = registry(settings)
    try:
        return holdout_tests(settings, client, 2**53).get(account_id, [])
    finally:
        client.close()


def test_tests_are_imported_and_the_last_word_on_each_counts(deployment: Settings, tmp_path: Path) -> None:
    rows = ["account,,geo,2026-03-02,2026-03-15,0.7,0.5,0.9", "ad,ad-1,lift,2026-03-02,2026-03-08,1.1,0.9,1.3"]
    assert "2 hold-out tests imported" in done(
        "holdout", "import", written(tmp_path, "a.csv", HEADER, *rows), "--account", "acme"
    )
    geo = HoldoutTest("account", "", DAY, DAY + 13, Holdout("geo", 0.7, 0.5, 0.9))
    lift = HoldoutTest("ad", "ad-1", DAY, DAY + 6, Holdout("lift", 1.1, 0.9, 1.3))
    assert imported(deployment, "acme") == [geo, lift]
    again = written(
        tmp_path,
        "b.jsonl",
        '{"account_id": "acme", "scope": "account", "scope_id": null, "test": "geo", "from_day": "2026-03-02", '
        '"to_day": "2026-03-15", "incremental_share": 0.6, "low": 0.5, "high": 0.8}',
        '{"account_id": "other", "scope": "campaign", "scope_id": "c", "test": "geo", "from_day": "2026-03-02", '
        '"to_day": "2026-03-02", "incremental_share": 1, "low": 1, "high": 1}',
    )
    assert "2 hold-out tests imported" in done("holdout", "import", again)
    corrected = HoldoutTest("account", "", DAY, DAY + 13, Holdout("geo", 0.6, 0.5, 0.8))
    assert imported(deployment, "acme") == [corrected, lift]
    assert imported(deployment, "other") == [HoldoutTest("campaign", "c", DAY, DAY, Holdout("geo", 1, 1, 1))]


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ("account,,geo,2026-03-02,2026-03-15,0.7,0.8,0.9", "0 < 0.8 <= 0.7 <= 0.9 does not hold"),
        ("account,,geo,2026-03-02,2026-03-15,0,0,0.9", "0 < 0.0 <= 0.0 <= 0.9 does not hold"),
        ("account,,geo,2026-03-02,2026-03-15,nan,0.1,0.9", "does not hold"),
        ("adset,a,geo,2026-03-02,2026-03-15,0.7,0.5,0.9", "scope adset is none of account, campaign, ad"),
        ("ad,,geo,2026-03-02,2026-03-15,0.7,0.5,0.9", "scope ad without a scope_id"),
        ("account,x,geo,2026-03-02,2026-03-15,0.7,0.5,0.9", "scope account with a scope_id"),
        ("account,,geo,2026-03-15,2026-03-02,0.7,0.5,0.9", "it ends before it begins"),
        ("account,,geo,March,2026-03-15,0.7,0.5,0.9", "from_day: not a date such as 2026-01-31"),
        ("account,,geo,2026-03-02,2026-03-15,most,0.5,0.9", "incremental_share: not a number"),
        ("account,,,2026-03-02,2026-03-15,0.7,0.5,0.9", "test"),
        ("account,,geo,2026-03-02,2026-03-15,0.7,0.5", "7 cells where the header has 8"),
    ],
)
def test_a_bad_row_is_named_by_its_line_and_nothing_is_published(
    shared_deployment: Settings, tmp_path: Path, row: str, problem: str
) -> None:
    good = "account,,good,2026-03-02,2026-03-15,0.7,0.5,0.9"
    found = spendloop("holdout", "import", written(tmp_path, "a.csv", HEADER, good, row), "--account", "acme")
    assert found.exit_code == 1
    assert "line 3" in found.output
    assert problem in " ".join(found.output.split())
    assert imported(shared_deployment, "acme") == []
