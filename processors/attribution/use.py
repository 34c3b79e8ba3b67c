"""What a match that evidence makes is sure enough for."""

from dataclasses import dataclass

from processors.attribution.probable import Match

__all__ = ["Thresholds"]


@dataclass(frozen=True, slots=True)
class Thresholds:
    """How sure the ad has to be. What is less sure is kept, with its candidates, and not used: nothing is credited.

    reporting, optimisation: confidence of the ad, in [0, 1]. margin: of the person over the next, for either.
    """

    reporting: float = 0.5
    optimisation: float = 0.9
    margin: float = 0.0

    def is_for_reporting(self, match: Match) -> bool:
        """Whether it gives credit."""
        return self._is_for(match, self.reporting)

    def is_for_optimisation(self, match: Match) -> bool:
        """Whether decisions may go by it."""
        return self._is_for(match, max(self.reporting, self.optimisation))

    def _is_for(self, match: Match, confidence: float) -> bool:
        return bool(match.own) and match.ad >= confidence and match.margin >= self.margin
