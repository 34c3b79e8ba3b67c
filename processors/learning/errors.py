"""What online learning raises."""

__all__ = ["UnusableSnapshot"]


class UnusableSnapshot(Exception):
    """The bytes are no snapshot, or of another format; the message says which."""
