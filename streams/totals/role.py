"""The role that estimates how many conversions each ad has caused: every account's, on a cadence."""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from functools import partial

from processors.matching.model import MatchModel
from processors.totals.clicks import AccountClicks
from processors.totals.estimate import Settings as Thresholds
from processors.totals.estimate import Totals, estimate
from processors.totals.holdout import HoldoutTest, holdouts_of
from processors.totals.records import Published, RowKey, total_records
from processors.totals.state import State
from sinks.clickhouse.totals import Days, published_totals
from streams.admin import registry
from streams.matching.models import MatchModels
from streams.matching.reading import Period, Reading
from streams.metrics import RoleMetrics
from streams.settings import Settings
from streams.ticks.ticks import Schedule, Tick, Ticks
from streams.totals.holdouts import holdout_tests
from streams.totals.reading import Counted, Summed, TotalsReading, slices

__all__ = ["ROLE", "AttributionTotals"]

ROLE = "totals"
OUTPUT = "attribution-totals"
DAY_MS = 86_400_000
#: The broker, whose clock says what arrived before a scheduled time, may be this much behind ours.
CLOCKS_APART_S = 5.0

log = logging.getLogger(__name__)


class AttributionTotals:
    """Estimates the totals of every account it owns that has a model of matching, each scheduled time once.

    1. Take the models in force at the scheduled time. Wait until the totals published so far are in ClickHouse.
    2. Read the hold-out tests, and the clicks and conversions of the period before the scheduled time, by event time,
       as far as Kafka took them before it; sum up what each conversion says. All of it is from the topics: ClickHouse
       has no addresses.
    3. Ask ClickHouse which rows of an account its estimate has to replace.
    4. Publish the account's records, those that have become empty included, and flush.

    It keeps nothing. What arrived before a time does not change any more, and nothing is drawn at random, so that a
    process that computes a time again says the same; of two times the later replaces the earlier.

    Guarantee: effectively once per (account, ad, day, days, as_of); delivery.md, rules 4, 11 and 12.
    """

    def __init__(self, settings: Settings, metrics: RoleMetrics, should_stop: Callable[[], bool]) -> None:
        self._settings = settings
        self._metrics = metrics
        section = settings.totals
        self._thresholds = Thresholds(section.fewest_conversions, section.alarm_disagreement, section.alarm_errors)
        schedule = Schedule(ROLE, OUTPUT, (OUTPUT,), section.interval_s, CLOCKS_APART_S)
        self._ticks = Ticks(settings, metrics, schedule, should_stop)
        self._schemas = registry(settings)
        self._models = MatchModels(settings, self._schemas)
        self._has_models = False
        #: Accounts of which it was said that they have no model.
        self._told: set[str] = set()
        #: Accounts that the metrics speak of.
        self._shown: set[str] = set()

    def run(self) -> None:
        """Compute until told to stop. Raises what is unexpected."""
        with closing(self):
            self._ticks.run(self.compute)

    def close(self) -> None:
        """Leave the group, and close all connections."""
        self._ticks.close()
        self._models.close()
        self._schemas.close()

    def compute(self, tick: Tick) -> int:
        """The totals of a scheduled time; how many accounts have some. Raises Stopping."""
        section = self._settings.totals
        days = _period_until(tick.as_of_ms, section.period_d)
        self._ticks.wait("models", self._know_models)
        period = Period(days.first * DAY_MS, tick.as_of_ms)
        reading = TotalsReading(
            Reading(self._settings, self._schemas, period, self._ticks.breathe), section.event_names
        )
        counted = self._ticks.wait("read", reading.counted)
        models = self._models_of(sorted(counted), tick)
        self._metrics.forget_totals(self._shown - models.keys())
        self._shown &= models.keys()
        if not models:
            return 0
        self._ticks.wait_until_loaded(OUTPUT, self._ticks.ends(OUTPUT))
        tests = self._ticks.wait("read", partial(holdout_tests, self._settings, self._schemas, tick.as_of_ms))
        computed = 0
        for summed in self._sums(reading, {account_id: counted[account_id] for account_id in models}, models):
            account_id = summed.slice.account_id
            if tick.is_due(account_id):
                self._publish(
                    estimate(summed.state.plus(summed.clicks.state), self._thresholds),
                    _published(account_id, tick.as_of_ms, days, counted[account_id], summed.clicks, tests),
                )
                computed += 1
        return computed

    def _sums(
        self, reading: TotalsReading, counted: Mapping[str, Counted], models: Mapping[str, MatchModel]
    ) -> Iterator[Summed]:
        """Each account with the sums of all of its slices."""
        states: dict[str, State] = {}
        for group in slices(counted, self._settings.totals.conversions_at_once):
            for summed in self._ticks.wait("read", partial(reading.summed, group, counted, models)):
                account_id = summed.slice.account_id
                # Accounts come one after the other: only this one's are kept.
                states = {account_id: summed.state.plus(states.get(account_id, State()))}
                if summed.slice.is_last:
                    yield summed._replace(state=states[account_id])

    def _publish(self, totals: Totals, published: Published) -> None:
        days = Days(published.first_day, published.last_day)
        ask = partial(published_totals, self._ticks.clickhouse, published.account_id, days, published.as_of_ms)
        earlier = [RowKey(**row) for row in self._ticks.wait("query", ask).to_pylist()]
        self._ticks.publish_batch(total_records(totals, published, earlier))
        self._shown.add(published.account_id)
        self._metrics.observe_totals(published.account_id, published.as_of_ms, totals.is_alarm)
        if totals.is_alarm:
            log.warning(
                "%s: the account totals disagree by %.0f %%: none of them should be relied on",
                published.account_id,
                100 * totals.disagreement,
            )

    def _know_models(self) -> None:
        if self._has_models:
            self._models.follow()
        else:
            self._models.load()
            self._has_models = True

    def _models_of(self, accounts: Iterable[str], tick: Tick) -> dict[str, MatchModel]:
        """The model of each account that is to be computed and has one."""
        found = {}
        for account_id in accounts:
            if tick.is_due(account_id):
                model = self._models.model_for(account_id, tick.as_of_ms)
                if model is None:
                    self._say_no_model(account_id)
                else:
                    found[account_id] = model
        return found

    def _say_no_model(self, account_id: str) -> None:
        self._metrics.discarded.labels(OUTPUT, "no_model").inc()
        if account_id not in self._told:
            self._told.add(account_id)
            log.warning("%s has no totals: there is no model of matching; run `spendloop learn matching`", account_id)


def _period_until(as_of_ms: int, days: int) -> Days:
    """So many days, of which the last ends with a time, or has it in it."""
    last = (as_of_ms - 1) // DAY_MS
    return Days(last - days + 1, last)


def _published(
    account_id: str,
    as_of_ms: int,
    days: Days,
    counted: Counted,
    clicks: AccountClicks,
    tests: Mapping[str, Sequence[HoldoutTest]],
) -> Published:
    return Published(
        account_id=account_id,
        as_of_ms=as_of_ms,
        first_day=days.first,
        last_day=days.last,
        currency=counted.currency,
        ad_accounts=clicks.ad_accounts,
        holdouts=holdouts_of(tests.get(account_id, ()), clicks.campaigns),
    )
