"""The command as a user types it."""

import csv
import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from streams.offsets import Offsets
from streams.settings import Settings

NOW = datetime.now(UTC).replace(microsecond=0)
HEADER = ["account_id", "click_id", "visitor_id", "event_time", "consent", "limited_data_use", "email"]


def spendloop(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "streams.cli.main", *arguments], capture_output=True, text=True, timeout=120, check=False
    )


def row(number: int, **changes: str) -> dict[str, str]:
    base = dict(
        zip(
            HEADER,
            ["acme", f"c{number}", f"v{number}", NOW.isoformat(), "granted", "false", f"p{number}@mail.example"],
            strict=True,
        )
    )
    return base | changes


def write_csv(file: Path, rows: list[dict[str, str]]) -> Path:
    with file.open("w", newline="") as lines:
        writer = csv.DictWriter(lines, HEADER)
        writer.writeheader()
        writer.writerows(rows)
    return file


def count(settings: Settings, topic: str) -> int:
    with Offsets(settings) as offsets:
        return sum(offsets.ends(topic).values())


def test_publish_csv(deployment: Settings, tmp_path: Path) -> None:
    done = spendloop("publish", "clicks", str(write_csv(tmp_path / "a.csv", [row(n) for n in range(30)])))
    assert done.returncode == 0, done.stderr
    assert "30 rows published to clicks" in done.stdout
    assert count(deployment, "clicks") == 30


def test_one_bad_row_and_nothing_is_published(deployment: Settings, tmp_path: Path) -> None:
    rows = [row(1), row(2, event_time="yesterday"), row(3, click_id=""), row(4, limited_data_use="perhaps")]
    done = spendloop("publish", "clicks", str(write_csv(tmp_path / "a.csv", rows)))
    assert done.returncode == 1
    assert "line 3: event_time: neither ISO 8601 nor milliseconds since 1970" in done.stderr
    assert "line 4: missing_field: click_id not given" in done.stderr
    assert "line 5: limited_data_use: neither true nor false" in done.stderr
    assert count(deployment, "clicks") == 0


def test_bad_rows_are_set_aside_and_can_be_mended(deployment: Settings, tmp_path: Path) -> None:
    rows = [row(1), row(2, event_time="yesterday"), row(3)]
    rejected = tmp_path / "rejected.csv"
    file = write_csv(tmp_path / "a.csv", rows)
    done = spendloop("publish", "clicks", str(file), "--reject", str(rejected))
    assert done.returncode == 0, done.stderr
    assert count(deployment, "clicks") == 2
    with rejected.open() as lines:
        assert list(csv.DictReader(lines)) == [rows[1]]
    rejected.write_text(rejected.read_text().replace("yesterday", NOW.isoformat()))
    assert spendloop("publish", "clicks", str(rejected)).returncode == 0
    assert count(deployment, "clicks") == 3


def test_json_lines(deployment: Settings, tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    good = {"account_id": "acme", "click_id": "c", "event_time": int(NOW.timestamp() * 1000), "consent": "granted"}
    lines = [good | {"limited_data_use": False}, good, {**good, "limited_data_use": True, "chanel": "x"}]
    file.write_text("\n".join([*map(json.dumps, lines), "{not json", "[1]"]))
    rejected = tmp_path / "rejected.jsonl"
    done = spendloop("publish", "clicks", str(file), "--reject", str(rejected))
    assert done.returncode == 0, done.stderr
    assert "line 2: missing_field: limited_data_use not given" in done.stderr
    assert "line 3: unknown_field: clicks has no chanel" in done.stderr
    assert "line 4: not JSON" in done.stderr
    assert "line 5: not a JSON object" in done.stderr
    assert count(deployment, "clicks") == 1
    assert rejected.read_text().splitlines() == file.read_text().splitlines()[1:]


def test_parquet(deployment: Settings, tmp_path: Path) -> None:
    file = tmp_path / "a.parquet"
    table = pa.table(
        {
            "account_id": ["acme"] * 3,
            "click_id": ["c1", None, "c3"],
            "event_time": pa.array([NOW] * 3, pa.timestamp("us", "UTC")),
            "consent": ["granted"] * 3,
            "limited_data_use": [False] * 3,
        }
    )
    pq.write_table(table, file)
    rejected = tmp_path / "rejected.parquet"
    done = spendloop("publish", "clicks", str(file), "--reject", str(rejected))
    assert done.returncode == 0, done.stderr
    assert "row 2: missing_field: click_id not given" in done.stderr
    assert count(deployment, "clicks") == 2
    assert pq.read_table(rejected).num_rows == 1


def test_check_tests_every_connection(deployment: Settings) -> None:
    done = spendloop("check")
    assert done.returncode == 0, done.stdout + done.stderr
    for name in ("kafka", "topics", "registry", "redis", "clickhouse"):
        assert f"ok     {name}" in done.stdout


def test_check_names_what_does_not_answer(deployment: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPENDLOOP_REDIS__URL", "redis://:hush-hush@127.0.0.1:1/0")
    monkeypatch.setenv("SPENDLOOP_REGISTRY__URL", "http://127.0.0.1:1")
    done = spendloop("check")
    assert done.returncode == 1
    assert "failed redis" in done.stdout
    assert "failed registry" in done.stdout
    assert "ok     kafka" in done.stdout
    assert "hush-hush" not in done.stdout + done.stderr


def test_wrong_settings_are_usage_errors(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPENDLOOP_LOADER__BLOCK_ROWS", "none")
    done = spendloop("check")
    assert done.returncode == 2
    assert "loader.block_rows" in done.stderr
    assert "Traceback" not in done.stderr


def test_topics_apply_may_be_repeated(settings: Settings) -> None:
    first, second = spendloop("topics", "apply"), spendloop("topics", "apply")
    assert first.returncode == second.returncode == 0, first.stderr + second.stderr
    assert "created" in first.stdout
    assert "created" not in second.stdout


def test_sql_formats(settings: Settings) -> None:
    query = "SELECT number, toString(number) AS text FROM numbers(2)"
    assert "│ 1" in spendloop("sql", query).stdout
    assert spendloop("sql", query, "--format", "csv").stdout.splitlines() == ['"number","text"', '"0","0"', '"1","1"']
    lines = spendloop("sql", query, "--format", "json").stdout.splitlines()
    assert [json.loads(line) for line in lines] == [{"number": 0, "text": "0"}, {"number": 1, "text": "1"}]


def test_a_wrong_query_is_explained(settings: Settings) -> None:
    done = spendloop("sql", "SELECT nothing FROM nowhere")
    assert done.returncode == 1
    assert "nowhere" in done.stderr
    assert "Traceback" not in done.stderr


def test_json_logs_are_one_object_a_line(deployment: Settings) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "streams.cli.main", "load", "--log", "json"], stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    first = json.loads(process.stderr.readline())
    process.terminate()
    assert process.wait(60) == 0
    assert first["message"].startswith("loader: metrics at http://")
    assert {"time", "level", "logger"} <= first.keys()
