"""Faust apps of the roles: one app, one consumer group, one process; more processes share the partitions."""

import ssl
import tempfile
from pathlib import Path
from typing import Any

import faust
from faust.types.auth import CredentialsT
from mode.supervisors import CrashingSupervisor

from streams.settings import KafkaSettings, Settings

__all__ = ["ChunkSchema", "create_app"]

#: Chunks a topic may have waiting in this process: one being worked on, one ready.
CHUNKS_WAITING = 2
COMMIT_INTERVAL_S = 1.0
#: For so long the partitions of a worker that died wait for another, and a rebalance for one that is busy.
SESSION_TIMEOUT_S = 15.0
REBALANCE_TIMEOUT_S = 30.0


class ChunkSchema(faust.Schema):  # type: ignore[misc]
    """Hands chunks to agents as they are; decoding is the agent's."""

    def compile(self, app: Any, **kwargs: Any) -> Any:
        """Faust's hook: the function that makes an event of a message."""

        async def decode(message: Any, *, propagate: bool = False) -> Any:
            return app.create_event(None, message.value, {}, message)

        return decode


def create_app(role: str, settings: Settings) -> faust.App:
    """An app with the batch transport, at-least-once, that stops at anything unexpected."""
    return faust.App(
        settings.group(role),
        broker=f"batch://{settings.kafka.bootstrap_servers.replace(',', ';batch://')}",
        broker_credentials=_credentials(settings.kafka),
        broker_commit_interval=COMMIT_INTERVAL_S,
        broker_commit_every=None,
        broker_session_timeout=SESSION_TIMEOUT_S,
        broker_heartbeat_interval=SESSION_TIMEOUT_S / 5,
        broker_rebalance_timeout=REBALANCE_TIMEOUT_S,
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
    )


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
