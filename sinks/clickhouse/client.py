"""ClickHouse over HTTP, with its failures told apart: an outage is waited out, a refusal is not."""

from collections.abc import Mapping
from typing import Any, Self
from urllib.parse import urlsplit

import clickhouse_connect
import pyarrow as pa
import urllib3
from clickhouse_connect.driver.exceptions import DatabaseError, Error, OperationalError

from sinks.errors import Refused, Unavailable

__all__ = ["ClickHouse"]

#: Server error codes that pass by themselves: too many queries, too many parts, memory, timeouts, sockets,
#: a table that is read-only because its keeper is away.
PASSING_CODES = (159, 202, 203, 209, 210, 241, 242, 252, 319, 425, 439)


class ClickHouse:
    """A connection to one database. Not to be shared between threads."""

    def __init__(self, url: str, *, database: str, user: str = "default", password: str = "") -> None:
        """Creates the database where it is missing. Raises Unavailable, Refused."""
        parts = urlsplit(url)
        options: dict[str, Any] = {
            "host": parts.hostname or "localhost",
            "port": parts.port or (8443 if parts.scheme == "https" else 8123),
            "secure": parts.scheme == "https",
            "username": user,
            "password": password,
            "autogenerate_session_id": False,
        }
        self.database = database
        self._client = _translate(lambda: clickhouse_connect.get_client(**options))
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
        Raises Unavailable, Refused.
        """
        settings: Mapping[str, Any] = {"insert_deduplication_token": token, "insert_deduplicate": 1}
        _translate(lambda: self._client.insert_arrow(table, rows, settings=settings))

    def close(self) -> None:
        """Close the connections."""
        self._client.close()


def _translate(call: Any) -> Any:
    try:
        return call()
    except DatabaseError as error:
        if isinstance(error, OperationalError) or _is_passing(error):
            raise Unavailable(f"ClickHouse cannot serve now: {_first_line(error)}") from error
        raise Refused(f"ClickHouse refused: {_first_line(error)}") from error
    except (Error, urllib3.exceptions.HTTPError, OSError) as error:
        raise Unavailable(f"ClickHouse does not answer: {_first_line(error)}") from error


def _is_passing(error: DatabaseError) -> bool:
    return any(f"Code: {code}." in str(error) for code in PASSING_CODES)


def _first_line(error: Exception) -> str:
    """The server's own sentence. What follows it may repeat the data."""
    return str(error).splitlines()[0][:500] if str(error) else type(error).__name__
