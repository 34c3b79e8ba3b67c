"""Members of the group that shares out accounts."""

import time

import pytest

from schemas.topics import topics
from streams.liveness import MemberFenced
from streams.settings import Settings, load_settings
from streams.ticks.ownership import Ownership


def test_a_static_member_whose_name_another_takes_says_so(
    deployment: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPENDLOOP_KAFKA__GROUP_INSTANCE_ID", "first")
    settings = load_settings()
    topic = topics(settings.namespace)["model-credit"].name
    first, second = (Ownership(settings.kafka, settings.group("credit"), topic, lambda: False) for _ in range(2))
    deadline = time.monotonic() + 60
    try:
        while not first.partitions:
            first.wait(0.1)
            assert time.monotonic() < deadline
        with pytest.raises(MemberFenced, match="group_instance_id"):
            _take_turns(second, first, deadline)
    finally:
        first.leave()
        second.leave()


def _take_turns(second: Ownership, first: Ownership, deadline: float) -> None:
    while time.monotonic() < deadline:
        second.wait(0.1)
        first.wait(0.1)
