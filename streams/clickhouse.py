"""The configured ClickHouse database and its DDL."""

from importlib.resources import files

from sinks.clickhouse.client import ClickHouse
from sinks.clickhouse.migrations import Migration
from streams.settings import Settings

__all__ = ["connect", "migrations"]


def connect(settings: Settings, answer_within_s: float = 300.0) -> ClickHouse:
    """The configured database."""
    section = settings.clickhouse
    return ClickHouse(
        section.url,
        database=section.database,
        user=section.user,
        password=section.password.get_secret_value(),
        answer_within_s=answer_within_s,
    )


def migrations() -> list[Migration]:
    """The DDL files of deploy/clickhouse."""
    folder = files("deploy") / "clickhouse"
    return [
        Migration(file.name, file.read_text(encoding="utf-8"))
        for file in folder.iterdir()
        if file.name.endswith(".sql")
    ]
