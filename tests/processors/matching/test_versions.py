from hypothesis import given
from hypothesis import strategies as st

from processors.matching.versions import Versions

PUBLISHED = st.lists(st.tuples(st.sampled_from(["acme", "other"]), st.integers(0, 30)), max_size=40)


@given(published=PUBLISHED, account_id=st.sampled_from(["acme", "other", "nobody"]), at_ms=st.integers(-1, 31))
def test_the_last_published_that_is_in_force_then_counts(
    published: list[tuple[str, int]], account_id: str, at_ms: int
) -> None:
    versions: Versions[int] = Versions(most=100)
    for number, (name, from_ms) in enumerate(published):
        versions.add(name, from_ms, number)
    in_force = [n for n, (name, from_ms) in enumerate(published) if name == account_id and from_ms <= at_ms]
    assert versions.at(account_id, at_ms) == (in_force[-1] if in_force else None)
    of_account = [n for n, (name, _) in enumerate(published) if name == account_id]
    assert versions.newest(account_id) == (of_account[-1] if of_account else None)


@given(published=PUBLISHED, most=st.integers(1, 5), at_ms=st.integers(-1, 31))
def test_of_fewer_versions_the_answer_is_the_same_or_none(
    published: list[tuple[str, int]], most: int, at_ms: int
) -> None:
    all_of_them: Versions[int] = Versions(most=100)
    few: Versions[int] = Versions(most)
    for number, (name, from_ms) in enumerate(published):
        all_of_them.add(name, from_ms, number)
        few.add(name, from_ms, number)
    assert few.at("acme", at_ms) in (all_of_them.at("acme", at_ms), None)
    assert few.newest("acme") == all_of_them.newest("acme")
    assert few.at("acme", 2**62) == all_of_them.at("acme", 2**62)


def test_a_model_that_was_withdrawn_is_none() -> None:
    versions: Versions[str | None] = Versions(most=10)
    versions.add("acme", 10, "first")
    versions.add("acme", 20, None)
    assert [versions.at("acme", at_ms) for at_ms in (9, 10, 19, 20)] == [None, "first", "first", None]
