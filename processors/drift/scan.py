"""Two-sided CUSUM of many series at once, over additive buckets.

A side adds up how much more likely each bucket is at `ratio` times the usual rate (or at one over it) than at the usual
rate, and starts again at zero wherever the sum falls below it; the sum reaching `threshold` is an alarm. The usual rate
is learned from the series itself: all buckets but those since the sum was last zero, which are in doubt.

An alarm is on trial. If what follows raises it once more, the usual rate is learned anew from what came since the
change; if nothing does while so many events as `trial` would have been usual, it was false, and the usual rate is what
it was. A change that comes upon a false alarm is found like any other.

What is found is a function of the buckets: neither of the order in which their events arrived nor of what was found
before, so that a bucket that is restated is simply scanned again.

Page: Continuous inspection schemes, Biometrika 41 (1954). Hawkins: Self-starting CUSUM charts, The Statistician 36
(1987).
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from processors.drift.likelihood import Floats, Step

__all__ = ["CHART", "NOTHING", "Chart", "Prior", "Scan", "scan"]

Ints = npt.NDArray[np.int64]

#: Sides, the first axis of a chart's arrays.
UP, DOWN = 0, 1
#: Exposure below this is none.
LEAST = 1e-9
SIGN = np.array([[1.0], [-1.0]])


class Chart(NamedTuple):
    """How a CUSUM is set.

    ratio: the change it is tuned to, above one. threshold: the log likelihood ratio that is an alarm.
    guard: by how many standard errors of the usual rate that rate is moved towards the change, so that a rate
    learned from few events does not raise an alarm. warm_up: events the usual rate has to rest on. hold: buckets an
    alarm stays open at least; then until its trial is over and the usual rate rests on twice warm_up events. trial:
    events, by the usual rate, in which an alarm has to be confirmed.
    """

    ratio: float = 2.0
    threshold: float = 6.5
    guard: float = 1.0
    warm_up: float = 30.0
    hold: int = 3
    trial: float = 60.0


class Prior(NamedTuple):
    """What is known of the usual rates beforehand: `events` in `exposure`, shape (series,) or ()."""

    events: Floats | float = 0.0
    exposure: Floats | float = 0.0


#: What to use where nothing else is said.
CHART, NOTHING = Chart(), Prior()


class Scan(NamedTuple):
    """What a scan found; shape (buckets, series) each.

    statistic: the greater of both sides' after the bucket. alarm: 1 where the rate was found to have risen, -1 to have
    fallen, else 0. began: the first bucket of the change, where there is an alarm. usual: the rate expected of the
    bucket, from those before it. is_open: whether an alarm was raised whose new usual rate is still being learned; an
    alarm that is raised meanwhile does not end it.
    """

    statistic: Floats
    alarm: Ints
    began: Ints
    usual: Floats
    is_open: npt.NDArray[np.bool_]


def scan(
    count: npt.ArrayLike,
    exposure: npt.ArrayLike,
    step: Step,
    chart: Chart = CHART,
    prior: Prior = NOTHING,
    dispersion: float = 0.0,
) -> Scan:
    """Every alarm of every series.

    count, exposure: shape (buckets, series), oldest first; a bucket without exposure says nothing. dispersion: variance
    of the rate from bucket to bucket, relative to its square: a bucket of which m events are expected counts for
    1/(1 + dispersion * m) of what it would, for the usual rate as well.

    >>> from processors.drift.likelihood import bernoulli_step
    >>> found = scan([[40], [38], [41], [17], [18]], np.full((5, 1), 1000), bernoulli_step)
    >>> found.alarm.ravel().tolist(), found.began.ravel().tolist()
    ([0, 0, 0, -1, 0], [0, 1, 2, 3, 4])
    """
    counts, exposures = np.asarray(count, np.float64), np.asarray(exposure, np.float64)
    state = _State.start(counts.shape[1])
    rows = [
        _advance(state, number, *bucket, step, chart, prior, dispersion)
        for number, bucket in enumerate(zip(counts, exposures, strict=True))
    ]
    if not rows:
        nothing = np.zeros(counts.shape)
        return Scan(nothing, nothing.astype(int), nothing.astype(int), nothing, nothing.astype(bool))
    return Scan(*(np.array(column) for column in zip(*rows, strict=True)))


class _State(NamedTuple):
    """Shape (sides, series); `sure` and `doubt` have (count, exposure, what the count is worth) before these.

    trial: shape (3, series), the same sums since the change that an alarm has found; suspect: shape (series,), the side
    whose alarm it was, -1 where there is none on trial. opened: the bucket of the last alarm, -1 where none is open.
    """

    statistic: Floats
    sure: Floats
    doubt: Floats
    began: Ints
    trial: Floats
    suspect: Ints
    opened: Ints

    @classmethod
    def start(cls, series: int) -> "_State":
        sums, sides, none = (3, 2, series), (2, series), np.full(series, -1)
        return cls(
            np.zeros(sides),
            np.zeros(sums),
            np.zeros(sums),
            np.zeros(sides, np.int64),
            np.zeros((3, series)),
            none,
            none.copy(),
        )


Row = tuple[Floats, Ints, Ints, Floats, npt.NDArray[np.bool_]]


def _advance(
    state: _State, number: int, count: Floats, exposure: Floats, step: Step, chart: Chart, prior: Prior, noise: float
) -> Row:
    exposed = prior.exposure + state.sure[1]
    rate = np.divide(prior.events + state.sure[0], exposed, out=np.zeros_like(exposed), where=exposed > LEAST)
    events = prior.events + state.sure[2]
    is_ready = events >= chart.warm_up
    towards = SIGN * chart.guard / np.sqrt(np.maximum(events, 1.0))
    usual = np.where(is_ready, rate * np.exp(towards), 1e-9)
    gain = step(count, exposure, usual, chart.ratio**SIGN) / (1 + noise * usual * exposure)
    state.statistic[:] = np.where(is_ready, np.maximum(state.statistic + gain, 0), 0)
    seen = np.array([count, exposure, count / (1 + noise * rate.mean(axis=0) * exposure)])
    state.doubt[:] += seen[:, None]
    state.trial[:] += seen
    statistic = state.statistic.max(axis=0)
    is_alarm = statistic >= chart.threshold
    side, series = state.statistic.argmax(axis=0), np.arange(len(count))
    began = state.began[side, series]
    state.opened[is_alarm] = number
    _try(state, is_alarm, side, chart.trial / np.maximum(rate.mean(axis=0), LEAST))
    _learn(state, number, is_alarm)
    is_open = state.opened >= 0
    is_learned = (state.suspect < 0) & (state.sure[2].min(axis=0) >= 2 * chart.warm_up)
    state.opened[is_open & is_learned & (number - state.opened >= chart.hold)] = -1
    alarm = np.where(is_alarm, SIGN[side, 0].astype(np.int64), 0)
    return statistic, alarm, began, rate.mean(axis=0), is_open


def _try(state: _State, is_alarm: npt.NDArray[np.bool_], side: Ints, longest: Floats) -> None:
    """Put alarms on trial, take those that are confirmed for the new usual rate and let go of those that are not."""
    is_confirmed = is_alarm & (state.suspect == side)
    is_first = is_alarm & ~is_confirmed
    is_over = (state.suspect >= 0) & ~is_alarm & (state.trial[1] >= longest)
    state.sure[:] = np.where(
        is_confirmed, state.trial[:, None], np.where(is_over, state.sure + state.trial[:, None], state.sure)
    )
    state.trial[:, is_first] = state.doubt[:, side, np.arange(len(side))][:, is_first]
    state.suspect[is_first] = side[is_first]
    state.suspect[is_confirmed | is_over] = -1
    state.doubt[..., is_over] = 0


def _learn(state: _State, number: int, is_alarm: npt.NDArray[np.bool_]) -> None:
    """Buckets become sure where the statistic is zero, but for those on trial."""
    state.statistic[:, is_alarm] = 0
    state.doubt[..., is_alarm] = 0
    is_calm = state.statistic == 0
    state.sure[:] += np.where(is_calm & (state.suspect < 0), state.doubt, 0)
    state.doubt[:] = np.where(is_calm, 0, state.doubt)
    state.began[is_calm] = number + 1
