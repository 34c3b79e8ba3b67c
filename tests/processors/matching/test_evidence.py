from urllib.parse import urlsplit

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from processors.matching.evidence import (
    BROWSERS,
    MISSING,
    SYSTEMS,
    VERSIONS,
    Evidence,
    combine,
    evidence_of,
    hash_text,
)
from tests.processors.matching.events import IPHONE, click, evidence

CHROME = "Mozilla/5.0 (Linux; Android 14; SM-S918B; wv) Version/4.0 Chrome/138.0.7204.40 Mobile Safari/537.36"


def one(**changes: object) -> Evidence:
    return evidence(click(1, 0, **changes))


@pytest.mark.parametrize(
    ("column", "value", "other", "same"),
    [
        ("ip", "2001:db8:1:2:3::4", "2001:db8:1:2:ffff::9", True),
        ("ip", "192.0.2.1", "192.0.2.2", False),
        ("block", "192.0.2.1", "192.0.2.2", True),
        ("block", "2001:db8:1:2::1", "2001:db8:1:3::1", True),
        ("block", "192.0.2.1", "192.0.3.1", False),
    ],
)
def test_addresses(column: str, value: str, other: str, same: bool) -> None:
    assert (getattr(one(ip=value), column)[0] == getattr(one(ip=other), column)[0]) == same


def test_a_renewed_browser_is_another_fingerprint_and_the_same_device() -> None:
    before, after = one(user_agent=CHROME), one(user_agent=CHROME.replace("138.0.7204.40", "139.0.7210.1"))
    assert before.fingerprint[0] != after.fingerprint[0]
    assert (before.device[0], before.family[0], before.system[0]) == (after.device[0], after.family[0], after.system[0])


def test_screens_and_systems_tell_devices_apart() -> None:
    assert one(screen_width=393).device[0] != one().device[0]
    assert one(user_agent=CHROME).system[0] != one(user_agent=IPHONE).system[0]


def test_what_is_not_given_is_missing_and_needs_no_column() -> None:
    found = evidence_of(pa.table({"event_time": pa.array([0], pa.timestamp("ms", "UTC"))}), "landing_url")
    assert all(column[0] == MISSING for name, column in found._asdict().items() if name in ("ip", "device", "email"))
    assert one(ip="", user_agent=None).ip[0] == one(ip="", user_agent=None).fingerprint[0] == MISSING


WORDS = st.sampled_from(
    [
        *SYSTEMS,
        *BROWSERS,
        "Chromium/",
        "FxiOS/",
        "rv:",
        "Version/",
        "FBBV",
        "/",
        "1.2",
        "138.0.7204",
        "٣",
        " ",
        "(",
        "wv",
    ]
)


def hashed(texts: list[str | None]) -> list[int]:
    return [hash_text(text) if text else 0 for text in texts]


@given(st.lists(st.one_of(st.none(), st.lists(WORDS, max_size=8).map("".join)), min_size=1, max_size=5))
def test_user_agents_are_read_as_their_patterns_say(agents: list[str | None]) -> None:
    column = pa.array(agents, pa.string())

    def first_of(names: tuple[str, ...]) -> list[int]:
        return hashed(
            [None if agent is None else next((name for name in names if name in agent), "other") for agent in agents]
        )

    stems = hashed(pc.replace_substring_regex(column, VERSIONS.pattern, r"\1").to_pylist())
    events = pa.table({"event_time": pa.array([0] * len(agents), pa.timestamp("ms", "UTC")), "user_agent": column})
    found = evidence_of(events, "landing_url")
    assert found.system.tolist() == first_of(SYSTEMS)
    assert found.family.tolist() == combine(found.system, pa.array(first_of(BROWSERS), pa.uint64()).to_numpy()).tolist()
    nothing = combine(0, 0, 0).tolist()[0]
    devices = [int(combine(stem, nothing)[0]) if agent else 0 for agent, stem in zip(agents, stems, strict=True)]
    assert found.device.tolist() == devices


@given(
    st.lists(
        st.lists(st.sampled_from(["https:", "//", "www.", "a.example", "/", "?", "#", ":80", "@", "[", "]", "x"])).map(
            "".join
        ),
        min_size=1,
        max_size=5,
    )
)
def test_the_site_is_the_host_of_the_whole_address(pages: list[str]) -> None:
    def host(page: str) -> str:
        try:
            return (urlsplit(page).hostname or "").removeprefix("www.")
        except ValueError:
            return ""

    times = pa.array([0] * len(pages), pa.timestamp("ms", "UTC"))
    found = evidence_of(pa.table({"event_time": times, "landing_url": pages}), "landing_url")
    assert found.site.tolist() == hashed([host(page) for page in pages])
