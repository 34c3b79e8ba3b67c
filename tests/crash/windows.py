"""The windows: which role is disturbed how, and what its result is held against."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from deploy.local.stack import LocalStack
from streams.settings import Settings
from tests.crash import attributed, dealt, loaded, summed
from tests.crash.crew import Crew
from tests.crash.disturbances import AtPoints, Disturbance, Forgetting, InTurn, Joining, ServerKills
from tests.crash.load import Journeys
from tests.crash.outcome import Found

__all__ = ["WINDOWS", "Window"]

#: Of the records, published twice. The loader's are not: ClickHouse would keep one row of them, as it should.
REPEATS = 0.02
#: Of the clicks, refused by their table: finding one takes some forty statements.
FORBIDDEN_SHARE = 0.0005
#: Of the records in the windows of deals, events of these.
DEALS_SHARE = 0.4
CHUNK_SIZES = (130, 250, 777, 2_500, 5_000)
#: A portion lasts so long where something else than the work's progress says when to kill.
PORTION_S = 4.0
#: Where Redis has to be at work for a while to have something to forget, beside a worker that takes long to start.
FORGETTING_PORTION_S = 8.0

Disturb = Callable[[Crew, np.random.Generator, int, LocalStack], Disturbance]


@dataclass(frozen=True)
class Window:
    """`prepare` makes ready what has to be there before the first worker; `options` are those of a worker's start.

    repeats: of the records, published again. forbidden: of the clicks, of a channel that `prepare` forbids.
    deals: of the records, events of deals.
    portion_s: how long publishing the events between two kills takes, at least.
    """

    role: str
    disturb: Disturb
    compare: Callable[[Settings, Journeys], Found]
    prepare: Callable[[Settings], None] = lambda settings: None
    options: Callable[[np.random.Generator], Sequence[str]] = lambda random: ()
    repeats: float = REPEATS
    forbidden: float = 0.0
    deals: float = 0.0
    portion_s: float = 0.0


def _at(*points: str) -> Disturb:
    return lambda crew, random, count, stack: AtPoints(crew, random, count, points)


def _in_turn(*points: str) -> Disturb:
    return lambda crew, random, count, stack: InTurn(crew, random, count, points)


def _joining(crew: Crew, random: np.random.Generator, count: int, stack: LocalStack) -> Disturbance:
    return Joining(crew, random, count)


def _server(name: str) -> Disturb:
    return lambda crew, random, count, stack: ServerKills(crew, random, count, stack, name)


def _forgetting(*points: str) -> Disturb:
    return lambda crew, random, count, stack: Forgetting(crew, random, count, stack, points)


def _chunk_size(random: np.random.Generator) -> Sequence[str]:
    return [str(random.choice(CHUNK_SIZES))]


attribution = partial(Window, "attribution", compare=attributed.compare)
deals = partial(Window, "attribution", compare=dealt.compare, deals=DEALS_SHARE)
sums = partial(Window, "sums", compare=summed.compare)
loader = partial(Window, "loader", compare=loaded.compare, prepare=loaded.prepare, repeats=0.0)

WINDOWS: Mapping[str, Window] = {
    "attribution: decoded": attribution(_at("decoded")),
    "attribution: stored, not produced": attribution(_at("stored")),
    "attribution: produced, not acknowledged": attribution(_at("producing", "produced")),
    "attribution: acknowledged, not committed": attribution(_at("finished", "committing")),
    "attribution: a click and its conversion on two workers": attribution(
        _in_turn("decoded", "stored", "producing", "produced", "finished"), portion_s=PORTION_S
    ),
    "attribution: rebalance": attribution(_joining, portion_s=PORTION_S),
    "attribution: Kafka killed": attribution(_server("kafka"), portion_s=PORTION_S),
    "attribution: Redis killed": attribution(_server("redis"), portion_s=PORTION_S),
    "attribution: Redis lost its last second": attribution(
        _forgetting("stored", "producing", "produced", "finished"),
        compare=partial(attributed.compare, has_forgotten=True),
        portion_s=FORGETTING_PORTION_S,
    ),
    "deals: stored, not produced": deals(_at("stored")),
    "deals: produced, not acknowledged": deals(_at("producing", "produced")),
    "deals: acknowledged, not committed": deals(_at("finished", "committing")),
    "deals: a click and its deal on two workers": deals(
        _in_turn("decoded", "stored", "producing", "produced", "finished"), portion_s=PORTION_S
    ),
    "deals: Redis lost its last second": deals(
        _forgetting("stored", "producing", "produced", "finished"),
        compare=partial(dealt.compare, has_forgotten=True),
        portion_s=FORGETTING_PORTION_S,
    ),
    "sums: produced, not fenced": sums(_at("produced", "adding")),
    "sums: fenced, not acknowledged": sums(_at("fenced", "finished", "committing")),
    "sums: other chunk boundaries after restart": sums(
        _at("produced", "adding", "fenced", "committing"), options=_chunk_size
    ),
    "sums: rebalance": sums(_joining, portion_s=PORTION_S),
    "sums: Kafka killed": sums(_server("kafka"), portion_s=PORTION_S),
    "sums: Redis killed": sums(_server("redis"), portion_s=PORTION_S),
    "sums: Redis lost its last second": sums(
        _forgetting("produced", "adding", "fenced", "finished"), portion_s=FORGETTING_PORTION_S
    ),
    "loader: before insert": loader(_at("decoded", "pending")),
    "loader: inside insert": loader(_at("inserting")),
    "loader: inserted, not committed": loader(_at("inserted", "recorded", "committing")),
    "loader: committed": loader(_at("committed")),
    "loader: refused block half landed": loader(
        _at("refused", "finding", "buried", "inserting", "inserted", "recorded", "committing"),
        prepare=loaded.forbid,
        forbidden=FORBIDDEN_SHARE,
    ),
    "loader: rebalance": loader(_joining, portion_s=PORTION_S),
    "loader: Kafka killed": loader(_server("kafka"), portion_s=PORTION_S),
    "loader: ClickHouse killed": loader(_server("clickhouse"), portion_s=PORTION_S),
}
