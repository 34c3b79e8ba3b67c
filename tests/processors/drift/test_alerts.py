"""An alert is one record with a begin and an end."""

from dataclasses import replace

import numpy as np
import pytest

from processors.drift.alerts import RELEASE, Alert, Finding, Subject, follow
from processors.drift.detect import AccountSums, detect
from processors.drift.evidence import Counted, Evidence, evidence
from processors.drift.severity import CALM, RESPONSES, Bounds, Severity, money_at_risk, respond

SUBJECT = Subject("ad", "a1", -1)
FINDING = Finding(SUBJECT, "purchase", 10, False, Severity.HIGH, 50, 0.5, 0.4, 0.6)


def _evidence(before: float, since: float, expected: float) -> Evidence:
    return evidence(Counted(before, before), Counted(since, expected))


def _ticks(*ticks: list[Finding]) -> list[Alert]:
    """The alert of SUBJECT after each tick, from the first to its end."""
    open_alerts: dict[Subject, Alert] = {}
    seen = []
    for tick, findings in enumerate(ticks, start=12):
        after = follow("act", open_alerts, findings, tick)
        seen += [after[SUBJECT]] if SUBJECT in after else []
        open_alerts = {subject: alert for subject, alert in after.items() if alert.ended is None}
    return seen


def test_what_is_found_again_is_the_same_alert() -> None:
    moved = replace(FINDING, began=9, severity=Severity.CRITICAL, at_risk_micros=90)
    weaker = replace(FINDING, severity=Severity.LOW, at_risk_micros=1)
    first, second, third = _ticks([FINDING], [moved], [weaker])
    assert first.alert_id == second.alert_id == third.alert_id
    assert [alert.began for alert in (first, second, third)] == [10, 10, 10]
    assert [alert.severity for alert in (first, second, third)] == [Severity.HIGH, Severity.CRITICAL, Severity.CRITICAL]
    assert third.at_risk_micros == 1


def test_an_alert_that_flickers_does_not_end() -> None:
    alerts = _ticks([FINDING], *[[]] * (RELEASE - 1), [FINDING])
    assert [alert.ended for alert in alerts] == [None] * (RELEASE + 1)
    assert len({alert.alert_id for alert in alerts}) == 1
    assert alerts[-1].missing == 0


def test_it_ends_where_it_is_over_or_has_long_been_missing() -> None:
    assert _ticks([FINDING], [replace(FINDING, is_over=True)])[-1].ended == 13
    assert _ticks([FINDING], *[[]] * RELEASE)[-1].ended == 12 + RELEASE
    assert _ticks([replace(FINDING, is_over=True)]) == []


def test_the_next_change_of_the_same_ad_is_another_alert() -> None:
    alerts = _ticks([FINDING], [replace(FINDING, is_over=True)], [FINDING])
    assert len({alert.alert_id for alert in alerts}) == 2


def test_a_change_that_shows_in_several_stages_is_one_alert() -> None:
    [alert] = _ticks([FINDING, replace(FINDING, stage="lead", at_risk_micros=70)])
    assert alert.stages == ("lead", "purchase")
    assert alert.at_risk_micros == 70


def test_neither_order_nor_repetition_of_findings_shows() -> None:
    other = replace(FINDING, stage="lead", at_risk_micros=70)
    assert _ticks([FINDING, other]) == _ticks([other, FINDING, FINDING])


def test_a_response_does_not_ratchet() -> None:
    assert respond([]) == CALM
    for severity, response in RESPONSES.items():
        assert respond([severity] * 50) == response
        assert 0 < response.evidence_factor <= 1
        assert response.freezes_scaling == (severity == Severity.CRITICAL)
    factors = [RESPONSES[severity].evidence_factor for severity in Severity]
    assert factors == sorted(factors, reverse=True)


def test_money_at_risk_follows_effect_and_money_and_not_significance() -> None:
    tiny_but_sure, large = _evidence(1e6, 98_000, 100_000), _evidence(1e4, 50, 100)
    assert tiny_but_sure.probability > 0.99
    assert money_at_risk(tiny_but_sure, 10**8) < money_at_risk(large, 10**8) / 10
    assert money_at_risk(large, 2 * 10**8) == pytest.approx(2 * money_at_risk(large, 10**8), abs=1)


def test_evidence_rests_on_both_sides() -> None:
    assert _evidence(30, 10, 30).probability < _evidence(3_000, 10, 30).probability
    noisy = evidence(Counted(6_000, 6_000), Counted(450, 600, noise=0.2))
    assert noisy.probability < _evidence(6_000, 450, 600).probability
    nothing = _evidence(0, 0, 0)
    assert nothing.probability < 0.01
    assert nothing.ratio == pytest.approx(1)


def test_a_platform_that_breaks_is_one_critical_alert() -> None:
    rng = np.random.default_rng(5)
    clicks = rng.poisson(200, (30, 100))
    counts = rng.binomial(clicks, np.where(np.arange(30)[:, None] < 20, 0.03, 0.012))
    sums = AccountSums(
        "purchase", "act", [f"a{n}" for n in range(100)], [f"c{n // 10}" for n in range(100)], 0,
        counts, clicks, clicks * 1_000_000,
    )  # fmt: skip
    [finding] = detect(sums)
    assert finding.subject == Subject("account", "act", -1)
    assert finding.severity == Severity.CRITICAL
    assert finding.low < 0.4 < finding.high
    [watched] = detect(sums, Bounds(1, 10**14, 10**15))
    assert watched.severity == Severity.MEDIUM
