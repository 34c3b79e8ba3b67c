"""`spendloop credit`, as a user types it; it needs no server."""

import csv
import io
import json
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest
from click.testing import CliRunner, Result

from processors.credit import markov
from streams.cli.main import cli
from streams.demo.journeys import read_paths
from streams.files import UnreadableFile
from streams.path_counts import read_path_counts

HEADER = "path,total_conversions,total_conversion_value,total_null"
PATHS = """\
search > social > search,2,30.5,1
social,1,9.000001,0
search,0,0,4
social,1,-1,3
"""


@pytest.fixture(autouse=True)
def _without_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SPENDLOOP_DIR", str(tmp_path / "nothing"))


def paths_file(lines: str = PATHS, header: str = HEADER) -> Path:
    file = Path("paths.csv")
    file.write_text(f"{header}\n{lines}")
    return file


def spendloop_credit(*arguments: str, file: Path | None = None) -> Result:
    return CliRunner().invoke(cli, ["credit", "--paths", str(file or paths_file()), *arguments])


def credited(*arguments: str, file: Path | None = None) -> dict[str, tuple[float, int]]:
    done = spendloop_credit(*arguments, "--format", "json", file=file)
    assert done.exit_code == 0, done.stderr
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert rows == sorted(rows, key=lambda row: (-row["conversions"], row["channel"]))
    return {row["channel"]: (row["conversions"], row["value_micros"]) for row in rows}


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--model", "first"], {"search": (2, 30_500_000), "social": (2, 8_000_001)}),
        (["--model", "last"], {"search": (2, 30_500_000), "social": (2, 8_000_001)}),
        (["--model", "linear"], {"search": (4 / 3, 20_333_333), "social": (8 / 3, 18_166_668)}),
        (["--model", "position_based"], {"search": (1.6, 24_400_000), "social": (2.4, 14_100_001)}),
        (["--model", "shapley"], {"search": (1, 15_250_000), "social": (3, 23_250_001)}),
        (["--model", "last_non_direct"], {"search": (2, 30_500_000), "social": (2, 8_000_001)}),
        (
            ["--model", "last_non_direct", "--direct", "search", "--direct", "mail"],
            {"search": (0, 0), "social": (4, 38_500_001)},
        ),
    ],
)
def test_models(arguments: list[str], expected: dict[str, tuple[float, int]]) -> None:
    found = credited(*arguments)
    assert {channel: micros for channel, (_, micros) in found.items()} == {c: m for c, (_, m) in expected.items()}
    assert {c: n for c, (n, _) in found.items()} == pytest.approx({c: n for c, (n, _) in expected.items()})


def test_markov_with_an_order() -> None:
    for order in ("1", "2", "3"):
        found = credited("--model", "markov", "--order", order)
        expected = markov.markov(read_path_counts(paths_file()), int(order))
        assert [found[channel][0] for channel in expected.channels] == expected.conversions.tolist()
        assert sum(micros for _, micros in found.values()) == 38_500_001
    assert credited("--model", "markov") == credited("--model", "markov", "--order", "1")
    assert credited("--model", "markov") != credited("--model", "markov", "--order", "2")


def test_real_paths(tmp_path: Path) -> None:
    file = tmp_path / "real.csv"
    with file.open("w", newline="") as lines:
        writer = csv.writer(lines)
        writer.writerow(HEADER.split(","))
        for path in read_paths():
            writer.writerow([" > ".join(path.channels), path.conversions, f"{path.value_micros / 1e6:.6f}", path.nulls])
    for model in ("first", "markov", "shapley"):
        found = credited("--model", model, file=file)
        assert sum(conversions for conversions, _ in found.values()) == pytest.approx(19_785, abs=1e-9)
        assert sum(micros for _, micros in found.values()) == 74_802_971_582
        assert len(found) == 12


def test_formats() -> None:
    arguments = ["--model", "first"]
    table = spendloop_credit(*arguments)
    assert "│ search  │ 2.0000      │ 30.500000 │" in table.stdout
    assert "│ social  │ 2.0000      │ 8.000001  │" in table.stdout
    text = spendloop_credit(*arguments, "--format", "csv")
    rows = [{"channel": "search", "conversions": "2", "value_micros": "30500000"}]
    assert list(csv.DictReader(io.StringIO(text.stdout)))[:1] == rows
    arrow = spendloop_credit(*arguments, "--format", "arrow")
    assert pa.ipc.open_stream(arrow.stdout_bytes).read_all().column_names == ["channel", "conversions", "value_micros"]


def test_channels_are_printed_as_they_are() -> None:
    table = spendloop_credit("--model", "first", file=paths_file("[red]x\x1b[2J,1,0,0\n"))
    assert "[red]x\ufffd[2J" in table.stdout


@pytest.mark.parametrize("form", ["table", "json", "csv", "arrow"])
def test_a_file_without_paths(form: str) -> None:
    assert spendloop_credit("--model", "markov", "--format", form, file=paths_file("")).exit_code == 0


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("a > b,1,2", "not as many cells as the header has"),
        ("a > b,1,2,3,4", "not as many cells as the header has"),
        (",1,2,3", "path: a channel is missing in ''"),
        ("a >  > b,1,2,3", "path: a channel is missing in 'a >  > b'"),
        ("a>b,1,2,3", "path: 'a>b' is not joined by ' > '"),
        ("a,1.5,2,3", "total_conversions: '1.5' is not a whole number from zero up"),
        ("a,1,2,-3", "total_null: '-3' is not a whole number from zero up"),
        ("a,,2,3", "total_conversions: '' is not a number"),
        ("a,NA,2,3", "total_conversions: 'NA' is not a number"),
        ("a,1,nan,3", "total_conversion_value: 'nan' is not between"),
        ("a,1,2,1e99999999", "total_null: '1e99999999' is not between"),
        ("a,1e-99999999,2,1", "total_conversions: '1e-99999999' is not a whole number"),
        ("a,1,-1000000000001,3", "total_conversion_value: '-1000000000001' is not between"),
        ("a,0,2,3", "total_conversion_value: 2 without a conversion"),
        ('a,"1,2,3', "unexpected end of data"),
    ],
)
def test_a_bad_line_is_named(line: str, problem: str) -> None:
    done = spendloop_credit("--model", "first", file=paths_file(f"a,1,1,1\n{line}\n"))
    assert done.exit_code == 1
    assert done.stdout == ""
    assert f"paths.csv line 3: {problem}" in done.stderr


def test_bytes_that_are_no_text_are_named() -> None:
    file = paths_file()
    file.write_bytes(file.read_bytes() + b"b\xe4h,1,1,1\n")
    done = spendloop_credit("--model", "first", file=file)
    assert done.exit_code == 1
    assert "line 6: path: 'b\\udce4h' is not UTF-8" in done.stderr


def test_some_bad_lines_stand_for_many() -> None:
    with pytest.raises(UnreadableFile) as caught:
        read_path_counts(paths_file("a,x,1,1\n" * 23))
    lines = str(caught.value).splitlines()
    assert len(lines) == 21
    assert lines[-1] == "... and 3 more bad lines"


@pytest.mark.parametrize(
    ("header", "problem"),
    [
        ("path,total_conversions,total_null", "line 1: no columns total_conversion_value"),
        ("path,path,total_conversions,total_conversion_value,total_null", "line 1: 2 columns path"),
        ("", "line 1: no columns path"),
    ],
)
def test_columns_there_have_to_be(header: str, problem: str) -> None:
    with pytest.raises(UnreadableFile, match=problem):
        read_path_counts(paths_file(header=header))


def test_what_else_a_file_may_hold() -> None:
    file = Path("paths.csv")
    file.write_bytes(
        "\ufefftotal_null,path,note,total_conversions,total_conversion_value\r\n"
        '1,"a, b > ü ",x,2.0,0.0000005\r\n'
        "\r\n"
        "0,a > a,y,1e0,0.0000015\r\n".encode()
    )
    assert read_path_counts(file).items() == [(("a", "a"), (1, 2, 0)), (("a, b", "ü"), (2, 0, 1))]


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--model", "time_decay"], "time_decay goes by the times of touchpoints, which paths do not have"),
        (["--model", "shapely"], "'shapely' is none of first, last, linear, position_based"),
        (["--model", "first", "--order", "1"], "--order is of the chain of markov"),
        (["--model", "markov", "--order", "4"], "4 is not in the range 1<=x<=3"),
        (["--model", "markov", "--direct", "a"], "--direct is for last_non_direct"),
        ([], "Missing option '--model'"),
    ],
)
def test_wrong_usage(arguments: list[str], problem: str) -> None:
    done = spendloop_credit(*arguments)
    assert done.exit_code == 2
    assert problem in done.stderr


def test_what_a_model_cannot_take_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(markov, "MAX_STATES", 1)
    done = spendloop_credit("--model", "markov")
    assert done.exit_code == 1
    assert done.stderr.startswith("spendloop: a chain of order 1 over 2 channels has 2 states")


def test_as_a_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "streams.cli.main", "credit", "--paths", "missing.csv", "--model", "first"],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 2
    assert "'missing.csv' does not exist" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--model", "first"], "give either --paths or --account"),
        (["--model", "first", "--paths", "paths.csv", "--account", "acme"], "give either --paths or --account"),
        (["--model", "first", "--paths", "paths.csv", "--event", "Lead"], "go with --account; a file has none of them"),
        (["--model", "first", "--paths", "paths.csv", "--as-of", "2026-03-01T14:00:00Z"], "go with --account"),
    ],
)
def test_a_file_or_an_account(arguments: list[str], problem: str) -> None:
    paths_file()
    done = CliRunner().invoke(cli, ["credit", *arguments])
    assert done.exit_code == 2
    assert problem in done.stderr
