"""What data-driven credit raises."""

__all__ = ["UnusableCounts"]


class UnusableCounts(Exception):
    """The counts are not those of any journeys, or too many for the model; the message says which."""
