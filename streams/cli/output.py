"""What commands print: tables, times, and text that came from somebody's records."""

from datetime import UTC, datetime

from rich.console import Console
from rich.table import Table
from rich.text import Text

__all__ = ["error_console", "moment", "plain", "print_table"]

#: Where no terminal has to hold it, a line is as long as it has to be.
PIPE_WIDTH = 500


def print_table(table: Table) -> None:
    """Print a table to the standard output, whole where that is not a terminal."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = PIPE_WIDTH
    console.print(table)


def error_console() -> Console:
    """For progress, which is not part of the answer."""
    return Console(stderr=True)


def moment(time_ms: int) -> str:
    """A time in UTC, to the second.

    >>> moment(1_750_000_000_123)
    '2025-06-15T15:06:40Z'
    """
    return datetime.fromtimestamp(time_ms // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def plain(text: str | None) -> Text:
    """Text as it is: neither markup nor anything a terminal would obey.

    >>> plain("[red]a\\x1b[2J")
    <text '[red]a�[2J' [] ''>
    """
    return Text("".join(letter if letter.isprintable() else "\ufffd" for letter in text or ""))
