"""The error every part of the local stack raises."""

from __future__ import annotations

__all__ = ["StackError"]


class StackError(Exception):
    """The local stack could not do what was asked; the message says why and what to do."""
