"""What can go wrong at the edges, in the two kinds that are handled differently."""

__all__ = ["Refused", "Unavailable"]


class Unavailable(Exception):
    """A dependency does not answer or cannot serve now. Nothing is wrong with the data: wait, try again."""


class Refused(Exception):
    """A dependency will not have the data, now or later. `reason` is its own name for the error, where it has one."""

    def __init__(self, message: str, reason: str = "") -> None:
        super().__init__(message)
        self.reason = reason
