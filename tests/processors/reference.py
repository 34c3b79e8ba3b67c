"""What a conversion's touchpoints are, said of one conversion at a time: what the columns have to agree with."""

from collections.abc import Collection, Container, Iterable, Mapping, Sequence
from itertools import chain
from typing import TypeVar

from processors.attribution.attribute import MAX_TOUCHPOINTS, OVERFULL_FACTS, Pending
from processors.attribution.facts import (
    ConversionContent,
    Retention,
    Touchpoint,
    choose_conversion,
    choose_touchpoints,
    read_contents,
    read_touchpoints,
)
from processors.attribution.graph import KINDS, STRONG, Graph, Link, links_of
from processors.attribution.links import LinkFact, counting_links, read_links
from schemas.facts import Held, HeldConversion

Ids = Mapping[tuple[str, str], int]
LinkOffsets = Mapping[tuple[str, LinkFact], int]
Fact = TypeVar("Fact", Touchpoint, LinkFact)
LAYERS = ("click_id", "fbclid", "external_id", "email", "phone", "visitor_id", "device_graph", "none")
BY_KIND = {"x": "external_id", "e": "email", "p": "phone", "v": "visitor_id"}


class Person:
    """Who converted, as far as the conversion, the click it remembers and the links tell.

    A touchpoint that carries another strong identifier than the person's is somebody else's, who used the same
    browser; the click that the conversion itself remembers is the person's whatever it carries.
    """

    def __init__(self, conversion: ConversionContent, touchpoints: Iterable[Touchpoint], links: Sequence[Link]) -> None:
        """`touchpoints` may be anybody's."""
        self._conversion = conversion
        self._own = frozenset(conversion.known_as)
        remembered = {name for touch in touchpoints if conversion.remembers(touch) for name in touch.known_as}
        self._known_as = self._own | _reached(conversion, remembered, links)
        self._strong = {name[0]: name for name in sorted(self._known_as) if name[0] in STRONG}
        self._strong |= {name[0]: name for name in self._own if name[0] in STRONG}

    def has(self, touchpoint: Touchpoint) -> bool:
        """Whether it is this person's."""
        if self._conversion.remembers(touchpoint):
            return True
        names = list(touchpoint.known_as)
        if self._strong and any(self._strong.get(name[0], name) != name for name in names):
            return False
        return not self._known_as.isdisjoint(names)

    def layer(self, own: Collection[Touchpoint]) -> str:
        """By what the surest of the person's touchpoints was recognised."""
        if not own:
            return "none"
        return min((self._layer_of(touch) for touch in own), key=LAYERS.index)

    def _layer_of(self, touchpoint: Touchpoint) -> str:
        if touchpoint.click_id == self._conversion.click_id:
            return "click_id"
        if self._conversion.remembers(touchpoint):
            return "fbclid"
        return next((BY_KIND[name[0]] for name in touchpoint.known_as if name in self._own), "device_graph")


def _reached(conversion: ConversionContent, remembered: Collection[str], links: Sequence[Link]) -> frozenset[str]:
    """What is known of the person beyond the conversion."""
    if not remembered and not links:
        return frozenset()
    known = [*conversion.known_as, *remembered]
    if not known:
        return frozenset()
    graph = Graph([*links, *links_of(conversion.event_ms, known)])
    surest = min(known, key=lambda name: (KINDS.index(name[0]), name))
    return graph.person(surest)


def arrived_conversions(held: Held, offsets: Ids, since_ms: int, retention: Retention) -> list[Pending]:
    """What is to be attributed for conversions that arrived, with their offsets by (account, conversion_id).

    `since_ms`: ingest time of the oldest that arrived now. What arrives for a conversion that is frozen changes
    nothing: its touchpoints may have expired, and it was attributed when it came.
    """
    evidence = _Evidence(held, retention)
    arrived = [
        (_Case(conversion, retention), offset)
        for conversion in held.conversions
        if (offset := offsets.get((conversion.account_id, conversion.conversion_id))) is not None
    ]
    return [evidence.pending(case, offset) for case, offset in arrived if not case.is_frozen(since_ms)]


def changed_conversions(held: Held, offsets: Ids, links: LinkOffsets, retention: Retention) -> list[Pending]:
    """The conversions whose result records that arrived may change: clicks, with their offsets by (account, click_id),
    and links, with theirs by (account, link).

    A click outside the window of a conversion changes nothing, nor does one that is too late for it: by then other
    facts of the window may have expired, and the conversion is frozen.
    """
    evidence = _Evidence(held, retention)
    found = []
    for conversion in held.conversions:
        case = _Case(conversion, retention)
        # A content inside the window counts as a cause even where a later one has moved the click out of it.
        causes = [offsets.get((case.account_id, touch.click_id), -1) for touch in evidence.inside(case)]
        if links:
            causes += [links.get((case.account_id, fact), -1) for fact in evidence.links(case)]
        if (cause := max(causes, default=-1)) >= 0:
            found.append(evidence.pending(case, cause))
    return found


def settling_conversions(held: Held, until_ms: int, retention: Retention) -> list[Pending]:
    """What is to be settled, of that whose clicks are still held; nothing has arrived for it."""
    evidence = _Evidence(held, retention)
    cases = [_Case(conversion, retention) for conversion in held.conversions]
    return [evidence.pending(case, -1) for case in cases if until_ms <= retention.held_until_ms(case.chosen.event_ms)]


class _Evidence:
    """What is held, read once for all conversions that share it."""

    def __init__(self, held: Held, retention: Retention) -> None:
        self._held = held.touchpoints
        self._retention = retention
        contents = list({content for item in held.touchpoints.values() for content in item.contents})
        self._touchpoints = dict(zip(contents, read_touchpoints(contents), strict=True))
        self._links = {
            name: read_links(name[1], item.contents, retention) for name, item in held.links.items() if item.contents
        }
        self._overfull = {name: item.overfull for name, item in held.touchpoints.items() if item.overfull}
        self._overfull_links = {name: item.overfull for name, item in held.links.items() if item.overfull}

    def inside(self, case: "_Case") -> list[Touchpoint]:
        """The contents of touchpoints in a conversion's window that are not too late for it."""
        return [touch for touch in _in_time(case, self._of(case)) if touch.event_ms in case.window]

    def links(self, case: "_Case") -> list[LinkFact]:
        """What says, or takes back, that two identifiers are the same person's, and is not too late."""
        return _in_time(case, self._links_of(case))

    def pending(self, case: "_Case", offset: int) -> Pending:
        """What there is to attribute the conversion with."""
        held, links = self._of(case), self._links_of(case)
        counting = [touch for touch in choose_touchpoints(_in_time(case, held)) if touch.event_ms in case.window]
        person = Person(case.chosen, counting, counting_links(_in_time(case, links)))
        own = [touch for touch in counting if person.has(touch)]
        used = own if len(own) <= MAX_TOUCHPOINTS else []
        overfull = self._count_overfull(case) + case.steps_cut
        facts_held = len(case.contents) + len(held) + len(links) + overfull * OVERFULL_FACTS + case.settled
        layer = person.layer(used)
        return Pending(case.name, case.chosen, used, layer, case.lookback_s, facts_held, offset, case.settled)

    def _of(self, case: "_Case") -> list[Touchpoint]:
        """The contents of touchpoints that any content asks for; none under an identifier that says nothing.

        They only become more until the conversion is frozen. Others may have been read along for other conversions.
        """
        found: dict[bytes, None] = {}
        for identifier in case.identifiers:
            held = self._held.get(identifier)
            if held is not None and not _is_overfull(self._overfull, identifier, case.buckets):
                found |= dict.fromkeys(held.contents)
        bucket_of, buckets = self._retention.bucket_of, case.buckets
        touchpoints = map(self._touchpoints.__getitem__, found)
        return [touch for touch in touchpoints if bucket_of(touch.event_ms) in buckets]

    def _links_of(self, case: "_Case") -> list[LinkFact]:
        """The links between what is reached, but for those of an identifier that too many share."""
        if not self._links:
            return []
        bucket_of, buckets = self._retention.link_bucket_of, case.link_buckets
        account_id = case.account_id
        return list(
            {
                fact: None
                for identifier in case.identifiers
                for fact in self._links.get(identifier, ())
                if bucket_of(fact.link.event_ms) in buckets
                and not any(
                    _is_overfull(self._overfull_links, (account_id, name), buckets)
                    for name in (fact.link.first, fact.link.second)
                )
            }
        )

    def _count_overfull(self, case: "_Case") -> int:
        """How many buckets, of those the conversion asks, hold more than identifies anybody."""
        if not (self._overfull or self._overfull_links):
            return 0
        return sum(
            bucket in buckets
            for overfull, buckets in ((self._overfull, case.buckets), (self._overfull_links, case.link_buckets))
            for name in case.identifiers
            for bucket in overfull.get(name, ())
        )


def _in_time(case: "_Case", held: Iterable[Fact]) -> list[Fact]:
    # Too late is too late whenever it is read, or the result would depend on what was read first.
    return [fact for fact in held if fact.ingest_ms <= case.latest_ingest_ms]


def _is_overfull(
    overfull: Mapping[tuple[str, str], Collection[int]], identifier: tuple[str, str], buckets: Container[int]
) -> bool:
    return bool(overfull) and any(bucket in buckets for bucket in overfull.get(identifier, ()))


class _Case:
    """One conversion: its contents, the one that counts, and where its touchpoints and links may lie."""

    def __init__(self, conversion: HeldConversion, retention: Retention) -> None:
        account_id = conversion.account_id
        self.account_id = account_id
        self.name = account_id, conversion.conversion_id
        self.contents = read_contents(conversion.contents)
        self.chosen = choose_conversion(self.contents, retention)
        self.lookback_s = retention.lookback_of(account_id)
        self.window = range(self.chosen.event_ms - self.lookback_s * 1000, self.chosen.event_ms + 1)
        #: Of all contents together, so that a correction never takes anything away.
        self.buckets: Container[int] = retention.touchpoint_buckets(account_id, self.chosen.event_ms)
        self.link_buckets: Container[int] = retention.link_buckets(self.chosen.event_ms)
        if len(self.contents) > 1:
            asked = (retention.touchpoint_buckets(account_id, content.event_ms) for content in self.contents)
            self.buckets = set(chain.from_iterable(asked))
            linked = (retention.link_buckets(content.event_ms) for content in self.contents)
            self.link_buckets = set(chain.from_iterable(linked))
        self.identifiers = [(account_id, name) for name in conversion.reached]
        self.steps_cut = conversion.steps_cut
        self.settled = conversion.settled
        self.latest_ingest_ms = retention.latest_ingest_ms(self.chosen.event_ms)

    def is_frozen(self, now_ms: int) -> bool:
        """Whether it came before, and so long ago that its window may no longer be held whole."""
        return self.chosen.ingest_ms < now_ms and now_ms > self.latest_ingest_ms
