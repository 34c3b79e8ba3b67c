"""ClickHouse's HTTP interface, as far as its ordinary client uses it.

Supported: queries and inserts by URL parameter, body, both, or form field; settings and `{name:Type}`
parameters by URL; compressed request bodies; ClickHouse's headers, error texts and statuses. Not supported:
sessions and their temporary tables, external data, progress headers, compressed or streamed responses, users.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import sys
import uuid
import zlib
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor

import lz4.frame  # type: ignore[import-untyped]
from aiohttp import web

from deploy.local.clickhouse_server.engine import Engine, Query, QueryError, Result
from deploy.local.clickhouse_server.status import http_status

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

__all__ = ["application"]

# Parameters about the transport; every other one is a setting for the engine.
TRANSPORT_PARAMETERS = frozenset(
    {
        "buffer_size",
        "client_protocol_version",
        "compress",
        "database",
        "decompress",
        "default_format",
        "password",
        "query",
        "query_id",
        "quota_key",
        "role",
        "session_check",
        "session_id",
        "session_timeout",
        "stacktrace",
        "user",
        "wait_end_of_query",
    }
)
PARAMETER_PREFIX = "param_"

DECOMPRESS: Mapping[str, Callable[[bytes], bytes]] = {
    "": bytes,
    "identity": bytes,
    "gzip": gzip.decompress,
    "deflate": zlib.decompress,
    "lz4": lz4.frame.decompress,
    "zstd": zstd.decompress,
}

MAX_BODY_BYTES = 4 << 30


def application(engine: Engine, workers: ThreadPoolExecutor) -> web.Application:
    """The endpoint over `engine`, whose queries run in `workers`."""

    async def answer(request: web.Request) -> web.Response:
        parameters = dict(request.query)
        body = await _body(request, parameters)
        if "query" not in parameters and not body:
            return web.Response(text="Ok.\n")
        encoding = request.headers.get("Content-Encoding", "")
        loop = asyncio.get_running_loop()
        try:
            result = await loop.run_in_executor(
                workers, lambda: engine.execute(_query(request, parameters, body, encoding))
            )
        except QueryError as error:
            return _failure(error)
        return _success(result, parameters.get("query_id") or str(uuid.uuid4()), engine.timezone)

    async def ping(request: web.Request) -> web.Response:
        return web.Response(text="Ok.\n")

    app = web.Application(client_max_size=MAX_BODY_BYTES)
    app.router.add_get("/ping", ping)
    app.router.add_get("/", answer)
    app.router.add_post("/", answer)
    return app


async def _body(request: web.Request, parameters: dict[str, str]) -> bytes:
    """The body; a form's fields are added to `parameters` instead."""
    if request.content_type != "multipart/form-data":
        return await request.read()
    for name, value in (await request.post()).items():
        if not isinstance(value, str):
            raise web.HTTPNotImplemented(text="External data is not supported by the local endpoint\n")
        parameters[name] = value
    return b""


def _query(request: web.Request, parameters: Mapping[str, str], body: bytes, encoding: str) -> Query:
    statement = parameters.get("query", "").rstrip().encode()
    data = _decompressed(body, encoding)
    settings = {
        name: value
        for name, value in parameters.items()
        if name not in TRANSPORT_PARAMETERS and not name.startswith(PARAMETER_PREFIX)
    }
    if request.method == "GET":
        # As ClickHouse does: a link can be followed without changing anything.
        settings["readonly"] = "2"
    return Query(
        text=b"\n".join(part for part in (statement, data) if part),
        database=parameters.get("database"),
        settings=settings,
        parameters={
            name.removeprefix(PARAMETER_PREFIX): value
            for name, value in parameters.items()
            if name.startswith(PARAMETER_PREFIX)
        },
        default_format=parameters.get("default_format", "TabSeparated"),
    )


def _decompressed(body: bytes, encoding: str) -> bytes:
    decompress = DECOMPRESS.get(encoding)
    if decompress is None:
        text = f"Code: 89. DB::Exception: Unknown content encoding {encoding}. (UNKNOWN_COMPRESSION_METHOD)"
        raise QueryError(text)
    try:
        return decompress(body)
    except (OSError, EOFError, RuntimeError, zlib.error, zstd.ZstdError) as error:
        text = f"Code: 271. DB::Exception: The {encoding} body is damaged: {error}. (CANNOT_DECOMPRESS)"
        raise QueryError(text) from error


def _success(result: Result, query_id: str, timezone: str) -> web.Response:
    headers = {
        "X-ClickHouse-Summary": json.dumps({name: str(value) for name, value in result.summary.items()}),
        "X-ClickHouse-Query-Id": query_id,
        "X-ClickHouse-Timezone": timezone,
    }
    if result.format is not None:
        headers["X-ClickHouse-Format"] = result.format
    return web.Response(body=result.body, headers=headers)


def _failure(error: QueryError) -> web.Response:
    headers = {"X-ClickHouse-Exception-Code": str(error.code)}
    return web.Response(status=http_status(error.name), text=f"{error}\n", headers=headers)
