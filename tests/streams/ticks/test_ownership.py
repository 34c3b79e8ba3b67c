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
    members = [Ownership(settings.kafka, settings.group("credit"), topic, lambda: False)]
    deadline = time.monotonic() + 60
    try:
        while not members[0].partitions:
            members[0].wait(0.1)
            assert time.monotonic() < deadline
        members.append(Ownership(settings.kafka, settings.group("credit"), topic, lambda: False))
        with pytest.raises(MemberFenced, match="group_instance_id"):
            _take_turns(members, deadline)
    finally:
        for member in members:
            member.leave()


def _take_turns(members: list[Ownership], deadline: float) -> None:
    while time.monotonic() < deadline:
        for member in members:
            member.wait(0.1)
