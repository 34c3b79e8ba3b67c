"""`spendloop simulate attribution`, which needs no servers."""

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result

from streams.cli.main import cli
from streams.files import read_rows

SMALL = """
clicks = 12_000
people = 7_200
households = 3_360
ad_caused = 720
organic = 405
"""


@pytest.fixture
def small(tmp_path: Path) -> Path:
    file = tmp_path / "small.toml"
    file.write_text(SMALL)
    return file


def run(*arguments: object) -> Result:
    return CliRunner().invoke(cli, ["simulate", "attribution", *map(str, arguments)])


def test_methods_are_measured_and_the_scores_written(small: Path, tmp_path: Path) -> None:
    done = run("--parameters", small, "--no-oracle", "--json", tmp_path / "build" / "scores.json")
    assert done.exit_code == 0, done.output
    assert "ours, 300 audits" in done.output
    [measured] = json.loads((tmp_path / "build" / "scores.json").read_text())
    assert measured["world"] == "small"
    assert measured["parameters"]["clicks"] == 12_000
    ladder = [
        one for one in measured["scores"] if one["method"] == "fixed ladder" and one["conversions"] == "without id"
    ]
    ours = [one for one in measured["scores"] if one["method"] == "ours" and one["conversions"] == "without id"]
    assert len(ladder) == len(ours) == 4
    assert all(mine["precision"] > theirs["precision"] for mine, theirs in zip(ours, ladder, strict=True))


def test_a_written_market_can_be_published(small: Path, tmp_path: Path) -> None:
    done = run("--parameters", small, "--write", tmp_path)
    assert "12000 clicks and 1125 conversions" in done.output
    for topic, file in (("clicks", "clicks.parquet"), ("conversions", "conversions.parquet")):
        rows = list(read_rows(tmp_path / file, "parquet", topic))
        assert all(row.record is not None for row in rows)
    truth = pq.read_table(tmp_path / "conversion_truth.parquet")
    assert truth.column("caused_by").null_count == 405


def test_parameters_that_are_wrong_are_wrong_usage(tmp_path: Path) -> None:
    file = tmp_path / "market.toml"
    file.write_text("carrier_share = 2\nphones = 1\n")
    done = run("--parameters", file)
    assert done.exit_code == 2
    assert "carrier_share" in done.output
    assert "phones" in done.output


def test_a_market_too_small_to_learn_from_says_so(tmp_path: Path) -> None:
    file = tmp_path / "tiny.toml"
    file.write_text("clicks = 300\npeople = 200\nhouseholds = 90\nad_caused = 20\norganic = 10\n")
    done = run("--parameters", file, "--no-oracle", "--json", tmp_path / "x.json")
    assert done.exit_code == 1
    assert "learns from at least 30" in done.output


def test_totals_are_measured_with_and_without_independent_identifiers(small: Path) -> None:
    done = CliRunner().invoke(
        cli, ["simulate", "totals", "--worlds", "1", "--parameters", str(small), "--format", "json"]
    )
    assert done.exit_code == 0, done.output
    rows = [json.loads(line) for line in done.output.splitlines()]
    assert {row["markets"] for row in rows} == {"as given", "dependent identifiers"}
    assert {"ids only", "fixed ladder", "combination"} <= {row["estimator"] for row in rows}
    [combination] = [r for r in rows if r["estimator"] == "combination" and r["markets"] == "as given"]
    assert combination["count"] == 1
    assert combination["alarms"] in (0, 1)
