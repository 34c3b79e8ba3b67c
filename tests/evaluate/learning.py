"""How good online conversion probabilities are: against no learning, after a shift, with late labels, beside River."""

import time
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import numpy as np
import numpy.typing as npt
from river import compose, linear_model, optim, preprocessing

from processors.learning.examples import Clicks, Examples, due
from processors.learning.features import hashed
from processors.learning.learner import Learner
from processors.learning.progress import Progress
from tests.evaluate.clicks import COLUMNS, DAY_MS, Market, Stream

__all__ = ["report"]

Floats = npt.NDArray[np.float64]

BASE_RATE = 0.03
BEFORE, AFTER, PART = 20_000, 6_000, 1_000
#: Odds of all clicks after a shift; None moves the features' effects instead and leaves the overall rate.
SHIFTS = (0.5, 2.0)
LOOKS_D = (0.5, 1.5, 4.0, 14.0)
DAYS, CLICKS_A_DAY = 20, 3_000
#: Ads that have clicks from the first day; the others from the middle day on.
OLD_ADS = 250


def report(streams: int = 200, seed: int = 30_000) -> dict[str, Any]:
    """Everything that docs/learning.md quotes.

    streams: of each shift; a twentieth as many markets for late labels, fewer beside River. seed: of the first.
    """
    return {
        "shifts": _shifts(streams, seed),
        "without_signal": _without_signal(max(streams // 20, 2), seed + 1_000),
        "late_labels": _late(max(streams // 20, 2), seed + 2_000),
        "river": _river(max(streams // 200, 1), seed + 3_000),
        "speed": _speed(seed + 4_000),
    }


def _shifts(streams: int, seed: int) -> dict[str, Any]:
    ratios: dict[float, list[list[tuple[float, float]]]] = {factor: [] for factor in SHIFTS}
    entropies, above = [], []
    for number in range(streams):
        market = Market(np.random.default_rng((seed, number)), BASE_RATE)
        before, learner = market.clicks(BEFORE), Learner(BASE_RATE, COLUMNS)
        learner.learn(Examples.final(before.places, before.converted))
        entropies.append((learner.progress.normalised_entropy, _best(before), _unlearned(learner.progress)))
        for factor, found in ratios.items():
            shifted = deepcopy(learner)
            found.append(_followed(shifted, market.clicks(AFTER, factor)))
            above.append(shifted.progress.loss - shifted.progress.unlearned_loss)
    names = ("learned", "true_probability", "not_learned")
    return {
        "streams": streams,
        "normalised_entropy": dict(zip(names, np.mean(entropies, axis=0).round(4).tolist(), strict=True)),
        "worst_loss_above_not_learning_nats": round(float(max(above)), 3),
        "calibration_by_1000_after": {factor: _calibration(found) for factor, found in ratios.items()},
    }


def _calibration(found: list[list[tuple[float, float]]]) -> dict[str, list[float]]:
    """Of all streams together, and the streams' 5th and 95th percentile."""
    predicted, true = np.array(found).transpose(2, 0, 1)
    low, high = np.quantile(predicted / true, [0.05, 0.95], axis=0).round(3).tolist()
    return {"all": (predicted.sum(axis=0) / true.sum(axis=0)).round(3).tolist(), "p5": low, "p95": high}


def _followed(learner: Learner, after: Stream) -> list[tuple[float, float]]:
    """Of each PART clicks, conversions predicted before any of them is learned from, and those to be expected."""
    found = []
    for start in range(0, AFTER, PART):
        part = slice(start, start + PART)
        found.append((float(learner.predict(after.places[part]).sum()), float(after.probability[part].sum())))
        learner.learn(Examples.final(after.places[part], after.converted[part]))
    return found


def _entropy(probability: Floats) -> float:
    return float(-(probability * np.log(probability) + (1 - probability) * np.log1p(-probability)).mean())


def _best(stream: Stream) -> float:
    """Normalised entropy of the true probabilities."""
    return _entropy(stream.probability) / _entropy(np.array([stream.converted.mean()]))


def _unlearned(progress: Progress) -> float:
    return progress.unlearned_loss / progress.looks / _entropy(np.array([progress.conversions / progress.looks]))


def _without_signal(streams: int, seed: int) -> dict[str, Any]:
    """Where the base rate is right and features tell nothing, so that all there is to learn is noise."""
    above = []
    for number in range(streams):
        rng = np.random.default_rng((seed, number))
        learner = Learner(BASE_RATE, COLUMNS)
        learner.learn(Examples.final(Market(rng).clicks(BEFORE).places, rng.random(BEFORE) < BASE_RATE))
        above.append(learner.progress.loss - learner.progress.unlearned_loss)
    return {"streams": streams, "worst_loss_above_not_learning_nats": round(float(max(above)), 3)}


def _late(markets: int, seed: int) -> dict[str, Any]:
    """The loss of predicting each day's clicks from what was known when it began; conversions take a day, median."""
    policies: dict[str, Callable[[Stream, int, int], Examples]] = {
        "looks, delay known": lambda s, after, until: _looks(s, after, until, 1.0),
        "looks, delay taken 1.5 times too long": lambda s, after, until: _looks(s, after, until, 1.5),
        "looks, delay taken 1.5 times too short": lambda s, after, until: _looks(s, after, until, 1 / 1.5),
        "final after 14 days": lambda s, after, until: _looks(s, after, until, 1.0, LOOKS_D[-1:]),
        "lost until converted": _lost_until_converted,
    }
    found: dict[str, list[tuple[float, ...]]] = {name: [] for name in policies}
    for number in range(markets):
        market = Market(np.random.default_rng((seed, number)), BASE_RATE)
        half = DAYS * CLICKS_A_DAY
        known = market.clicks(half // 2, a_day=CLICKS_A_DAY, ads=OLD_ADS)
        all_ads = market.clicks(half // 2, 1.0, DAYS // 2 * DAY_MS, CLICKS_A_DAY)
        shifted = market.clicks(half // 2, 0.5, DAYS * DAY_MS, CLICKS_A_DAY)
        stream = _joined(_joined(known, all_ads), shifted)
        for name, policy in policies.items():
            found[name].append(_prequential(stream, policy))
    rows = {}
    for name, scores in found.items():
        loss, steady, new, shifted = np.mean(scores, axis=0)
        rows[name] = {
            "loss": round(loss, 5),
            "calibration": round(steady, 3),
            "of_new_ads": round(new, 3),
            "5_to_10_days_after_shift": round(shifted, 3),
        }
    return {"markets": markets, "policies": rows}


def _joined(one: Stream, other: Stream) -> Stream:
    values = {name: np.concatenate([one.values[name], other.values[name]]) for name in one.values}
    return Stream(values, *(np.concatenate(pair) for pair in zip(one[1:], other[1:], strict=True)))


def _prequential(stream: Stream, policy: Callable[[Stream, int, int], Examples]) -> tuple[float, ...]:
    """Expected log-loss from day 5 on; predicted over true conversions before the shift, of new ads, and after it."""
    learner = Learner(BASE_RATE, COLUMNS)
    served = np.zeros(len(stream.probability))
    day = stream.clicked_ms // DAY_MS
    for today in range(int(day.max()) + 1):
        is_today = day == today
        learner.learn(policy(stream, (today - 1) * DAY_MS, today * DAY_MS))
        served[is_today] = learner.predict(stream.places[is_today])
    true = stream.probability
    loss = -(true * np.log(served) + (1 - true) * np.log1p(-served))
    steady, shifted = (day >= DAYS // 2) & (day < DAYS), day >= DAYS + 5
    is_new = (stream.values["ad_id"] >= OLD_ADS) & (day < DAYS // 2 + 5)
    ratios = (float(served[part].sum() / true[part].sum()) for part in (steady, is_new, shifted))
    return (float(loss[day >= 5].mean()), *ratios)


def _clicks(stream: Stream) -> Clicks:
    never = np.iinfo(np.int64).max // 2
    converted_ms = np.where(stream.converted > 0, stream.clicked_ms + stream.delay_ms, never)
    return Clicks(stream.places, stream.clicked_ms, converted_ms)


def _looks(stream: Stream, after: int, until: int, longer: float, days: tuple[float, ...] = LOOKS_D) -> Examples:
    """Looks at some ages, by a distribution of delay that may be wrong."""
    return due(_clicks(stream), [int(age * DAY_MS) for age in days], lambda age: _came(age / longer), after, until)


def _came(age_ms: Floats) -> Floats:
    """Share of conversions that have come by an age: lognormal, median one day."""
    steps = np.linspace(-6, 6, 4_001)
    density = np.exp(-(steps**2) / 2)
    return np.interp(np.log(np.maximum(age_ms, 1) / DAY_MS), steps, np.cumsum(density) / density.sum())


def _lost_until_converted(stream: Stream, after: int, until: int) -> Examples:
    """Every click as lost when it comes, and once more as converted when it is."""
    clicks = _clicks(stream)
    is_new = (clicks.clicked_ms > after) & (clicks.clicked_ms <= until)
    has_converted = (clicks.converted_ms > after) & (clicks.converted_ms <= until)
    rows = np.concatenate([np.flatnonzero(is_new), np.flatnonzero(has_converted)])
    times = np.concatenate([clicks.clicked_ms[is_new], clicks.converted_ms[has_converted]])
    order = np.argsort(times, kind="stable")
    outcome = np.repeat([0.0, 1.0], [is_new.sum(), has_converted.sum()])
    return Examples.final(clicks.places[rows[order]], outcome[order])


def _river(markets: int, seed: int) -> dict[str, Any]:
    """River's pipeline on the same clicks, one by one as it is meant to be used."""
    scores: dict[str, list[float]] = {"Learner": [], "river sgd 0.02": [], "river adagrad 0.1": [], "river ftrl": []}
    for number in range(markets):
        stream = Market(np.random.default_rng((seed, number)), BASE_RATE).clicks(BEFORE // 2)
        learner = Learner(BASE_RATE, COLUMNS)
        learner.learn(Examples.final(stream.places, stream.converted))
        scores["Learner"].append(learner.progress.normalised_entropy)
        rows = _rows(stream)
        scores["river sgd 0.02"].append(_river_entropy(rows, stream, optim.SGD(0.02)))
        scores["river adagrad 0.1"].append(_river_entropy(rows, stream, optim.AdaGrad(0.1)))
        scores["river ftrl"].append(_river_entropy(rows, stream, optim.FTRLProximal()))
    return {"clicks": BEFORE // 2, "markets": markets} | {
        name: {"normalised_entropy": round(float(np.mean(found)), 4)} for name, found in scores.items()
    }


def _rows(stream: Stream) -> list[dict[str, str]]:
    names = list(stream.values)
    return [dict(zip(names, map(str, row), strict=True)) for row in zip(*stream.values.values(), strict=True)]


def _pipeline(optimizer: optim.base.Optimizer) -> compose.Pipeline:
    model = linear_model.LogisticRegression(optimizer, intercept_init=float(np.log(BASE_RATE / (1 - BASE_RATE))))
    return preprocessing.FeatureHasher(2**18, alternate_sign=False, seed=1) | model


def _river_entropy(rows: list[dict[str, str]], stream: Stream, optimizer: optim.base.Optimizer) -> float:
    model, served = _pipeline(optimizer), []
    for row, converted in zip(rows, (stream.converted > 0).tolist(), strict=True):
        served.append(model.predict_proba_one(row).get(True, BASE_RATE))
        model.learn_one(row, converted)
    chances = np.clip(np.array(served), 1e-6, 1 - 1e-6)
    loss = -np.log(np.where(stream.converted > 0, chances, 1 - chances)).mean()
    return float(loss / _entropy(np.array([stream.converted.mean()])))


def _speed(seed: int) -> dict[str, Any]:
    """Events a second on one core, by processor time: from strings to learned, and what of it is hashing."""
    stream = Market(np.random.default_rng(seed), BASE_RATE).clicks(100_000)
    columns = {name: [f"{name}-{value}" for value in values] for name, values in stream.values.items()}
    hashing = _seconds(lambda: hashed(columns))

    def end_to_end() -> None:
        learner = Learner(BASE_RATE, COLUMNS)
        places = hashed(columns)
        for start in range(0, len(places), 1_000):
            learner.predict(places[start : start + 1_000])
            learner.learn(Examples.final(places[start : start + 1_000], stream.converted[start : start + 1_000]))

    whole = _seconds(end_to_end)
    rows = _rows(stream)[:20_000]
    river = _seconds(lambda: _river_entropy(rows, _first(stream, 20_000), optim.AdaGrad(0.1)))
    return {
        "columns": COLUMNS,
        "hash_predict_learn_per_s": round(100_000 / whole),
        "hashing_share": round(hashing / whole, 2),
        "river_predict_learn_per_s": round(20_000 / river),
    }


def _first(stream: Stream, count: int) -> Stream:
    return Stream({name: values[:count] for name, values in stream.values.items()}, *(c[:count] for c in stream[1:]))


def _seconds(step: Callable[[], Any]) -> float:
    """The least of three times."""
    taken = []
    for _ in range(3):
        began = time.process_time()
        step()
        taken.append(time.process_time() - began)
    return min(taken)
