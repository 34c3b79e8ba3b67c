"""Shares of policies as bars with their errors: SVG, as text."""

from collections.abc import Mapping
from html import escape

__all__ = ["chart_of"]

ROW, WIDTH, LABELS, NUMBERS = 28, 400, 220, 110


def chart_of(shares: Mapping[str, tuple[float, float]]) -> str:
    """The chart: a bar a policy from 0 to 1, and two standard errors to each side.

    >>> chart_of({"ours": (0.9, 0.01)}).count("<rect")
    1
    """
    rows = "".join(_row(number, name, *share) for number, (name, share) in enumerate(shares.items()))
    size = f'width="{LABELS + WIDTH + NUMBERS}" height="{ROW * len(shares) + 8}"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="sans-serif" font-size="13">{rows}</svg>\n'


def _row(number: int, name: str, share: float, error: float) -> str:
    top, middle = number * ROW + 8, number * ROW + 18
    low, high = (LABELS + WIDTH * min(max(end, 0.0), 1.0) for end in (share - 2 * error, share + 2 * error))
    return (
        f'<text x="{LABELS - 8}" y="{middle + 4}" text-anchor="end">{escape(name)}</text>'
        f'<rect x="{LABELS}" y="{top}" width="{WIDTH * share:.1f}" height="{ROW - 8}" fill="#4878a8"/>'
        f'<line x1="{low:.1f}" y1="{middle}" x2="{high:.1f}" y2="{middle}" stroke="black" stroke-width="2"/>'
        f'<text x="{LABELS + WIDTH + 8}" y="{middle + 4}">{share:.3f} ± {error:.3f}</text>'
    )
