"""Whose a conversion is: which touchpoints are of the same person, and what says so."""

from collections.abc import Collection, Iterable, Sequence

from processors.attribution.facts import ConversionContent, Touchpoint
from processors.attribution.graph import KINDS, STRONG, Graph, Link, links_of

__all__ = ["LAYERS", "Person"]

#: What a conversion is matched by, the surest first; by the first that holds for any of its touchpoints it is called.
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
