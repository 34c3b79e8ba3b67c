"""The online learner: the probability that a click converts, learned from every look at every click.

A regression on hashed features, what it says recalibrated over several memories, and the overall rate are experts whose
mixture is served. The mixture is itself mixed with the rate that was known beforehand, so that its log-loss is never
above that of learning nothing, but for .01 nats in all (mixture.py).

Examples are taken in mini-batches of a fixed size, counted from the first ever, whatever the batches they arrive in:
the state after n examples is a function of these. It belongs to a partition; `snapshot` is of a cut and `restore` goes
on from there (docs/delivery.md).
"""

import zlib
from dataclasses import dataclass, field

import msgpack
import numpy as np

from processors.learning.errors import UnusableSnapshot
from processors.learning.examples import Examples, Floats, chance
from processors.learning.features import Places
from processors.learning.mixture import mix, share
from processors.learning.model import Regression
from processors.learning.progress import Progress
from processors.learning.recalibration import MEMORIES, Recalibration

__all__ = ["MINI_BATCH", "Cut", "Learner"]

MINI_BATCH = 256
#: What experts give to be shared out after each mini-batch.
SHARED = 0.01
#: The overall rate, the regression, and what it is recalibrated to.
EXPERTS = 2 + len(MEMORIES) + 1
#: Their log weights at the start and after a shift, which those that are recalibrated follow.
START = np.log([0.01, 0.01, *[0.98 / (EXPERTS - 2)] * (EXPERTS - 2)])
#: Log weights at the start of the rate that was known beforehand and of what is learned: what learning may cost in all
#: is the first's negative.
TRUST = np.log([0.99, 0.01])
#: Conversions that the base rate is worth to the overall rate.
WORTH = 5.0
FORMAT = 1


@dataclass(frozen=True, slots=True)
class Cut:
    """Where a partition has been read to: the topic's id, the partition, and the position after the last record."""

    topic_id: str
    partition: int
    position: int


@dataclass(slots=True)
class Learner:
    """Changed in place by `learn` and `widen`.

    base_rate: of conversions by click, as known beforehand; predictions are never worse than it over a run. columns:
    of features.

    >>> from processors.learning.features import hashed
    >>> learner = Learner(0.1, columns=1)
    >>> places = hashed({"ad_id": ["good", "bad"] * 512})
    >>> learner.learn(Examples.final(places, [1, 0] * 512))
    >>> learner.predict(places[:2]).round(1).tolist()
    [0.9, 0.1]
    """

    base_rate: float
    columns: int
    regression: Regression = field(init=False)
    recalibration: Recalibration = field(default_factory=Recalibration, init=False)
    progress: Progress = field(default_factory=Progress, init=False)
    log_weights: Floats = field(default_factory=START.copy, init=False)
    log_trust: Floats = field(default_factory=TRUST.copy, init=False)
    pending: Examples = field(init=False)

    def __post_init__(self) -> None:
        self.regression = Regression(self.base_rate)
        self.pending = Examples.final(np.zeros((0, self.columns), np.int32), [])

    def predict(self, places: Places) -> Floats:
        """Probabilities that clicks ever convert, shape (events,)."""
        experts = self._experts(self.regression.predict(places))
        weights, trust = np.exp(share(self.log_weights, 0.0)), np.exp(share(self.log_trust, 0.0))
        served: Floats = trust[0] * self.base_rate + trust[1] * (weights @ experts)
        return served

    def learn(self, examples: Examples) -> None:
        """Test on and learn from examples; what does not fill a mini-batch waits for more."""
        waiting = self.pending.then(examples)
        full = len(waiting.converted) // MINI_BATCH * MINI_BATCH
        for start in range(0, full, MINI_BATCH):
            self._step(waiting.rows(start, start + MINI_BATCH))
        self.pending = waiting.rows(full)

    def widen(self, factor: float, places: Places | None = None) -> None:
        """Answer to a drift: evidence so far counts `factor`, of some features or all (`Regression.widen`)."""
        self.regression.widen(factor, places)

    def _experts(self, probability: Floats) -> Floats:
        """Shape (EXPERTS, events)."""
        seen = self.progress
        overall = WORTH + seen.conversions, WORTH / self.base_rate + seen.looks
        rate = np.full(len(probability), overall[0] / overall[1])
        return np.vstack([rate, probability, self.recalibration.apply(probability)])

    def _step(self, examples: Examples) -> None:
        probability = self.regression.predict(examples.places)
        experts = self._experts(probability)
        # What recalibration has put right already must not be put right once more by the weights.
        right = np.exp(share(self.log_weights, 0.0)) @ experts
        chances = chance(experts, examples.matured_before, examples.matured)
        learned, log_weights = mix(self.log_weights, chances, examples.converted)
        unlearned = chance(np.full(MINI_BATCH, self.base_rate), examples.matured_before, examples.matured)
        mixed, self.log_trust = mix(self.log_trust, np.stack([unlearned, learned]), examples.converted)
        self.log_weights = share(log_weights, SHARED)
        self.progress.add(mixed, unlearned, examples.converted)
        # Later looks are at older clicks, which a shift since then has not touched.
        is_first = examples.matured_before == 0
        if self.recalibration.learn(examples.converted[is_first], chances[1][is_first]):
            self.log_weights = START.copy()
        self.regression.learn(examples, right)

    def snapshot(self, cut: Cut) -> bytes:
        """All of the state; the same state and cut are the same bytes."""
        used = np.flatnonzero(
            (self.regression.weights != 0) | (self.regression.precisions != self.regression.precision)
        )
        arrays = [
            used.astype("<i4"),
            self.regression.weights[used],
            self.regression.precisions[used],
            self.log_weights,
            self.log_trust,
            self.pending.places.astype("<i4"),
            *self.pending[1:],
        ]
        state = {
            "format": FORMAT,
            "cut": [cut.topic_id, cut.partition, cut.position],
            "base_rate": self.base_rate,
            "columns": self.columns,
            "recalibration": self.recalibration.state(),
            "progress": self.progress.state(),
            "arrays": [np.ascontiguousarray(array).tobytes() for array in arrays],
        }
        return zlib.compress(msgpack.packb(state), 1)

    @classmethod
    def restore(cls, snapshot: bytes) -> tuple["Learner", Cut]:
        """The learner as it was, and the cut to go on from. Raises UnusableSnapshot."""
        try:
            state = msgpack.unpackb(zlib.decompress(snapshot))
            found = state["format"]
        except (zlib.error, ValueError, TypeError, KeyError) as error:
            raise UnusableSnapshot(f"not a snapshot of a learner: {error}") from error
        if found != FORMAT:
            raise UnusableSnapshot(f"a snapshot in format {found}; this release reads {FORMAT}: learn anew")
        learner = cls(state["base_rate"], state["columns"])
        types = ("<i4", *["<f8"] * 4, "<i4", *["<f8"] * 3)
        arrays = [np.frombuffer(data, kind).copy() for data, kind in zip(state["arrays"], types, strict=True)]
        used, weights, precisions, learner.log_weights, learner.log_trust, places, *pending = arrays
        learner.regression.weights[used], learner.regression.precisions[used] = weights, precisions
        learner.pending = Examples(places.reshape(-1, learner.columns), *pending)
        learner.recalibration.restore(state["recalibration"])
        learner.progress = Progress(*state["progress"])
        return learner, Cut(*state["cut"])
