"""ClickHouse over HTTP, with its failures told apart: an outage is waited out, a refusal is not."""

import re
from collections.abc import Callable
from typing import Any, Self
from urllib.parse import urlsplit

import clickhouse_connect
import pyarrow as pa
import urllib3
from clickhouse_connect.driver.exceptions import DatabaseError, Error, OperationalError

from sinks.errors import Refused, Unavailable

__all__ = ["ClickHouse", "quoted"]

#: What a server says that can serve later. Errors of ClickHouse 26.9 that an insert can meet and that are nobody's
#: mistake; what is not here stops the loader, with the reason.
PASSING = frozenset(
    {
        # Too much at once: parts, queries, connections, memory, somebody's quota.
        "CANNOT_ALLOCATE_MEMORY",
        "CANNOT_SCHEDULE_TASK",
        "DISTRIBUTED_TOO_MANY_PENDING_BYTES",
        "HTTP_CONNECTION_LIMIT_REACHED",
        "MEMORY_LIMIT_EXCEEDED",
        "MEMORY_RESERVATION_ACQUISITION_TIMEOUT",
        "MEMORY_RESERVATION_FAILED",
        "MEMORY_RESERVATION_KILLED",
        "NO_FREE_CONNECTION",
        "QUERY_SLOT_ACQUISITION_TIMEOUT",
        "QUOTA_EXCEEDED",
        "RECEIVED_ERROR_TOO_MANY_REQUESTS",
        "RESOURCE_LIMIT_EXCEEDED",
        "SERVER_OVERLOADED",
        "TCP_CONNECTION_LIMIT_REACHED",
        "TOO_MANY_PARTS",
        "TOO_MANY_SIMULTANEOUS_QUERIES",
        "USER_SESSION_LIMIT_EXCEEDED",
        # Too slow, or ended by somebody.
        "ABORTED",
        "QUERY_WAS_CANCELLED",
        "QUERY_WAS_CANCELLED_BY_CLIENT",
        "SOCKET_TIMEOUT",
        "TIMEOUT_EXCEEDED",
        "TOO_SLOW",
        # No room, or storage that is away.
        "AZURE_BLOB_STORAGE_ERROR",
        "CANNOT_CREATE_DIRECTORY",
        "CANNOT_FSYNC",
        "CANNOT_OPEN_FILE",
        "CANNOT_WRITE_TO_FILE_DESCRIPTOR",
        "NOT_ENOUGH_SPACE",
        "S3_ERROR",
        "SYSTEM_ERROR",
        # A replica, its Keeper or the network between them is away, or changing.
        "ALL_CONNECTION_TRIES_FAILED",
        "DEADLOCK_AVOIDED",
        "DNS_ERROR",
        "KEEPER_EXCEPTION",
        "NETWORK_ERROR",
        "NO_ACTIVE_REPLICAS",
        "NO_ZOOKEEPER",
        "PART_IS_LOCKED",
        "PART_IS_TEMPORARILY_LOCKED",
        "POCO_EXCEPTION",
        "REPLICA_STATUS_CHANGED",
        "TABLE_IS_BEING_RESTARTED",
        "TABLE_IS_READ_ONLY",
        "TOO_FEW_LIVE_REPLICAS",
        "UNKNOWN_STATUS_OF_INSERT",
        "UNSATISFIED_QUORUM_FOR_PREVIOUS_WRITE",
    }
)
#: A block may span any number of months, is acknowledged when it is in the table, and reaches each materialized view
#: of the table once, also where the table has it already and a view does not.
INSERT_SETTINGS = {
    "insert_deduplicate": 1,
    "deduplicate_blocks_in_dependent_materialized_views": 1,
    "async_insert": 0,
    "max_partitions_per_insert_block": 0,
}
ARROW_OPTIONS = pa.ipc.IpcWriteOptions(compression="lz4")
_VIEW = re.compile(r"while pushing to view ([\w`]+(?:\.[\w`]+)*)")


class ClickHouse:
    """A connection to one database. Not to be shared between threads."""

    def __init__(
        self, url: str, *, database: str, user: str = "default", password: str = "", answer_within_s: float = 300.0
    ) -> None:
        """Creates the database where it is missing, which a reader may not. Raises Unavailable, Refused."""
        parts = urlsplit(url)
        options: dict[str, Any] = {
            "host": parts.hostname or "localhost",
            "port": parts.port or (8443 if parts.scheme == "https" else 8123),
            "secure": parts.scheme == "https",
            "username": user,
            "password": password,
            "send_receive_timeout": answer_within_s,
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
        body = _one_batch(rows)
        _translate(
            lambda: self._client.raw_insert(table, rows.column_names, body, settings, "ArrowStream"), _without_data
        )

    def close(self) -> None:
        """Close the connections."""
        self._client.close()


def _servers_words(error: Exception) -> str:
    words = str(error).rpartition("DB::Exception: ")[2].strip()
    return words.splitlines()[0][:500] if words else type(error).__name__


def _without_data(error: Exception) -> str:
    """The name of the error, and of the view that raised it: the server's words may repeat the data."""
    if not isinstance(error, Error) or not error.code:
        return _servers_words(error)
    view = _VIEW.search(str(error))
    return f"{error.name} (code {error.code}){f' in the view {view[1]}' if view else ''}"


def _one_batch(rows: pa.Table) -> pa.Buffer:
    """As an Arrow stream of one record batch, also where there are no rows: a token stands for one batch."""
    batches = rows.combine_chunks().to_batches() or [pa.RecordBatch.from_pylist([], rows.schema)]
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, rows.schema, options=ARROW_OPTIONS) as writer:
        for batch in batches:
            writer.write_batch(batch)
    return sink.getvalue()


def _translate(call: Callable[[], Any], explain: Callable[[Exception], str] = _servers_words) -> Any:
    """The result of `call`; its errors become ours, without the original, which would be printed with them."""
    try:
        return call()
    except Error as error:
        if _is_outage(error):
            raise Unavailable(f"ClickHouse cannot serve now: {explain(error)}") from None
        raise Refused(f"ClickHouse refused: {explain(error)}", error.name or "") from None
    except (urllib3.exceptions.HTTPError, OSError) as error:
        raise Unavailable(f"ClickHouse does not answer: {explain(error)}") from None


def _is_outage(error: Error) -> bool:
    # An error of the server without a code is the word of something in front of it.
    return (
        isinstance(error, OperationalError)
        or error.name in PASSING
        or (type(error) is DatabaseError and not error.code)
    )


def quoted(text: str) -> str:
    """As a string of SQL, whatever is in it."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
