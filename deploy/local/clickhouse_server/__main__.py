"""Run the endpoint: `python -m deploy.local.clickhouse_server --path DIRECTORY --port PORT`."""

from __future__ import annotations

import argparse
import asyncio
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from aiohttp import web

from deploy.local.clickhouse_server.engine import Engine
from deploy.local.clickhouse_server.http import application

# Queries that wait for the disk or for each other's merges; the engine itself shares out the cores.
WORKERS = 32

# Told to stop, it cancels what reads; inserts under way are given this long to finish.
GRACE_S = 5.0

# ClickHouse's own limit: parameters of a query travel in the URL.
MAX_URL_BYTES = 1 << 20


async def serve(path: Path, port: int) -> None:
    """Serve the data in `path` on the loopback interface until SIGTERM or SIGINT."""
    engine = Engine(path)
    with ThreadPoolExecutor(WORKERS, thread_name_prefix="query") as workers:
        runner = web.AppRunner(
            application(engine, workers),
            access_log=None,
            auto_decompress=False,
            max_line_size=MAX_URL_BYTES,
            max_field_size=MAX_URL_BYTES,
            shutdown_timeout=GRACE_S,
        )
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port).start()
        await _told_to_stop()
        engine.cancel_reads()
        await runner.cleanup()
    engine.close()


async def _told_to_stop() -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await stop.wait()


def main() -> None:
    """Read the command line and serve."""
    parser = argparse.ArgumentParser(prog="python -m deploy.local.clickhouse_server", description=__doc__)
    parser.add_argument("--path", type=Path, required=True, help="directory of the data")
    parser.add_argument("--port", type=int, required=True)
    arguments = parser.parse_args()
    asyncio.run(serve(arguments.path, arguments.port))


if __name__ == "__main__":
    main()
