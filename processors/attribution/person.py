"""Whose a conversion is: which touchpoints are of the same person, and what says so."""

from collections.abc import Collection, Sequence

from processors.attribution.facts import PERSONAL, ConversionContent, Touchpoint
from processors.attribution.graph import KINDS, STRONG, Graph, Link, links_of

__all__ = ["LAYERS", "Person"]

#: What a conversion is matched by, the surest first; by the first that holds for any of its touchpoints it is called.
LAYERS = ("click_id", "fbclid", "external_id", "email", "phone", "visitor_id", "device_graph", "none")
CLICK_ID, FBCLID, DEVICE_GRAPH, NONE = map(LAYERS.index, ("click_id", "fbclid", "device_graph", "none"))
BY_KIND = {kind: LAYERS.index(name) for kind, name in PERSONAL.items()}


class Person:
    """Who converted, as far as the conversion, the click it remembers and the links tell.

    A touchpoint that carries another strong identifier than the person's is somebody else's, who used the same
    browser; the click that the conversion itself remembers is the person's whatever it carries.

    touchpoints: the person's. layer: by what the surest of them was recognised.
    """

    def __init__(self, conversion: ConversionContent, touchpoints: Sequence[Touchpoint], links: Sequence[Link]) -> None:
        """`touchpoints` may be anybody's."""
        own = conversion.known_as
        remembered = [name for touch in touchpoints if conversion.remembers(touch) for name in touch.known_as]
        known_as = _reached(conversion, remembered, links).union(own) if remembered or links else own
        self._conversion = conversion
        self._own, self._known_as = own, known_as
        self._strong = {name[0]: name for name in (*sorted(known_as), *own) if name[0] in STRONG}
        found = [(touch, layer) for touch in touchpoints if (layer := self._layer_of(touch)) is not None]
        self.touchpoints = [touch for touch, _ in found]
        self.layer = LAYERS[min((layer for _, layer in found), default=NONE)]

    def _layer_of(self, touchpoint: Touchpoint) -> int | None:
        """By what a touchpoint is recognised, None where it is somebody else's."""
        if self._conversion.remembers(touchpoint):
            return CLICK_ID if touchpoint.click_id == self._conversion.click_id else FBCLID
        names = touchpoint.known_as
        if self._strong and any(self._strong.get(name[0], name) != name for name in names):
            return None
        for name in names:
            if name in self._own:
                return BY_KIND[name[0]]
        return DEVICE_GRAPH if any(name in self._known_as for name in names) else None


def _reached(conversion: ConversionContent, remembered: Collection[str], links: Sequence[Link]) -> frozenset[str]:
    """What is known of the person beyond the conversion."""
    known = [*conversion.known_as, *remembered]
    if not known:
        return frozenset()
    graph = Graph([*links, *links_of(conversion.event_ms, known)])
    surest = min(known, key=lambda name: (KINDS.index(name[0]), name))
    return graph.person(surest)
