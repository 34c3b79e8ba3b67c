"""The short form of `make crash`: some of its windows, one kill each, under a small load."""

from pathlib import Path

import pytest

from deploy.local.stack import LocalStack
from tests.crash.run import run_window
from tests.crash.windows import WINDOWS

EVENTS = 6_000
#: A death on either side of every commit that matters, and a state that has forgotten.
SHORT = (
    "attribution: stored, not produced",
    "attribution: acknowledged, not committed",
    "attribution: Redis lost its last second",
    "deals: acknowledged, not committed",
    "sums: fenced, not acknowledged",
    "loader: inserted, not committed",
    "loader: refused block half landed",
)


@pytest.mark.parametrize("name", SHORT)
def test_nothing_is_lost_or_doubled(name: str, stack: LocalStack, tmp_path: Path) -> None:
    outcome = run_window(name, WINDOWS[name], stack, tmp_path, events=EVENTS, kills=1, seed=1)
    assert outcome.is_well, outcome
    assert outcome.found.sent > EVENTS * (WINDOWS[name].deals or 1) * 0.9
