"""How much a change matters, in money a day, and what is done about it."""

from collections.abc import Iterable
from enum import IntEnum
from typing import NamedTuple

from processors.drift.evidence import Evidence

__all__ = [
    "CALM",
    "RESPONSES",
    "SHARES",
    "Bounds",
    "Response",
    "Severity",
    "money_at_risk",
    "respond",
    "severity_of",
]


class Severity(IntEnum):
    """Logged; watched; learned anew; learned anew and nothing scaled meanwhile."""

    LOW = 0
    MEDIUM = 1
    HIGH = 2
    CRITICAL = 3


#: Of an ad account's daily spend, what a day's money at risk is from MEDIUM, HIGH and CRITICAL on.
SHARES = (0.02, 0.08, 0.2)
#: How probable a change has to be for scaling to stop.
CERTAIN = 0.99


class Bounds(NamedTuple):
    """Money at risk a day, micros, from which on a change is MEDIUM, HIGH, CRITICAL; ascending."""

    medium: int
    high: int
    critical: int

    @classmethod
    def of_spend(cls, daily_micros: int, shares: tuple[float, float, float] = SHARES) -> "Bounds":
        """In proportion to what the ad account spends a day, for whoever has no sums of his own."""
        return cls(*(max(round(daily_micros * share), 1) for share in shares))


class Response(NamedTuple):
    """What a change asks of the sampler.

    evidence_factor: what evidence from before the change counts, above zero and at most one: both parameters of a Gamma
    posterior are multiplied by it, which leaves its mean and divides its variance. freezes_scaling: whether budgets are
    not raised while the change lasts.
    """

    evidence_factor: float
    freezes_scaling: bool


CALM = Response(1.0, False)
RESPONSES = {
    Severity.LOW: CALM,
    Severity.MEDIUM: Response(0.7, False),
    Severity.HIGH: Response(0.4, False),
    Severity.CRITICAL: Response(0.2, True),
}


def money_at_risk(found: Evidence, daily_spend_micros: int, value_per_spend: float = 1.0) -> int:
    """Regret expected of a day on which nothing is done about a change, micros.

    What the spend brings less than before, or could bring more of, by the probability that the change is one.
    value_per_spend: what a unit of spend brought before.

    >>> money_at_risk(Evidence(50.0, 0.5, 0.4, 0.6), 100_000_000, 2.0)
    100000000
    """
    return round(found.probability * abs(1 - found.ratio) * value_per_spend * daily_spend_micros)


def severity_of(at_risk_micros: int, probability: float, bounds: Bounds) -> Severity:
    """By what is at risk a day; CRITICAL only where the change is CERTAIN, since it stops all scaling.

    >>> severity_of(5, 0.6, Bounds(2, 5, 10)).name, severity_of(20, 0.6, Bounds(2, 5, 10)).name
    ('HIGH', 'HIGH')
    """
    found = Severity(sum(at_risk_micros >= bound for bound in bounds))
    return Severity.HIGH if found == Severity.CRITICAL and probability < CERTAIN else found


def respond(severities: Iterable[Severity]) -> Response:
    """To all open alerts that an ad is under, its own and those of what it is part of: what the gravest asks.

    A function of what is open and not of how often it was asked: it neither adds up nor stays.

    >>> respond([Severity.MEDIUM, Severity.HIGH, Severity.MEDIUM])
    Response(evidence_factor=0.4, freezes_scaling=False)
    """
    return RESPONSES[max(severities, default=Severity.LOW)]
