"""Clicks and conversions as short as a test wants them."""

from typing import Any

import pyarrow as pa

from processors.matching.evidence import Evidence, evidence_of

HOUR_MS = 3_600_000
START_MS = 1_760_000_000_000
IPHONE = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) Version/18.6 Mobile/15E148 Safari/604.1"
DEFAULTS = {
    "ip": "192.0.2.1",
    "user_agent": IPHONE,
    "language": "en-US",
    "time_zone": "America/New_York",
    "screen_width": 390,
    "screen_height": 844,
    "pixel_ratio": 3.0,
}
TEXTS = ("ip", "user_agent", "language", "time_zone", "visitor_id", "click_id", "fbclid", "email_sha256", "page")


def evidence(*rows: dict[str, Any]) -> Evidence:
    """Rows with `at_h`, hours after the start, and whatever differs from DEFAULTS."""
    table = {
        "event_time": pa.array([START_MS + round(row["at_h"] * HOUR_MS) for row in rows], pa.timestamp("ms", "UTC"))
    }
    for name in TEXTS:
        table[name] = pa.array([row.get(name, DEFAULTS.get(name)) for row in rows], pa.string())
    for name in ("screen_width", "screen_height"):
        table[name] = pa.array([row.get(name, DEFAULTS[name]) for row in rows], pa.int32())
    table["pixel_ratio"] = pa.array([row.get("pixel_ratio", 3.0) for row in rows], pa.float64())
    return evidence_of(pa.table(table), "page")


def click(number: int, at_h: float, **others: Any) -> dict[str, Any]:
    return {"click_id": f"k{number}", "visitor_id": f"v{number}", "at_h": at_h, **others}
