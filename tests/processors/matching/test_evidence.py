import pyarrow as pa
import pytest

from processors.matching.evidence import MISSING, Evidence, evidence_of
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
