"""Learning the models of matching out of Kafka, tenant by tenant, and publishing them.

Guarantee: at-least-once, effectively once. A run that was broken off, or runs twice, is simply run again: tenants it
was done with are left alone for some hours, and a lesson counts for as much as the time since the last one, so that
looking at the same records again adds nothing. A model is acknowledged by Kafka before the next tenant's turn.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple

import numpy as np

from processors.matching.audits import Attributed, Audit, Verdict, judge
from processors.matching.calibration import calibrate
from processors.matching.excerpt import Excerpt
from processors.matching.learning import Learned, TooFewMatches, learn, relearn
from processors.matching.lesson import Lesson, lesson
from schemas.client.publisher import Publisher
from schemas.client.registry import Registry
from streams.admin import registry
from streams.matching.audits import attributed_conversions, audits_of
from streams.matching.known import Known, known_models
from streams.matching.models import MODELS
from streams.matching.reading import Period, Reading
from streams.settings import Settings

__all__ = ["Outcome", "Request", "learn_matching"]

HOUR_MS, DAY_MS = 3_600_000, 86_400_000
#: Conversions that are in memory at once, of all tenants that share a pass over the clicks.
CONVERSIONS_AT_ONCE = 400_000


@dataclass(frozen=True, slots=True)
class Request:
    """What is to be learned: these tenants, or all that have conversions where `accounts` is None.

    days: how far back. is_dry: nothing is published. again: also tenants that were learned a few hours ago.
    """

    accounts: Sequence[str] | None
    days: int
    is_dry: bool = False
    again: bool = False


class Outcome(NamedTuple):
    """What happened to a tenant, for people; `account_id` is empty where it is said of all."""

    account_id: str
    says: str


class _Run(NamedTuple):
    settings: Settings
    schemas: Registry
    request: Request
    period: Period
    known: Mapping[str, Known]
    publisher: Publisher | None
    clock: Callable[[], int]


def learn_matching(settings: Settings, request: Request, clock: Callable[[], int]) -> Iterator[Outcome]:
    """Learn and publish; says what happened to each tenant as it happens. `clock` gives milliseconds since 1970.

    Raises Unavailable, RegistryUnavailable, ContractError.
    """
    with ExitStack() as stack:
        schemas = registry(settings)
        stack.callback(schemas.close)
        publisher = None
        if not request.is_dry:
            publisher = stack.enter_context(Publisher(settings.kafka.client(), schemas, prefix=settings.namespace))
        now_ms = clock()
        period = Period(now_ms - request.days * DAY_MS, now_ms)
        reading = Reading(settings, schemas, period)
        run = _Run(settings, schemas, request, period, known_models(settings, schemas), publisher, clock)
        counted = reading.conversions_of()
        wanted = sorted(counted) if request.accounts is None else request.accounts
        due = []
        for account_id in wanted:
            if says := _why_not(run, account_id, counted):
                yield Outcome(account_id, says)
            else:
                due.append(account_id)
        for group in _groups(due, counted, settings.matching.most_conversions):
            yield from _learn_group(run, reading, group)
        for topic, count in reading.bad.items():
            if count:
                yield Outcome("", f"{count} times a record of {topic} could not be read and was left out")


def _why_not(run: _Run, account_id: str, counted: Counter[str]) -> str:
    """Why there is nothing to do for a tenant; empty where there is."""
    known = run.known.get(account_id)
    if known is not None and not run.request.again:
        hours = (run.period.to_ms - known.learned_ms) / HOUR_MS
        if hours < run.settings.matching.learn_again_after_h:
            return f"left alone: learned {hours:.1f} h ago; --again learns it anew"
    return "" if counted[account_id] else f"no model: no conversions in {run.request.days} days"


def _groups(accounts: Sequence[str], counted: Counter[str], most: int) -> Iterator[list[str]]:
    """Tenants that fit into memory together: they share the passes over the topics."""
    group: list[str] = []
    size = 0
    for account_id in accounts:
        count = min(counted[account_id], most)
        if group and size + count > CONVERSIONS_AT_ONCE:
            yield group
            group, size = [], 0
        group.append(account_id)
        size += count
    if group:
        yield group


def _learn_group(run: _Run, reading: Reading, accounts: Collection[str]) -> Iterator[Outcome]:
    excerpts = reading.excerpts(reading.draw(accounts, run.settings.matching.most_conversions))
    audits = audits_of(run.settings, run.schemas, accounts)
    attributed = attributed_conversions(run.settings, run.schemas, audits)
    for account_id in sorted(excerpts):
        # Taken out, so that what it holds is free when its turn is over.
        excerpt = excerpts.pop(account_id)
        said, record = _learn_account(run, account_id, excerpt, audits.get(account_id, {}), attributed)
        if record is not None and run.publisher is not None:
            run.publisher.publish(MODELS, record)
            run.publisher.flush()
        yield Outcome(account_id, said + ("; not published" if record is not None and run.request.is_dry else ""))


def _learn_account(
    run: _Run,
    account_id: str,
    excerpt: Excerpt,
    audits: Mapping[str, Audit],
    attributed: Mapping[str, Mapping[str, Attributed]],
) -> tuple[str, dict[str, Any] | None]:
    """What happened, and the record to be published if any."""
    known = run.known.get(account_id)
    taught = lesson(excerpt.conversions, *excerpt.index())
    record = _record(run, account_id, excerpt, taught)
    try:
        learned = _learned(run, taught, known)
    except TooFewMatches as error:
        if known is None or not known.version:
            return f"no model: {error}", None
        return f"the model is withdrawn: {error}", record | {"version": "", "reason": str(error)[:1024]}
    verdict = judge(audits, attributed.get(account_id, {}), known.calibrations if known else {})
    model = calibrate(learned.model, verdict.person, verdict.ad) if verdict.version else learned.model
    said = [
        f"{model.version} from {record['conversions']} conversions and {record['clicks']} clicks; "
        f"{record['identifier_matches']} match by e-mail, phone or external id alone; "
        f"of those without id {model.organic:.0%} are organic",
        *_on_audits(audits, verdict),
    ]
    if known is not None and known.version == model.version:
        return "; ".join([*said, "as before"]), None
    record |= {
        "version": model.version,
        "calibration_version": verdict.version,
        "audits": len(verdict.ad.right),
        "organic_share": model.organic,
        "unreached_share": model.unreached,
        "model": model.to_json(),
        "sums": learned.sums.to_json(),
    }
    return "; ".join([*said, f"in force from {_moment(record['in_force_from'])}"]), record


def _learned(run: _Run, taught: Lesson, known: Known | None) -> Learned:
    """The first model of a tenant, or the next one. Raises TooFewMatches."""
    if known is None or known.sums is None:
        return learn(taught)
    days = max(0, run.period.to_ms - known.learned_ms) / DAY_MS
    return relearn(taught, known.sums, 0.5 ** (days / run.settings.matching.half_life_d))


def _record(run: _Run, account_id: str, excerpt: Excerpt, taught: Lesson) -> dict[str, Any]:
    """What a record says whether there is a model or not."""
    return {
        "account_id": account_id,
        "in_force_from": run.clock() + 1_000 * run.settings.matching.in_force_after_s,
        "learned_time": run.period.to_ms,
        "from_time": run.period.from_ms,
        "to_time": run.period.to_ms,
        "conversions": len(excerpt.conversions.event_ms),
        "identifier_matches": len(np.unique(taught.identified.conversion)),
        "clicks": excerpt.census.clicks,
    }


def _on_audits(audits: Mapping[str, Audit], verdict: Verdict) -> Iterator[str]:
    """What the audits came to, for people."""
    if not audits:
        return
    yield f"{len(audits)} audits: {len(verdict.ad.right)} calibrate its confidences"
    for what, count, right in (
        ("click", verdict.named, verdict.named_right),
        ("person", verdict.identified, verdict.identified_right),
    ):
        if count:
            yield f"of {count} whose {what} an identifier names {right / count:.1%} have the right ad"
    if verdict.missing:
        yield f"{verdict.missing} are of conversions that have not been attributed"
    if verdict.unknown_model:
        yield f"{verdict.unknown_model} were matched by models that are gone"


def _moment(time_ms: int) -> str:
    """
    >>> _moment(1_750_000_000_123)
    '2025-06-15T15:06:40Z'
    """
    return datetime.fromtimestamp(time_ms // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
