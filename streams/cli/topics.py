"""`spendloop topics apply`: topics and schemas as the contract says."""

import click
from rich.console import Console
from rich.table import Table

from streams.admin import apply_topics
from streams.settings import load_settings

__all__ = ["topics"]


@click.group()
def topics() -> None:
    """Create topics and register schemas."""


@topics.command("apply")
def apply() -> None:
    """Create what is missing; refuse what would break readers or move keys. May be repeated."""
    table = Table("topic", "partitions", "", "new schema versions")
    for item in apply_topics(load_settings()):
        table.add_row(item.topic, str(item.partitions), "created" if item.created else "", str(item.new_versions or ""))
    Console().print(table)
