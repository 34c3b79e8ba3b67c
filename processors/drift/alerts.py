"""Alerts: a change is one record with a begin and an end, however often it is found again.

Every tick scans anew, and later conversions may move what it finds: a change may be found a bucket earlier, weaker, or
not this time. An alert therefore begins with the first tick that finds its change, takes the gravest severity it had,
and ends where the change has ended or has not been found for RELEASE ticks in a row.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from processors.drift.severity import Severity

__all__ = ["RELEASE", "Alert", "Finding", "Subject", "follow"]

#: Ticks that a change has to be missing to be over.
RELEASE = 3


class Subject(NamedTuple):
    """What a change is of: level (ad, campaign, account), its id, and direction, 1 up, -1 down."""

    level: str
    node_id: str
    direction: int


@dataclass(frozen=True, slots=True)
class Finding:
    """A change as a tick finds it.

    stage: the rate it is of, such as lead or purchase. began: first bucket of the change, in the units of the tick
    (days or hours since the epoch). is_over: whether the new rate has been learned. ratio, low, high: of the rate after
    to that before, with 95 % interval.
    """

    subject: Subject
    stage: str
    began: int
    is_over: bool
    severity: Severity
    at_risk_micros: int
    ratio: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Alert:
    """One record of `drift-alerts`; of those with one alert_id the last counts.

    began: where the change began, as first found. raised, ended: ticks; ended is None while it is open. stages: all
    rates it shows in, sorted. at_risk_micros, ratio, low, high: of the stage with most at risk when last found.
    severity: the gravest it had. missing: ticks in a row that have not found it.
    """

    alert_id: str
    ad_account_id: str
    subject: Subject
    stages: tuple[str, ...]
    began: int
    raised: int
    ended: int | None
    severity: Severity
    at_risk_micros: int
    ratio: float
    low: float
    high: float
    missing: int = 0


def follow(
    ad_account_id: str, open_alerts: Mapping[Subject, Alert], findings: Sequence[Finding], tick: int
) -> dict[Subject, Alert]:
    """The alerts after a tick: those that are open, and those that have just ended, which the next tick is not given.

    Changes of one subject in several stages are one alert. A change that is over before any alert of it is open raises
    none.
    """
    found: dict[Subject, list[Finding]] = {}
    for finding in findings:
        if not finding.is_over:
            found.setdefault(finding.subject, []).append(finding)
    over = {finding.subject for finding in findings} - found.keys()
    alerts = {subject: _found(ad_account_id, open_alerts.get(subject), same, tick) for subject, same in found.items()}
    for subject in open_alerts.keys() - found.keys():
        alert = open_alerts[subject]
        missing = alert.missing + 1
        ended = tick if subject in over or missing >= RELEASE else None
        alerts[subject] = replace(alert, missing=missing, ended=ended)
    return dict(sorted(alerts.items()))


def _found(ad_account_id: str, alert: Alert | None, same: Sequence[Finding], tick: int) -> Alert:
    gravest = max(same, key=lambda finding: (finding.at_risk_micros, finding.stage))
    began = alert.began if alert else min(finding.began for finding in same)
    return Alert(
        alert_id=alert.alert_id if alert else _id(ad_account_id, gravest.subject, tick),
        ad_account_id=ad_account_id,
        subject=gravest.subject,
        stages=tuple(sorted({finding.stage for finding in same} | set(alert.stages if alert else ()))),
        began=began,
        raised=alert.raised if alert else tick,
        ended=None,
        severity=max([finding.severity for finding in same] + ([alert.severity] if alert else [])),
        at_risk_micros=gravest.at_risk_micros,
        ratio=gravest.ratio,
        low=gravest.low,
        high=gravest.high,
    )


def _id(ad_account_id: str, subject: Subject, tick: int) -> str:
    parts = (ad_account_id, *map(str, subject), str(tick))
    return hashlib.blake2b("\x1f".join(parts).encode(), digest_size=16).hexdigest()
