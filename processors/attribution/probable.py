"""Conversions that no identifier matches: which clicks are asked for, and what matching makes of them.

Everything here is of one tenant. What comes out depends on the facts that had arrived by a certain ingest time and on
the model alone, not on when it is computed (delivery.md, rule 10).
"""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from processors.attribution.facts import Retention, Touchpoint, choose_touchpoints, read_touchpoints
from processors.attribution.identifiers import HASH_DIGITS, name_of_hash, remembered_fbclids
from processors.matching.candidates import WINDOW_MS, Counts, Pairs
from processors.matching.deterministic import IdentifierMatches
from processors.matching.evidence import Evidence, Hashes, evidence_of, hash_text
from processors.matching.match import LAYERS, Matches, match_candidates
from processors.matching.model import MatchModel
from processors.matching.persons import persons
from processors.matching.surroundings import read_surroundings
from processors.matching.traces import FoundClicks, Traces, find_clicks, keys_of

__all__ = ["Candidate", "Gathered", "Match", "Question", "clicks_asked", "gather", "matches", "question_of"]

Ints = npt.NDArray[np.int64]
#: What is held under a key of a lookup, by bucket and key; None where there are too many.
Held = Mapping[tuple[int, bytes], Traces]
PERSONAL = ("email", "phone", "external_id")


class Candidate(NamedTuple):
    """A click that may have led to a conversion, and how probable that is."""

    touchpoint: Touchpoint
    probability: float


class Match(NamedTuple):
    """What evidence says of a conversion.

    layer: fingerprint, ip, probabilistic, or none without candidates. person: that the likeliest person is the buyer;
    ad: that the ad of the credited click is the right one; none: that no candidate caused it. margin: over the next
    person. credited: the likeliest click of the likeliest ad of that person, None without candidates.
    candidates: the likeliest first. own: clicks of the likeliest person, oldest first, the credited among them.
    """

    layer: str
    credited: Touchpoint | None
    person: float
    ad: float
    none: float
    margin: float
    candidates: Sequence[Candidate]
    own: Sequence[Touchpoint]
    model_version: str


class Question(NamedTuple):
    """What is asked of the store for conversions.

    evidence: of the conversions. known_until_ms: what arrived later counts for nothing; shape (conversions,).
    buckets: by conversion, in which the clicks before it lie. keys: by lookup and conversion.
    """

    evidence: Evidence
    known_until_ms: Ints
    buckets: Sequence[range]
    keys: Mapping[str, Sequence[bytes | None]]

    def traces(self) -> Mapping[int, Collection[bytes]]:
        """The keys whose traces are asked for, by bucket."""
        asked: defaultdict[int, set[bytes]] = defaultdict(set)
        for keys in self.keys.values():
            for key, buckets in zip(keys, self.buckets, strict=True):
                for bucket in buckets if key else ():
                    asked[bucket].add(key or b"")
        return asked

    def find(self, held: Held) -> FoundClicks:
        """The clicks that the traces lead to."""
        lists = {
            name: [self._pieces(held, key, buckets) for key, buckets in zip(keys, self.buckets, strict=True)]
            for name, keys in self.keys.items()
        }
        return find_clicks(self.evidence, self.known_until_ms, lists)

    @staticmethod
    def _pieces(held: Held, key: bytes | None, buckets: range) -> list[Traces]:
        return [held.get((bucket, key), b"") for bucket in buckets] if key else []


def question_of(conversions: pa.RecordBatch, known_until_ms: Ints, retention: Retention) -> Question:
    """What to ask for conversions, which have the contract's columns."""
    evidence = evidence_of(conversions, "event_source_url")
    # Of a click the store has the beginnings of hashes only.
    email, phone, external_id = (_short(conversions.column(f"{name}_sha256").to_pylist()) for name in PERSONAL)
    fbclid = _hashes(remembered_fbclids(conversions))
    evidence = evidence._replace(fbclid=fbclid, email=email, phone=phone, external_id=external_id)
    buckets = [
        range(retention.bucket_of(time - WINDOW_MS), retention.bucket_of(time) + 1)
        for time in evidence.event_ms.tolist()
    ]
    return Question(evidence, known_until_ms, buckets, keys_of(evidence))


def clicks_asked(found: FoundClicks, retention: Retention) -> Mapping[int, Collection[bytes]]:
    """The identifiers of the clicks that were found, by bucket."""
    asked: defaultdict[int, set[bytes]] = defaultdict(set)
    chosen = np.unique(found.pairs.click)
    for click, event_s in zip(found.click_id[chosen].tolist(), found.event_s[chosen].tolist(), strict=True):
        asked[retention.bucket_of(event_s * 1000)].add(name_of_hash(click).encode())
    return asked


class Gathered(NamedTuple):
    """The clicks that were found, as the store holds them; the pairs are rows of conversions and of these."""

    held: Sequence[Touchpoint]
    clicks: Evidence
    pairs: Pairs
    counts: Counts


def gather(question: Question, found: FoundClicks, contents: Sequence[bytes]) -> Gathered:
    """What there is to match with. `contents` are those held of the clicks that were found."""
    held = read_touchpoints(contents)
    clicks = _evidence_of_clicks(held)
    return Gathered(held, clicks, _pairs(question, found, held, clicks), found.counts)


def matches(conversions: Evidence, gathered: Gathered, model: MatchModel) -> list[Match]:
    """The match of each conversion."""
    ads = _numbers([touch.ad_id for touch in gathered.held])
    count = len(conversions.event_ms)
    nobody = IdentifierMatches(np.full(count, -1), Pairs(np.empty(0, np.int64), np.empty(0, np.int64)))
    result = match_candidates(conversions, gathered.clicks, ads, nobody, gathered.pairs, gathered.counts, model)
    return _told(result, gathered.clicks, gathered.held)


def _pairs(question: Question, found: FoundClicks, held: Sequence[Touchpoint], clicks: Evidence) -> Pairs:
    """Conversions and, of each click found, the content that counts by what had arrived: rows of `held`."""
    contents: defaultdict[int, list[int]] = defaultdict(list)
    for row in sorted(range(len(held)), key=lambda row: held[row].order, reverse=True):
        contents[int(clicks.click_id[row])].append(row)
    known_until_ms, event_ms = question.known_until_ms.tolist(), question.evidence.event_ms.tolist()
    conversion, click = [], []
    for of, number in zip(found.pairs.conversion.tolist(), found.pairs.click.tolist(), strict=True):
        rows = contents[int(found.click_id[number])]
        counting = next((row for row in rows if held[row].ingest_ms <= known_until_ms[of]), None)
        if counting is not None and held[counting].event_ms <= event_ms[of]:
            conversion.append(of)
            click.append(counting)
    return Pairs(np.array(conversion, np.int64), np.array(click, np.int64))


def _told(result: Matches, clicks: Evidence, held: Sequence[Touchpoint]) -> list[Match]:
    of = result.candidates.conversion
    starts = np.searchsorted(of, np.arange(len(result.layer) + 1))
    person = persons(result.candidates, clicks)
    told = []
    for row, (layer, click) in enumerate(zip(result.layer.tolist(), result.click.tolist(), strict=True)):
        places = range(starts[row], starts[row + 1])
        credited = next((person[place] for place in places if result.candidates.click[place] == click), -1)
        told.append(
            Match(
                layer=LAYERS[layer],
                credited=held[click] if click >= 0 else None,
                person=float(result.person[row]),
                ad=float(result.ad[row]),
                none=float(result.none[row]),
                margin=float(result.margin[row]),
                candidates=[
                    Candidate(held[result.candidates.click[place]], float(result.probability[place]))
                    for place in places
                ],
                own=choose_touchpoints(
                    held[result.candidates.click[place]] for place in places if person[place] == credited
                ),
                model_version=result.model_version,
            )
        )
    return told


def _evidence_of_clicks(held: Sequence[Touchpoint]) -> Evidence:
    nothing = np.zeros(len(held), np.uint64)
    return Evidence(
        event_ms=np.array([touch.event_ms for touch in held], np.int64),
        site=nothing,
        family=nothing,
        screen=nothing,
        time_zone=nothing,
        visitor=_hashes([touch.visitor_id for touch in held]),
        click_id=_hashes([touch.click_id for touch in held]),
        fbclid=_hashes([touch.fbclid for touch in held]),
        email=_hashes([touch.email for touch in held]),
        phone=_hashes([touch.phone for touch in held]),
        external_id=_hashes([touch.external_id for touch in held]),
        **read_surroundings([touch.surroundings for touch in held]),
    )


def _hashes(values: Sequence[str | None]) -> Hashes:
    return np.array([hash_text(value) if value else 0 for value in values], np.uint64)


def _short(values: Sequence[str | None]) -> Hashes:
    return _hashes([value[:HASH_DIGITS] if value else None for value in values])


def _numbers(names: Sequence[str | None]) -> Ints:
    """A number for each distinct name, in their order, whatever else there is; -1 for none."""
    known = {name: number for number, name in enumerate(sorted({name for name in names if name}))}
    return np.array([known[name] if name else -1 for name in names], np.int64)
