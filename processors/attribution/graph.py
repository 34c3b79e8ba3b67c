"""Who is the same person: identifiers joined by the records that carried two of them.

A link says that one record carried two identifiers. Links are taken in the order of their event times; one that would
join two people, which is where both sides have a strong identifier of one kind and these differ, is refused, as is
the family's tablet on which two of them sign in. What comes out depends on the set of links alone, not on their arrival
(delivery.md, rule 10).
"""

from collections.abc import Collection, Iterable
from typing import NamedTuple

__all__ = ["KINDS", "STRONG", "Graph", "Link", "links_of"]

#: Kinds of identifiers, by the letter in front of their values: external id, e-mail address, phone number, contact.
#: A person has one of each, as far as this goes; a second address stays a person of its own until a link says less.
STRONG = "xepc"
#: From the surest to the least: order and lead, which two records share; and the browser.
KINDS = STRONG + "olv"
#: What broken tags write where they know nobody.
NOBODY = frozenset({"", "0", "-", "anonymous", "guest", "nan", "nil", "none", "null", "undefined", "unknown"})


class Link(NamedTuple):
    """Two identifiers of one record. event_ms: when, in ms since the epoch. first < second, so that it is one link."""

    event_ms: int
    first: str
    second: str


def links_of(event_ms: int, identifiers: Collection[str]) -> list[Link]:
    """The links of a record: from its surest identifier to each other one.

    >>> links_of(5, ["vcookie", "eaddress"])
    [Link(event_ms=5, first='eaddress', second='vcookie')]
    >>> links_of(5, ["vcookie"])
    []
    """
    known = {name for name in identifiers if name[0] in KINDS and name[1:].lower() not in NOBODY}
    if len(known) < 2:
        return []
    surest = min(known, key=lambda name: (KINDS.index(name[0]), name))
    return [Link(event_ms, *sorted((surest, other))) for other in sorted(known - {surest})]


class Graph:
    """The people that a set of links makes.

    >>> graph = Graph([Link(1, "ejo", "vtablet"), Link(2, "eann", "vtablet"), Link(3, "eann", "vphone")])
    >>> sorted(graph.person("vtablet")), sorted(graph.person("eann"))
    (['ejo', 'vtablet'], ['eann', 'vphone'])
    >>> graph.refused
    [Link(event_ms=2, first='eann', second='vtablet')]
    """

    def __init__(self, links: Iterable[Link]) -> None:
        self._parent: dict[str, str] = {}
        self._members: dict[str, set[str]] = {}
        self._strong: dict[str, dict[str, str]] = {}
        #: Links that would have joined two people, in order.
        self.refused: list[Link] = []
        for link in sorted(set(links)):
            if not self._join(link.first, link.second):
                self.refused.append(link)

    def person(self, identifier: str) -> frozenset[str]:
        """All identifiers of the person who has this one; it alone, where nothing is known of it."""
        return frozenset(self._members.get(self._root(identifier), {identifier}))

    def _join(self, first: str, second: str) -> bool:
        one, other = self._root(first), self._root(second)
        if one == other:
            return True
        strong, more = self._strong[one], self._strong[other]
        if any(more.get(kind, value) != value for kind, value in strong.items()):
            return False
        if len(self._members[one]) < len(self._members[other]):
            one, other = other, one
        self._parent[other] = one
        self._members[one] |= self._members.pop(other)
        self._strong[one] |= self._strong.pop(other)
        return True

    def _root(self, identifier: str) -> str:
        if identifier not in self._parent:
            self._parent[identifier] = identifier
            self._members[identifier] = {identifier}
            self._strong[identifier] = {identifier[0]: identifier} if identifier[0] in STRONG else {}
        while (parent := self._parent[identifier]) != identifier:
            self._parent[identifier] = identifier = self._parent[parent]
        return identifier
