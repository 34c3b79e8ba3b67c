"""A plain sentence for each decision."""

from collections.abc import Sequence

from processors.decisions.compiled import Floats, Ints
from processors.decisions.limits import Allocation
from processors.decisions.split import Split
from processors.decisions.verdicts import KILL, SCALE, Thresholds, Verdicts

__all__ = ["reasons_of"]


def reasons_of(
    allocation: Allocation,
    previous: Ints,
    split: Split,
    verdicts: Verdicts,
    expected: Floats,
    thresholds: Thresholds,
) -> Sequence[str]:
    """A sentence for each ad: what changes, what is expected of it, and which limit decided."""
    sentences = []
    for ad, budget in enumerate(allocation.budgets):
        parts = [
            f"{_change(int(previous[ad]), int(budget))}: expected to return {expected[ad]:.2f} per unit spent, "
            f"the best of its account with probability {split.propensity[ad]:.2f}"
        ]
        if verdicts.verdict[ad] == KILL:
            parts.append(f"below {thresholds.kill:g} with probability {verdicts.below_kill[ad]:.2f}: stop it")
        if verdicts.verdict[ad] == SCALE:
            parts.append(f"above {thresholds.target:g} with probability {verdicts.above_target[ad]:.2f}: let it grow")
        if allocation.bound[ad]:
            parts.append(f"limited by {allocation.bound[ad]}")
        sentences.append("; ".join(parts))
    return sentences


def _change(previous: int, budget: int) -> str:
    if budget == previous:
        return "Kept"
    if previous == 0:
        return "Started"
    if budget == 0:
        return "Stopped"
    return f"{'Raised' if budget > previous else 'Lowered'} by {abs(budget - previous) / previous:.0%}"
