"""`spendloop simulate policy`, which needs no servers."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from streams.cli.main import cli

ADS = "ad_id,impressions,clicks,spend,conversions\n" + "".join(
    f"ad-{number},{9000 + number},{90 + number},{40 + number},{number % 4}\n" for number in range(12)
)


@pytest.fixture
def ads(tmp_path: Path) -> Path:
    file = tmp_path / "ads.csv"
    file.write_text(ADS)
    return file


def run(*arguments: object) -> Result:
    return CliRunner().invoke(cli, ["simulate", "policy", *map(str, arguments)])


def test_policies_are_compared_and_the_scores_written(tmp_path: Path) -> None:
    result, plot = tmp_path / "build" / "policy.json", tmp_path / "policy.svg"
    done = run("--seeds", 2, "--policy", "uniform", "--policy", "ours", "--json", result, "--plot", plot)
    assert done.exit_code == 0, done.output
    found = json.loads(result.read_text())
    assert list(found["policies"]) == ["uniform", "ours"]
    assert found["policies"]["ours"]["share"] > found["policies"]["uniform"]["share"] + 0.2
    assert found["world"]["drift"] == "abrupt"
    assert plot.read_text().count("<rect") == 2


def test_a_cap_on_steps_shows_what_it_costs(tmp_path: Path) -> None:
    done = run("--seeds", 2, "--policy", "ours", "--step-cap", 0.2, "--json", tmp_path / "policy.json")
    scores = json.loads((tmp_path / "policy.json").read_text())["policies"]
    assert done.exit_code == 0, done.output
    assert scores["ours, steps of at most 20%"]["share"] < scores["ours"]["share"]


def test_accounts_like_a_teams_own_need_no_tuning(ads: Path, tmp_path: Path) -> None:
    done = run(
        "--seeds", 2, "--ads", ads, "--policy", "ours", "--daily-budget", 900, "--json", tmp_path / "policy.json"
    )
    assert done.exit_code == 0, done.output
    found = json.loads((tmp_path / "policy.json").read_text())
    assert found["world"]["value"] == pytest.approx(546 / 18)
    assert found["world"]["daily_budget"] == 900


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ad_id,spend\n1,2\n", "no column impressions, clicks, conversions"),
        ("impressions,clicks,spend,conversions\n1,1,much,0\n", "much"),
        ("impressions,clicks,spend,conversions\n1,1,5,0\n", "1 ads spent anything; at least 3 are needed"),
    ],
)
def test_a_file_that_is_no_export_of_ads_is_refused(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "ads.csv"
    file.write_text(text)
    done = run("--ads", file)
    assert done.exit_code == 2
    assert message in done.output
