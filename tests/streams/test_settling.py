"""Matches by evidence, out of the real store, held against matching in memory."""

import asyncio
import dataclasses
import itertools
import time
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pytest

from deploy.local.stack import LocalStack
from deploy.local.state import read_state
from processors.matching.learning import learn
from processors.matching.lesson import lesson
from processors.matching.match import LAYERS, Matches, match
from processors.matching.model import MatchModel
from processors.simulation.evaluation import Exam, exam_of
from processors.simulation.parameters import WORLDS
from processors.simulation.tables import Tables, tables_of
from processors.simulation.world import simulate
from sinks.redis.attribution_store import AttributionStore
from tests.conftest import isolate
from tests.streams.market import State, newest, tables_later

DAY_MS = 86_400_000
#: Two months, so that in the second a whole window lies before every conversion.
WORLD = dataclasses.replace(
    WORLDS["default"], days=60, clicks=16_000, people=9_600, households=2_240, ad_caused=1_000, organic=560, ads=10
)
Rows = dict[Any, dict[str, Any]]


@pytest.fixture(scope="module")
def tables() -> Tables:
    # In the future, so that Redis forgets nothing while the tests run.
    begin_ms = (int(time.time()) // 86_400 + 2) * DAY_MS
    return tables_later(tables_of(simulate(WORLD, 1), 1), begin_ms - WORLD.start_ms)


@pytest.fixture(scope="module")
def exam(tables: Tables) -> Exam:
    return exam_of(tables)


@pytest.fixture(scope="module")
def model(exam: Exam) -> MatchModel:
    return learn(lesson(exam.conversions, exam.click_index, exam.ads)).model


@pytest.fixture(scope="module")
def in_memory(exam: Exam, model: MatchModel) -> Matches:
    return match(exam.conversions, exam.click_index, exam.ads, model)


@pytest.fixture(scope="module")
def work(stack: LocalStack) -> Callable[..., Any]:
    """Runs something with a state of its own, in which nothing is ever too late."""
    with pytest.MonkeyPatch.context() as patch:
        settings = isolate(stack, patch)
    attribution = settings.attribution.model_copy(update={"lateness_d": 120})
    matching = settings.matching.model_copy(update={"evaluated_share": 0.5})
    patient = settings.model_copy(update={"attribution": attribution, "matching": matching})
    url = read_state(stack.directory).addresses()["redis"]
    numbers = itertools.count()

    def run(steps: Callable[[State], Awaitable[Any]]) -> Any:
        async def with_state() -> Any:
            store = AttributionStore(url, namespace=f"{settings.namespace}{next(numbers)}.")
            try:
                state = State(store, patient)
                await state.begin()
                return await steps(state)
            finally:
                await store.wipe()
                await store.close()

        return asyncio.run(with_state())

    return run


def times(table: pa.Table) -> Any:
    return table["event_time"].cast(pa.int64()).to_numpy()


def at_the_end(tables: Tables) -> int:
    return int(times(tables.conversions).max()) + 10 * DAY_MS


class Settled(NamedTuple):
    """What comes of all clicks and conversions in their order; `evaluated` are rows of attribution-quality."""

    rows: Rows
    evaluated: list[dict[str, Any]]


@pytest.fixture(scope="module")
def settled(work: Callable[..., Any], tables: Tables, model: MatchModel) -> Settled:
    async def steps(state: State) -> Settled:
        await state.add_clicks(tables.clicks, times(tables.clicks))
        await state.add_conversions(tables.conversions, times(tables.conversions))
        rows = newest(await state.settle(model, at_the_end(tables)))
        assert await state.settle(model, at_the_end(tables)) == []
        return Settled(rows, state.evaluated)

    found: Settled = work(steps)
    return found


def test_what_is_settled_is_what_matching_in_memory_finds(settled: Settled, tables: Tables, in_memory: Matches) -> None:
    rows = settled.rows
    names = list(
        zip(tables.conversions["account_id"].to_pylist(), tables.conversions["conversion_id"].to_pylist(), strict=True)
    )
    is_open = ~in_memory.by_identifier
    assert rows.keys() == {name for name, one in zip(names, is_open.tolist(), strict=True) if one}
    warm = np.flatnonzero(is_open & (times(tables.conversions) > times(tables.clicks).min() + 31 * DAY_MS))
    assert len(warm) > 200
    found = [rows[names[row]] for row in warm.tolist()]
    # Traces keep whole seconds, and crowds are counted in the window before a conversion only.
    same = [LAYERS[in_memory.layer[row]] == one["layer"] for row, one in zip(warm, found, strict=True)]
    assert np.mean(same) > 0.98
    person = np.array([one["confidence_person"] for one in found])
    assert np.abs(person - in_memory.person[warm]).mean() < 0.01
    ad = np.array([one["confidence_ad"] for one in found])
    assert np.abs(ad - in_memory.ad[warm]).mean() < 0.01
    click_ids = tables.clicks["click_id"].to_pylist()
    used = [(row, one) for row, one in zip(warm.tolist(), found, strict=True) if one["is_used_for_reporting"]]
    assert len(used) > 50
    credited = [click_ids[in_memory.click[row]] in {t["click_id"] for t in one["touchpoints"]} for row, one in used]
    assert np.mean(credited) > 0.98


def test_every_record_says_what_it_goes_by(settled: Settled, model: MatchModel) -> None:
    for row in settled.rows.values():
        assert row["model_version"] == model.version
        shares = [one["probability"] for one in row["candidates"]]
        assert len(shares) <= 20
        assert shares == sorted(shares, reverse=True)
        assert sum(shares) + row["probability_none"] == pytest.approx(1)
        assert row["confidence_ad"] <= row["confidence_person"] + 1e-9
        assert row["is_used_for_reporting"] == (row["confidence_ad"] >= 0.5)
        assert row["is_used_for_optimisation"] == (row["confidence_ad"] >= 0.9)
        assert bool(row["touchpoints"]) == bool(row["credits"]) == row["is_used_for_reporting"]


def plain(row: dict[str, Any]) -> dict[str, Any]:
    """Without what tells how it came to be."""
    return {name: value for name, value in row.items() if name != "facts_held"}


def test_shuffled_delayed_and_repeated_it_is_the_same(
    work: Callable[..., Any], settled: Settled, tables: Tables, model: MatchModel
) -> None:
    rng = np.random.default_rng(1)
    expected = settled.rows
    clicks = tables.clicks.num_rows
    order = rng.permutation(np.concatenate([np.arange(clicks), rng.choice(clicks, clicks // 10)]))
    # Ingest times stay: Kafka gave them, and a repeated record is the same record.
    shuffled, arrived = tables.clicks.take(pa.array(order)), times(tables.clicks)[order]
    half = len(order) // 2

    async def steps(state: State) -> Rows:
        emitted: list[dict[str, Any]] = []
        await state.add_clicks(shuffled.slice(0, half), arrived[:half])
        await state.add_conversions(tables.conversions, times(tables.conversions))
        await state.add_clicks(shuffled.slice(half), arrived[half:])
        for part in (0.3, 0.6, 1.0):  # the clock goes in steps
            begin_ms = int(times(tables.clicks).min())
            emitted += await state.settle(model, begin_ms + round(part * (at_the_end(tables) - begin_ms)))
        return newest(emitted)

    found: Rows = work(steps)
    assert {name: plain(row) for name, row in found.items()} == {name: plain(row) for name, row in expected.items()}


def test_clicks_that_arrive_after_the_first_settling_count_in_the_second(
    work: Callable[..., Any], tables: Tables, model: MatchModel
) -> None:
    conversions = tables.conversions.slice(tables.conversions.num_rows - 200)
    bought = times(conversions)

    async def steps(state: State) -> tuple[Rows, Rows]:
        await state.add_conversions(conversions, bought)
        await state.add_clicks(tables.clicks, np.full(tables.clicks.num_rows, int(bought.max()) + 3 * 3_600_000))
        first = newest(await state.settle(model, int(bought.max()) + 2 * 3_600_000))
        return first, newest(await state.settle(model, at_the_end(tables)))

    first, second = work(steps)
    assert first.keys() >= second.keys()
    assert not any(row["candidates"] for row in first.values())
    assert any(row["candidates"] for row in second.values())
    recent = {name for name, row in second.items() if row["candidates"]}
    assert all(second[name]["facts_held"] > first[name]["facts_held"] for name in recent)


def test_conversions_with_identifiers_tell_how_good_matching_is(
    settled: Settled, tables: Tables, in_memory: Matches
) -> None:
    rows = settled.evaluated
    names = tables.conversions["conversion_id"].to_pylist()
    identified = {name for name, one in zip(names, in_memory.by_identifier.tolist(), strict=True) if one}
    for method in ("withheld", "knock_out"):
        some = [row["conversion_id"] for row in rows if row["method"] == method]
        assert len(some) == len(set(some)), "each once"
        assert identified >= set(some)
        assert 0.4 < len(some) / len(identified) < 0.6
    claimed = [row for row in rows if row["confidence_ad"] >= 0.5]
    withheld = [row for row in claimed if row["method"] == "withheld" and row["is_ad_right"] is not None]
    assert len(withheld) > 30
    assert np.mean([row["is_ad_right"] for row in withheld]) > 0.75
    # Whose household never clicked is credited to nobody, but for what carriers and common devices suggest.
    without = [row for row in rows if row["method"] == "knock_out"]
    assert np.mean([row["confidence_ad"] >= 0.5 for row in without]) < 0.1
    assert not any(row["is_reachable"] or row["is_person_right"] for row in without)
