"""The role that computes the models of channels: every account's, on a cadence."""

import logging
from collections.abc import Callable, Sequence
from contextlib import closing
from functools import partial

from sinks.clickhouse.path_counts import Period, converting_accounts
from streams.credit.journeys import SOURCES, period_until, read_journeys
from streams.credit.records import Unusable, model_credit
from streams.metrics import RoleMetrics
from streams.settings import Settings
from streams.ticks.cut import Cut
from streams.ticks.ticks import Schedule, Tick, Ticks

__all__ = ["ROLE", "ModelCredit"]

ROLE = "credit"
OUTPUT = "model-credit"
INPUTS = ("clicks", "conversions")

log = logging.getLogger(__name__)


class ModelCredit:
    """Computes the models of every account it owns, each scheduled time once.

    1. At a scheduled time, note how far the inputs reach. Wait until attribution has worked on all of that, and the
       loader has loaded all of it and of what attribution made of it.
    2. Read the cut, then count each account's journeys that ended before the scheduled time.
    3. Publish the credit of every model, and flush. Only then the time is done with.

    It keeps nothing: what is counted is in ClickHouse, where a version that replaces another has done so, and a
    record that comes again is not there twice. A process that dies in between computes the newest scheduled time
    anew, from the same records or more; the greater number of them wins. Two that both take an account for theirs
    do no harm for the same reason.

    Guarantee: effectively once per (account, event, model, order, as_of); delivery.md, rules 4, 8, 11 and 12.
    """

    def __init__(self, settings: Settings, metrics: RoleMetrics, should_stop: Callable[[], bool]) -> None:
        self._settings = settings
        self._metrics = metrics
        schedule = Schedule(ROLE, OUTPUT, SOURCES, settings.credit.interval_s)
        self._ticks = Ticks(settings, metrics, schedule, should_stop)

    def run(self) -> None:
        """Compute until told to stop. Raises what is unexpected."""
        with closing(self._ticks):
            self._ticks.run(self._compute)

    def _compute(self, tick: Tick) -> int:
        self._wait_until_loaded()
        period = period_until(self._settings, tick.as_of_ms)
        cut = self._ticks.cut(SOURCES)
        accounts = self._ticks.wait("query", lambda: converting_accounts(self._ticks.clickhouse, period))
        computed = 0
        for account_id, event_name in accounts:
            if tick.is_due(account_id):
                self._compute_account(account_id, event_name, period, cut)
                computed += 1
        return computed

    def _compute_account(self, account_id: str, event_name: str, period: Period, cut: Sequence[Cut]) -> None:
        read = partial(read_journeys, self._ticks.clickhouse, self._settings, account_id, event_name, period)
        results = list(
            model_credit(self._settings, account_id, event_name, period, cut, self._ticks.wait("query", read))
        )
        if records := [item for item in results if not isinstance(item, Unusable)]:
            self._ticks.publish(records)
        for item in results:
            if isinstance(item, Unusable):
                self._metrics.discarded.labels(OUTPUT, "unusable_counts").inc()
                log.warning(
                    "%s of order %d is not computed for %s: %s", item.model, item.order, account_id, item.problem
                )

    def _wait_until_loaded(self) -> None:
        """Until all that is on the inputs now is attributed, and that and the inputs are loaded."""
        inputs = {name: self._ticks.ends(name) for name in INPUTS}
        for name, ends in inputs.items():
            self._ticks.wait_until_attributed(name, ends)
        # Attribution publishes before it commits: the end of its output stands.
        self._ticks.wait_until_loaded("clicks", inputs["clicks"])
        self._ticks.wait_until_loaded("attributed-conversions", self._ticks.ends("attributed-conversions"))
