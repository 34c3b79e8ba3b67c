"""The benchmark's own plumbing: how rates and ratios come about, and what is written."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.bench import __main__ as command
from tests.bench.processes import BenchmarkFailed
from tests.bench.report import Row, Run, as_json, row, with_ratios
from tests.bench.subjects.process import Stopwatch


def result(began_s: float, *steps: tuple[float, int], cpu_s: float = 1.0) -> dict[str, Any]:
    return {
        "count": sum(records for _, records in steps),
        "began_s": began_s,
        "steps": steps,
        "cpu_s": cpu_s,
        "peak_rss_mb": 10.0 * len(steps),
    }


def subject(key: str, rates: Sequence[float], job: str = "", system: str = "", one_process: str = "") -> Row:
    runs = [Run(1_000, 1_000 / rate, 0.002, 50.0) for rate in rates]
    options = {"job": job, "system": system, "processes": 1, "one_process": one_process}
    return row(key, key, runs, 1_000, **options)


def test_one_process_is_timed_from_its_start_to_its_last_record() -> None:
    assert Run.of([result(10.0, (11.0, 100), (14.0, 300))]) == Run(400, 4.0, 1.0, 20.0)


def test_several_processes_are_timed_from_when_the_last_has_joined() -> None:
    early = result(10.0, (11.0, 100), (12.0, 100), (13.0, 100), (14.0, 100), cpu_s=1.5)
    late = result(11.5, (12.5, 50), (13.5, 50), (15.5, 50), cpu_s=0.5)
    assert Run.of([early, late]) == Run(450, 4.0, 2.0, 40.0)


def test_a_process_without_work_has_no_rate() -> None:
    with pytest.raises(BenchmarkFailed):
        Run.of([result(10.0, (11.0, 100)), result(10.0)])


def test_a_row_has_the_median_of_its_runs() -> None:
    found = subject("lane", [100, 400, 200])
    assert found.events_per_s == pytest.approx((200, 100, 400))
    assert found.cpu_us_per_event == pytest.approx(2.0)
    assert found.seconds == pytest.approx([10.0, 2.5, 5.0])


def test_ratios_are_to_the_same_job_only() -> None:
    rows = with_ratios(
        [
            subject("faust", [10, 10, 10], job="read", system="faust"),
            subject("quix", [100, 100, 100], job="read", system="quix"),
            subject("quix-state", [50, 50, 50], job="state", system="quix"),
            subject("lane", [300, 200, 400], job="read"),
            subject("clicks", [200, 200, 200], job="state"),
            subject("loader", [500, 500, 500]),
            subject("lane-2", [450, 450, 450], one_process="lane"),
        ]
    )
    assert {item.key: dict(item.ratios) for item in rows} == {
        "faust": {"faust": 1, "quix": pytest.approx(0.1)},
        "quix": {"faust": pytest.approx(10), "quix": 1},
        "quix-state": {"quix": 1},
        "lane": {"faust": pytest.approx(30), "quix": pytest.approx(3)},
        "clicks": {"quix": pytest.approx(4)},
        "loader": {},
        "lane-2": {"one_process": pytest.approx(1.5)},
    }


def test_the_report_keeps_what_other_runs_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "REPORT", tmp_path / "build" / "bench.json")
    command.write("codec", [{"what": "decode"}])
    command.write("throughput", {"rows": [as_json(subject("lane", [300, 200, 400]))]})
    report = json.loads(command.REPORT.read_text())
    assert report["codec"] == [{"what": "decode"}]
    assert report["machine"]["cores"] >= 1
    [found] = report["throughput"]["rows"]
    assert found["events_per_s"] == {
        "median": pytest.approx(300),
        "min": pytest.approx(200),
        "max": pytest.approx(400),
    }
    assert found["ratio_to_faust"] is None


def test_a_stopwatch_is_over_when_everything_is_done_or_somebody_says_so() -> None:
    stopwatch = Stopwatch(expected=3)
    stopwatch.start()
    stopwatch.add(2)
    assert not stopwatch.is_over
    stopwatch.add(1)
    assert stopwatch.is_over
    assert stopwatch.result()["count"] == 3
    another = Stopwatch(expected=3)
    another.is_told_to_stop.set()
    assert another.is_over
