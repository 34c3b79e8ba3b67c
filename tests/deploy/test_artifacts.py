"""The cache of artifacts holds whole artifacts only."""

from pathlib import Path

import pytest
from jgo.maven import MavenContext

from deploy.local import artifacts
from deploy.local.errors import StackError


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SPENDLOOP_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def write_one_file(context: MavenContext, target: Path, report: artifacts.Report) -> None:
    (target / "a.jar").write_text("a")


def break_after_one_file(context: MavenContext, target: Path, report: artifacts.Report) -> None:
    write_one_file(context, target, report)
    raise ConnectionError("the cable was pulled")


def test_a_failed_fetch_leaves_nothing_and_says_what_to_do(cache: Path) -> None:
    with pytest.raises(StackError, match=r"the cable was pulled\n(.|\n)*run the command again"):
        artifacts._cached("thing-1", break_after_one_file, print)
    assert [path.name for path in cache.iterdir()] == ["thing-1.lock"]
    assert (artifacts._cached("thing-1", write_one_file, print) / "a.jar").read_text() == "a"


def test_a_killed_fetch_is_swept_up_by_the_next(cache: Path) -> None:
    (cache / "thing-1.partial-x" / "target").mkdir(parents=True)
    artifacts._cached("thing-1", write_one_file, print)
    assert sorted(path.name for path in cache.iterdir()) == ["thing-1", "thing-1.lock"]


def test_what_is_cached_is_not_fetched_again() -> None:
    first = artifacts._cached("thing-1", write_one_file, print)
    assert artifacts._cached("thing-1", break_after_one_file, print) == first


def test_progress_is_reported_every_ten_files() -> None:
    lines: list[str] = []
    follow = artifacts._progress("thing-1", lines.append)
    for number in range(25):
        with follow(f"{number}.jar", 1000) as update:
            update(1000)
    assert lines == ["thing-1: 10 files so far", "thing-1: 20 files so far"]


def test_progress_is_reported_every_ten_megabytes() -> None:
    lines: list[str] = []
    with artifacts._progress("thing-1", lines.append)("app.tar.gz", 25_000_000) as update:
        for _ in range(25):
            update(1_000_000)
    assert lines == ["app.tar.gz: 10 of 25 MB", "app.tar.gz: 20 of 25 MB"]
