import uuid
from collections.abc import Iterator
from importlib.resources import files

import pytest

from deploy.local.stack import LocalStack
from deploy.local.state import read_state
from sinks.clickhouse.client import ClickHouse
from sinks.clickhouse.migrations import Migration, apply


@pytest.fixture(scope="session")
def clickhouse_url(stack: LocalStack) -> str:
    return read_state(stack.directory).addresses()["clickhouse"]


@pytest.fixture(scope="session")
def ddl() -> list[Migration]:
    folder = files("deploy") / "clickhouse"
    return [Migration(file.name, file.read_text()) for file in folder.iterdir() if file.name.endswith(".sql")]


@pytest.fixture
def clickhouse(clickhouse_url: str) -> Iterator[ClickHouse]:
    """A database of its own, empty."""
    with ClickHouse(clickhouse_url, database=f"t{uuid.uuid4().hex[:8]}") as clickhouse:
        yield clickhouse
        clickhouse.command(f"DROP DATABASE IF EXISTS {clickhouse.database}")


@pytest.fixture(scope="module")
def tables(clickhouse_url: str, ddl: list[Migration]) -> Iterator[ClickHouse]:
    """A database with the project's tables, which the tests of a module share."""
    with ClickHouse(clickhouse_url, database=f"t{uuid.uuid4().hex[:8]}") as clickhouse:
        apply(clickhouse, ddl)
        yield clickhouse
        clickhouse.command(f"DROP DATABASE IF EXISTS {clickhouse.database}")
