"""ClickHouse over HTTP, with its failures told apart: an outage is waited out, a refusal is not."""

from collections.abc import Callable
from typing import Any, Self
from urllib.parse import urlsplit

import clickhouse_connect
import pyarrow as pa
import urllib3
from clickhouse_connect.driver.exceptions import DatabaseError, Error, OperationalError

from sinks.errors import Refused, Unavailable

__all__ = ["ClickHouse"]

#: What a server says that can serve later: too much at once, no room, a replica or its keeper away, a shutdown.
PASSING = frozenset(
    {
        "ABORTED",
        "CANNOT_SCHEDULE_TASK",
        "KEEPER_EXCEPTION",
        "MEMORY_LIMIT_EXCEEDED",
        "NETWORK_ERROR",
        "NO_ACTIVE_REPLICAS",
        "NO_FREE_CONNECTION",
        "NO_ZOOKEEPER",
        "NOT_ENOUGH_SPACE",
        "QUERY_WAS_CANCELLED",
        "SERVER_OVERLOADED",
        "SOCKET_TIMEOUT",
        "SYSTEM_ERROR",
        "TABLE_IS_READ_ONLY",
        "TIMEOUT_EXCEEDED",
        "TOO_FEW_LIVE_REPLICAS",
        "TOO_MANY_PARTS",
        "TOO_MANY_SIMULTANEOUS_QUERIES",
        "UNKNOWN_STATUS_OF_INSERT",
    }
)
#: A block may span any number of months, and is acknowledged when it is in the table.
INSERT_SETTINGS = {"insert_deduplicate": 1, "async_insert": 0, "max_partitions_per_insert_block": 0}


class ClickHouse:
    """A connection to one database. Not to be shared between threads."""

    def __init__(self, url: str, *, database: str, user: str = "default", password: str = "") -> None:
        """Creates the database where it is missing, which a reader may not. Raises Unavailable, Refused."""
        parts = urlsplit(url)
        options: dict[str, Any] = {
            "host": parts.hostname or "localhost",
            "port": parts.port or (8443 if parts.scheme == "https" else 8123),
            "secure": parts.scheme == "https",
            "username": user,
            "password": password,
            "autogenerate_session_id": False,
            "show_clickhouse_errors": "scrub",
        }
        self.database = database
        self._client = _translate(lambda: clickhouse_connect.get_client(**options))
        if not self.command(f"EXISTS DATABASE {database}"):
            self.command(f"CREATE DATABASE IF NOT EXISTS {database}")
        self._client.database = database

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def command(self, sql: str) -> Any:
        """Run a statement. Raises Unavailable, Refused."""
        return _translate(lambda: self._client.command(sql))

    def query(self, sql: str) -> pa.Table:
        """The result as Arrow. Raises Unavailable, Refused."""
        return _translate(lambda: self._client.query_arrow(sql, use_strings=True))

    def insert(self, table: str, rows: pa.Table, token: str) -> None:
        """Insert once: a second insert under the same token is dropped by the server.

        The token is not optional, since the client repeats an insert by itself when a connection closes.
        Raises Unavailable, Refused, neither of which repeats anything of the rows.
        """
        settings = {**INSERT_SETTINGS, "insert_deduplication_token": token}
        _translate(lambda: self._client.insert_arrow(table, rows, settings=settings), _name_only)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()


def _servers_words(error: Exception) -> str:
    words = str(error).rpartition("DB::Exception: ")[2].strip()
    return words.splitlines()[0][:500] if words else type(error).__name__


def _name_only(error: Exception) -> str:
    """The server's words may repeat the data."""
    return f"{error.name} (code {error.code})" if isinstance(error, Error) and error.code else _servers_words(error)


def _translate(call: Callable[[], Any], explain: Callable[[Exception], str] = _servers_words) -> Any:
    """The result of `call`; its errors become ours, without the original, which would be printed with them."""
    try:
        return call()
    except Error as error:
        if _is_outage(error):
            raise Unavailable(f"ClickHouse cannot serve now: {explain(error)}") from None
        raise Refused(f"ClickHouse refused: {explain(error)}") from None
    except (urllib3.exceptions.HTTPError, OSError) as error:
        raise Unavailable(f"ClickHouse does not answer: {explain(error)}") from None


def _is_outage(error: Error) -> bool:
    # An error of the server without a code is the word of something in front of it.
    return (
        isinstance(error, OperationalError)
        or error.name in PASSING
        or (type(error) is DatabaseError and not error.code)
    )
