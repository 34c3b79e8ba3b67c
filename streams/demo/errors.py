"""The one way the demo fails."""

__all__ = ["DemoFailed"]


class DemoFailed(Exception):
    """The demo cannot run, or did not come out as it should; the message says where."""
