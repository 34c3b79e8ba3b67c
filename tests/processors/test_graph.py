"""Laws of the identity graph, against a slow definition of it."""

from hypothesis import given
from hypothesis import strategies as st

from processors.attribution.graph import STRONG, Graph, Link, links_of
from processors.attribution.links import LINK_HEAD
from schemas.facts import LINK_HEAD_BYTES

identifiers = st.builds("{}{}".format, st.sampled_from("xepcolv"), st.sampled_from("1234"))
links = st.builds(
    lambda at, pair: Link(at, *sorted(pair)),
    st.integers(0, 5),
    st.lists(identifiers, min_size=2, max_size=2, unique=True),
)


def slowly(found: list[Link]) -> tuple[set[frozenset[str]], list[Link]]:
    """People as sets, joined one link after the other."""
    people: set[frozenset[str]] = {frozenset([name]) for link in found for name in link[1:]}
    refused = []
    for link in sorted(set(found)):
        [one] = [person for person in people if link.first in person]
        [other] = [person for person in people if link.second in person]
        both = one | other
        if any(len([name for name in both if name[0] == kind]) > 1 for kind in STRONG):
            refused.append(link)
        else:
            people = (people - {one, other}) | {both}
    return people, refused


@given(st.lists(links, max_size=15), st.randoms())
def test_people_are_what_the_set_of_links_says(found: list[Link], random: object) -> None:
    people, refused = slowly(found)
    random.shuffle(found)  # type: ignore[attr-defined]
    graph = Graph([*found, *found[:3]])
    assert {graph.person(name) for link in found for name in link[1:]} == people
    assert graph.refused == refused


@given(st.lists(links, max_size=15))
def test_nobody_has_two_strong_identifiers_of_a_kind(found: list[Link]) -> None:
    graph = Graph(found)
    for link in found:
        strong = [name[0] for name in graph.person(link.first) if name[0] in STRONG]
        assert len(strong) == len(set(strong))


@given(st.lists(links, max_size=15), identifiers)
def test_a_link_taken_out_is_undone(found: list[Link], name: str) -> None:
    """A split needs no bookkeeping: what is left says who is who."""
    without = [link for link in found if name not in link[1:]]
    assert Graph(without).person(name) == {name}


@given(st.lists(identifiers, max_size=6))
def test_links_of_a_record_join_all_it_carries(carried: list[str]) -> None:
    found = links_of(7, carried)
    assert len(found) == max(len(set(carried)) - 1, 0)
    assert all(link.first < link.second for link in found)
    reached = {name for link in found for name in link[1:]}
    assert reached == (set(carried) if len(set(carried)) > 1 else set())


def test_a_link_has_no_fewer_bytes_than_the_store_reckons_with() -> None:
    assert LINK_HEAD.size == LINK_HEAD_BYTES
