"""What can go wrong at the edges, in the two kinds that are handled differently."""

__all__ = ["Refused", "Unavailable"]


class Unavailable(Exception):
    """A dependency does not answer or cannot serve now. Nothing is wrong with the data: wait, try again."""


class Refused(Exception):
    """A dependency will not have the data, now or later."""
