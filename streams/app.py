"""Faust apps of the roles: one app, one consumer group, one process; more processes share the partitions."""

import asyncio
import logging
import ssl
import tempfile
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import faust
from faust.types import TP
from faust.types.auth import CredentialsT
from mode.supervisors import CrashingSupervisor

from streams.collector import spare_the_collector
from streams.liveness import REBALANCE_TIMEOUT_S, SESSION_TIMEOUT_S
from streams.settings import KafkaSettings, Settings
from streams.transport.chunk import Abandoned, Chunk

__all__ = ["App", "ChunkSchema", "StartingPoints", "create_app", "work_through"]

Offsets = Mapping[TP, int]
Preparation = Callable[[], Awaitable[None]]
#: From the commits, None where there is none, and the beginnings of the logs: where each partition begins.
StartingPoints = Callable[[Mapping[TP, int | None], Offsets], Awaitable[Offsets]]

#: Chunks a topic may have waiting in this process. The transport takes no more than two a partition, so that
#: Faust's own back-pressure, which holds up all partitions for one, has no part in it.
CHUNKS_WAITING = 4_096
#: Of an agent: while one is decoded, one waits for Redis, and one for Kafka.
CHUNKS_AT_WORK = 3
COMMIT_INTERVAL_S = 1.0
#: As long as it can be: aiokafka leaves the group when nobody fetches for so long, and joins again only at a fetch,
#: which Faust makes only when it has joined. That a process is alive its heartbeats tell.
MAX_POLL_INTERVAL_S = 2_000_000
log = logging.getLogger(__name__)


class ChunkSchema(faust.Schema):  # type: ignore[misc]
    """Hands chunks to agents as they are; decoding is the agent's."""

    def compile(self, app: Any, **kwargs: Any) -> Any:
        """Faust's hook: the function that makes an event of a message."""

        async def decode(message: Any, *, propagate: bool = False) -> Any:
            return app.create_event(None, message.value, {}, message)

        return decode


class App(faust.App):  # type: ignore[misc]
    """A role as the batch transport sees it.

    kafka: settings of a librdkafka client.
    prepare: what the role has to know before it begins; done while it joins its group.
    starting_points: where the partitions assigned begin; asked again after a rewind. It may take its time.
    topic_ids: Kafka's, by topic; they go into commits.
    """

    kafka: Mapping[str, Any]
    prepare: Preparation
    starting_points: StartingPoints
    topic_ids: Mapping[str, str]
    _preparation: "asyncio.Task[None] | None" = None

    async def on_first_start(self) -> None:
        """Of a worker: what is there now, stays."""
        await super().on_first_start()
        spare_the_collector()
        self._preparation = asyncio.ensure_future(self._prepare())

    async def _prepare(self) -> None:
        """What raises stops the worker, whether it has partitions or not."""
        try:
            await self.prepare()
        except Exception as error:
            await self.crash(error)
            raise

    async def on_stop(self) -> None:
        """Of a worker: in an outage it may still be waiting."""
        if self._preparation is not None:
            self._preparation.cancel()
        await super().on_stop()

    async def begin(self, committed: Mapping[TP, int | None], log_starts: Offsets) -> Offsets:
        """Where the partitions assigned begin, as soon as the role is prepared."""
        if self._preparation is not None:
            await self._preparation
        return await self.starting_points(committed, log_starts)


async def nothing() -> None:
    """Of a role that has to know nothing before."""


async def commits(committed: Mapping[TP, int | None], log_starts: Offsets) -> Offsets:
    """Every partition at its commit, or at the beginning of the log where there is none."""
    return {tp: log_starts[tp] if offset is None else offset for tp, offset in committed.items()}


async def work_through(stream: Any, work: Callable[[Chunk], Awaitable[None]]) -> None:
    """Give an agent's chunks to `work`: a partition's one after the other, those of several partitions together.

    While one chunk waits for a server, another is decoded. A chunk is finished when `work` returns. What it raises
    stops the worker, with nothing of the chunk committed; `Abandoned` only ends the chunk.
    """
    room = asyncio.Semaphore(CHUNKS_AT_WORK)
    newest: dict[TP, asyncio.Task[None]] = {}
    try:
        async with asyncio.TaskGroup() as tasks:
            async for event in stream.noack().events():
                tp = event.message.tp
                newest[tp] = tasks.create_task(_work_on(event, newest.get(tp), room, work))
    except BaseExceptionGroup as group:
        raise group.exceptions[0] from None  # the first of them ended the others


async def _work_on(
    event: Any,
    before: asyncio.Task[None] | None,
    room: asyncio.Semaphore,
    work: Callable[[Chunk], Awaitable[None]],
) -> None:
    """Work on a chunk when the one before it, of the same partition, is done with and there is room."""
    if before is not None:
        await asyncio.wait([before])
    async with room:
        if event.value.begin():
            try:
                await work(event.value)
            except Abandoned as abandoned:
                log.info("given up, for its partition begins anew: %s", abandoned)
            except BaseException:
                event.value.abandon()  # or the worker's end would wait for it
                raise
            else:
                event.value.finish()
    event.ack()


def create_app(
    role: str,
    settings: Settings,
    starting_points: StartingPoints = commits,
    topic_ids: Mapping[str, str] = MappingProxyType({}),
    prepare: Preparation = nothing,
) -> App:
    """An app with the batch transport, at-least-once, that stops at anything unexpected."""
    app = App(
        settings.group(role),
        broker=f"batch://{settings.kafka.bootstrap_servers.replace(',', ';batch://')}",
        broker_credentials=_credentials(settings.kafka),
        broker_commit_interval=COMMIT_INTERVAL_S,
        broker_commit_every=None,
        broker_session_timeout=SESSION_TIMEOUT_S,
        broker_heartbeat_interval=SESSION_TIMEOUT_S / 5,
        broker_rebalance_timeout=REBALANCE_TIMEOUT_S,
        broker_max_poll_interval=MAX_POLL_INTERVAL_S,
        broker_max_poll_records=None,
        consumer_max_fetch_size=8 << 20,
        consumer_auto_offset_reset="earliest",
        stream_buffer_maxsize=CHUNKS_WAITING,
        agent_supervisor=CrashingSupervisor,
        table_standby_replicas=0,
        topic_allow_declare=False,
        topic_disable_leader=True,
        topic_partitions=settings.kafka.partitions,
        web_enabled=False,
        # Faust makes this folder, though without tables nothing is ever in it.
        datadir=Path(tempfile.gettempdir()) / "spendloop-faust",
        cython_optimizations=True,
        consumer_group_instance_id=settings.kafka.group_instance_id or None,
    )
    app.kafka = settings.kafka.client()
    app.prepare = prepare
    app.starting_points = starting_points
    app.topic_ids = topic_ids
    return app


def _credentials(kafka: KafkaSettings) -> CredentialsT | None:
    if kafka.security_protocol == "PLAINTEXT":
        return None
    context = ssl.create_default_context(cafile=kafka.ssl_ca_file or None)
    if kafka.security_protocol == "SSL":
        return faust.SSLCredentials(context)
    return faust.SASLCredentials(
        username=kafka.sasl_username,
        password=kafka.sasl_password.get_secret_value(),
        ssl_context=context if kafka.security_protocol == "SASL_SSL" else None,
        mechanism=kafka.sasl_mechanism,
    )
