"""The stack that subjects are measured on, and topics of their own in it."""

import asyncio
import os
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient
from redis import Redis

from deploy.local.stack import LocalStack
from schemas.client.publisher import Publisher
from schemas.spans import Partition
from schemas.topics import topics
from streams.admin import apply_topics, registry, topic_ids
from streams.attribution_inputs import attribution_store
from streams.clickhouse import connect
from streams.offsets import Offsets
from streams.settings import Settings, load_settings
from tests.bench.journeys import journeys, market
from tests.bench.processes import BenchmarkFailed

__all__ = ["OUTPUT", "QUICK", "Sizes", "Testbed", "open_testbed"]

Report = Callable[[str], None]
#: What subjects publish goes to the clicks of this namespace.
OUTPUT = "output"
JOIN_POLL_S = 0.1
JOIN_TIMEOUT_S = 60.0


class Sizes(NamedTuple):
    """How many records there are.

    stream, journeys, short: clicks for what is fast, for what is not, and for stock Faust, each in a namespace of
    their own. conversions: of some of the visitors of the journeys. records: to publish one by one. replay: clicks
    that are on their topic `rounds` times. market: clicks with all that is evidence of who clicked.
    """

    stream: int = 4_000_000
    journeys: int = 1_000_000
    short: int = 100_000
    conversions: int = 100_000
    records: int = 100_000
    replay: int = 1_000_000
    rounds: int = 20
    market: int = 300_000

    @property
    def replayed(self) -> int:
        """Records on the topic of the replay."""
        return self.replay * self.rounds


#: Enough to see that everything runs.
QUICK = Sizes(
    stream=48_000, journeys=24_000, short=6_000, conversions=5_000, records=5_000, replay=100_000, market=12_000
)


class Testbed:
    """Namespaces with their topics and data, made when they are first asked for."""

    __test__ = False  # for pytest

    def __init__(self, settings: Settings, sizes: Sizes, directory: Path, report: Report) -> None:
        self.name = f"bench-{uuid.uuid4().hex[:8]}"
        self.sizes = sizes
        self.directory = directory
        self._settings = settings
        self._report = report
        self._made: dict[str, Settings] = {}

    def settings(self, dataset: str) -> Settings:
        """Settings of a namespace that holds a data set: a field of Sizes, or OUTPUT."""
        if dataset not in self._made:
            settings = self._settings.model_copy(update={"namespace": f"{self.name}.{dataset}."})
            apply_topics(settings)
            self._publish(dataset, settings)
            self._made[dataset] = settings
        return self._made[dataset]

    def environment(self, dataset: str) -> dict[str, str]:
        """The same for a process, with a ClickHouse database of its own."""
        database = f"{self.name}_{uuid.uuid4().hex[:8]}".replace("-", "_")
        return {"SPENDLOOP_NAMESPACE": self.settings(dataset).namespace, "SPENDLOOP_CLICKHOUSE__DATABASE": database}

    def topic(self, dataset: str, contract: str) -> str:
        """Kafka's name of a topic."""
        return topics(self.settings(dataset).namespace)[contract].name

    def records(self, dataset: str, contract: str) -> int:
        """How many records a topic holds."""
        with Offsets(self.settings(dataset)) as offsets:
            return sum(offsets.ends(contract).values())

    def unread(self, dataset: str, contract: str, group: str) -> int:
        """How many records of a topic a group has not committed."""
        topic = self.topic(dataset, contract)
        consumer = Consumer({**self._settings.kafka.client(), "group.id": group})
        try:
            partitions = [TopicPartition(topic, number) for number in range(self._settings.kafka.partitions)]
            committed = consumer.committed(partitions, 30)
            return sum(consumer.get_watermark_offsets(tp, 30)[1] - max(tp.offset, 0) for tp in committed)
        finally:
            consumer.close()

    def rewind(self, dataset: str, contract: str, group: str) -> None:
        """Let a group begin at the beginning of a topic."""
        self._commit(dataset, contract, group, dict.fromkeys(range(self._settings.kafka.partitions), 0))

    def skip(self, dataset: str, contract: str, group: str) -> Mapping[int, int]:
        """Let a group begin at the end of a topic. Returns that, by partition."""
        with Offsets(self.settings(dataset)) as offsets:
            ends = offsets.ends(contract)
        self._commit(dataset, contract, group, ends)
        return ends

    def _commit(self, dataset: str, contract: str, group: str, positions: Mapping[int, int]) -> None:
        topic = self.topic(dataset, contract)
        consumer = Consumer({**self._settings.kafka.client(), "group.id": group})
        consumer.commit(offsets=[TopicPartition(topic, *each) for each in positions.items()], asynchronous=False)
        consumer.close()

    def renew_state(self, dataset: str) -> None:
        """Remove what the attribution role keeps in Redis, and have its clicks begin at their beginning, its
        conversions and the links it has published at their end.
        """
        settings = self.settings(dataset)
        self._remove_keys(settings.namespace)
        group, passed = settings.group("attribution"), ("conversions", "identity-links")
        names = {contract: self.topic(dataset, contract) for contract in ("clicks", *passed)}
        ids = topic_ids(settings.kafka.client(), list(names.values()))
        ends = {
            Partition(ids[names[contract]], number): end
            for contract in passed
            for number, end in self.skip(dataset, contract, group).items()
        }
        clicks = {Partition(ids[names["clicks"]], number): 0 for number in range(settings.kafka.partitions)}
        asyncio.run(_begin(settings, clicks | ends))

    @contextmanager
    def gate(self, dataset: str, contract: str, group: str, members: int) -> Iterator[Callable[[], None]]:
        """Keeps those who join a group waiting until there are so many and what it yields is called.

        It is a member itself, which a rebalance has to wait for, and leaves when all the others have asked to join:
        so that none of them begins with the partitions of another.
        """
        admin = AdminClient(self._settings.kafka.client())
        keeper = Consumer(
            {
                **self._settings.kafka.client(),
                "group.id": group,
                "enable.auto.commit": False,
                "partition.assignment.strategy": "roundrobin",  # as Faust's
            }
        )

        def joined() -> int:
            return len(admin.describe_consumer_groups([group])[group].result().members)

        def leave() -> None:
            deadline = time.monotonic() + JOIN_TIMEOUT_S
            while joined() <= members:
                if time.monotonic() > deadline:
                    raise BenchmarkFailed(f"{group}: {members} processes did not join within {JOIN_TIMEOUT_S:g} s")
                time.sleep(JOIN_POLL_S)
            keeper.close()

        # Who is told what it loses answers to a rebalance only when it polls.
        keeper.subscribe([self.topic(dataset, contract)], on_revoke=lambda consumer, partitions: None)
        try:
            while not keeper.assignment():
                keeper.poll(JOIN_POLL_S)
            yield leave
        finally:
            keeper.close()

    def rows(self, database: str, table: str) -> int:
        """Rows of a table, doubled ones included; none where it is not there yet."""
        section = self._settings.clickhouse.model_copy(update={"database": database})
        with connect(self._settings.model_copy(update={"clickhouse": section})) as clickhouse:
            if not clickhouse.command(f"EXISTS TABLE {table}"):
                return 0
            return int(clickhouse.query(f"SELECT count() AS rows FROM {table}").column("rows")[0].as_py())

    def remove(self) -> None:
        """Take everything away again."""
        admin = AdminClient(self._settings.kafka.client())
        ours = [name for name in admin.list_topics(timeout=30).topics if self.name in name]
        for future in admin.delete_topics(ours).values() if ours else ():
            future.result()
        self._remove_keys(f"{self.name}.")
        with connect(self._settings) as clickhouse:
            databases = clickhouse.query("SELECT name FROM system.databases").column("name").to_pylist()
            for name in databases:
                if name.startswith(self.name.replace("-", "_")):
                    clickhouse.command(f"DROP DATABASE {name}")

    def _remove_keys(self, part: str) -> None:
        with Redis.from_url(self._settings.redis.url.get_secret_value()) as redis:
            pipeline = redis.pipeline(transaction=False)
            for number, key in enumerate(redis.scan_iter(match=f"*{part}*", count=10_000)):
                pipeline.unlink(key)
                if number % 10_000 == 0:
                    pipeline.execute()
            pipeline.execute()

    def _publish(self, dataset: str, settings: Settings) -> None:
        if dataset == OUTPUT:
            return
        conversions = self.sizes.conversions if dataset == "journeys" else 0
        count = getattr(self.sizes, dataset)
        clicks, orders = market(count) if dataset == "market" else journeys(count, conversions)
        rounds = self.sizes.rounds if dataset == "replay" else 1
        self._report(f"publishing {rounds * clicks.num_rows:,} clicks, {conversions:,} conversions: {dataset}")
        client = registry(settings)
        with Publisher(settings.kafka.client(), client, prefix=settings.namespace) as publisher:
            for _ in range(rounds):
                publisher.publish_table("clicks", clicks)
            publisher.publish_table("conversions", orders)
        client.close()


async def _begin(settings: Settings, starts: Mapping[Partition, int]) -> None:
    store = attribution_store(settings)
    try:
        await store.fences.begin(starts)
    finally:
        await store.close()


@contextmanager
def open_testbed(sizes: Sizes, report: Report) -> Iterator[Testbed]:
    """On the stack that SPENDLOOP_TEST_STACK names, else on one of its own; nothing stays behind on either."""
    with TemporaryDirectory(prefix="spendloop-bench-") as temporary:
        directory = Path(temporary)
        running = os.environ.get("SPENDLOOP_TEST_STACK")
        stack = LocalStack(Path(running) if running else directory / "stack")
        try:
            if not running:
                stack.up(report)
            with _leading_to(stack, directory):
                bed = Testbed(load_settings(), sizes, directory, report)
                try:
                    yield bed
                finally:
                    bed.remove()
        finally:
            if not running:
                stack.down()


@contextmanager
def _leading_to(stack: LocalStack, directory: Path) -> Iterator[None]:
    """Settings, here and in the processes we start, lead to this stack, whatever else is configured."""
    nothing = directory / "spendloop.toml"
    nothing.touch()
    configured = {name: value for name, value in os.environ.items() if name.startswith("SPENDLOOP_")}
    for name in configured:
        del os.environ[name]
    ours = {"SPENDLOOP_SETTINGS": str(nothing), "SPENDLOOP_DIR": str(stack.directory)}
    os.environ.update(ours)
    try:
        yield
    finally:
        for name in ours:
            del os.environ[name]
        os.environ.update(configured)
