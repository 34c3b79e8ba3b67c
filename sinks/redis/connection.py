"""The connection to Redis, with its failures told apart: an outage is waited out, a closed door is not."""

from collections.abc import Awaitable
from importlib.resources import files
from typing import Any

import msgpack
from redis import exceptions
from redis.asyncio import Connection, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from sinks.errors import Refused, Unavailable

__all__ = ["RedisConnection", "packed"]

#: A server that cannot serve now but will: redis-py knows some by their class, others only by their first word.
PASSING = (
    exceptions.ConnectionError,
    exceptions.TimeoutError,
    exceptions.OutOfMemoryError,
    exceptions.ReadOnlyError,
    exceptions.TryAgainError,
    exceptions.ClusterDownError,
)
PASSING_WORDS = ("BUSY", "MISCONF", "NOREPLICAS")
#: A wrong password, or one that may not do what is asked. The first is a ConnectionError to redis-py.
FORBIDDEN = (exceptions.AuthenticationError, exceptions.AuthorizationError, exceptions.NoPermissionError)


class RedisConnection:
    """A client that counts how often it connected: a server that came back may have forgotten its last second."""

    def __init__(self, url: str) -> None:
        """`url` is redis://user:password@host:port/db."""
        self.times_connected = 0

        async def on_connect(connection: Connection) -> None:
            self.times_connected += 1
            await connection.on_connect()

        self.client: Redis = Redis.from_url(
            url,
            socket_timeout=30,
            socket_connect_timeout=5,
            retry=Retry(NoBackoff(), 0),  # waiting is the caller's, who has to know of it
            redis_connect_func=on_connect,
        )

    def script(self, *parts: str) -> Any:
        """The files of this folder, one after the other, as a script to be called with keys and args."""
        folder = files("sinks.redis")
        return self.client.register_script("\n".join((folder / part).read_text() for part in parts))

    async def ask(self, call: Awaitable[Any]) -> Any:
        """The answer to `call`. Raises Unavailable, Refused; anything else is a defect and stays what it is."""
        try:
            return await call
        except exceptions.RedisError as error:
            if isinstance(error, FORBIDDEN):
                raise Refused(f"Redis does not let us in: {error}") from error
            if isinstance(error, PASSING) or str(error).startswith(PASSING_WORDS):
                raise Unavailable(f"Redis cannot serve now: {error}") from error
            raise

    async def close(self) -> None:
        """Close the connections."""
        await self.client.aclose()


def packed(value: Any) -> bytes:
    """For a script: the server's cmsgpack does not know msgpack's type for bytes, all strings are of the raw type.

    A surrogate in a string stands for a byte that is no UTF-8, as in os.fsencode.
    """
    result: bytes = msgpack.packb(value, use_bin_type=False, unicode_errors="surrogateescape")
    return result
