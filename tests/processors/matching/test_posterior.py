import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from processors.matching.candidates import Pairs
from processors.matching.decision import best_of
from processors.matching.evidence import Evidence
from processors.matching.model import BANDS_H, DELAYS_H, GAPS_H, SHARES, MatchModel
from processors.matching.patterns import PATTERNS
from processors.matching.persons import persons
from processors.matching.posterior import Scene, posterior
from tests.processors.matching.events import click, evidence


def model(organic: float = 0.5, unreached: float = 0.3) -> MatchModel:
    rng = np.random.default_rng(1)
    bands, gaps = len(BANDS_H) - 1, len(GAPS_H) - 1
    return MatchModel(
        matched=rng.dirichlet(np.ones(PATTERNS), bands) * (1 - unreached),
        delay=np.full(len(DELAYS_H) - 1, 1 / 720),
        background=rng.uniform(1e-6, 1e-2, (PATTERNS, gaps)),
        commonness=np.full(PATTERNS, 2.0),
        organic=organic,
        unreached=unreached,
        ad_given_person=np.full(len(SHARES) - 1, 0.9),
        ad_given_identifier=np.full(len(SHARES) - 1, 0.9),
        languages=np.array([], np.uint64),
    )


SCENES = st.lists(
    st.tuples(st.integers(0, 4), st.integers(0, PATTERNS - 1), st.floats(1, 1e4), st.floats(0, 720)), max_size=30
)


def scene(rows: list[tuple[int, int, float, float]]) -> Scene:
    conversion, pattern, commonness, gap_h = (list(column) for column in zip(*rows, strict=True)) if rows else ([],) * 4
    pairs = Pairs(np.array(conversion, np.int64), np.arange(len(rows)))
    return Scene(pairs, np.array(pattern, np.int64), np.array(commonness, float), np.array(gap_h, float))


@given(SCENES, st.floats(0.01, 0.99), st.floats(0.01, 0.99))
def test_shares_and_none_sum_to_one(
    rows: list[tuple[int, int, float, float]], organic: float, unreached: float
) -> None:
    seen = scene(rows)
    found = posterior(seen, 5, model(organic, unreached))
    total = np.bincount(seen.pairs.conversion, found.share, 5) + found.organic + found.unreached
    assert total == pytest.approx(np.ones(5))
    assert (found.share >= 0).all()
    alone = np.setdiff1d(np.arange(5), seen.pairs.conversion)
    assert found.organic[alone] == pytest.approx(organic / (organic + (1 - organic) * unreached))


@given(SCENES.filter(bool))
def test_one_more_candidate_takes_from_all_others(rows: list[tuple[int, int, float, float]]) -> None:
    before = posterior(scene(rows), 5, model())
    after = posterior(scene([*rows, (rows[0][0], 0, 1.0, 1.0)]), 5, model())
    of = scene(rows).pairs.conversion == rows[0][0]
    assert (after.share[:-1][of] < before.share[of]).all()
    assert after.organic[rows[0][0]] < before.organic[rows[0][0]]


def test_a_common_fingerprint_says_less() -> None:
    rare, common = (posterior(scene([(0, 3, many, 1.0)]), 1, model()).share[0] for many in (1.0, 8.0))
    assert rare > common


def people(*clicks: dict) -> list[int]:
    found: Evidence = evidence(*clicks)
    pairs = Pairs(np.zeros(len(clicks), np.int64), np.arange(len(clicks)))
    return persons(pairs, found).tolist()


def test_clicks_are_one_persons_by_cookie_address_with_fingerprint_or_email_and_what_these_chain() -> None:
    far = {"ip": "198.51.100.1"}
    assert people(click(1, 0), click(2, 1, **far), click(3, 2)) == [0, 1, 0]
    assert people(click(1, 0), click(1, 1, **far), click(2, 2, **far)) == [0, 0, 0]
    assert people(click(1, 0, email_sha256="e"), click(2, 1, email_sha256="e", **far)) == [0, 0]
    assert people(click(1, 0, visitor_id=None, ip=None), click(2, 1, visitor_id=None, ip=None)) == [0, 1]


def test_persons_of_different_conversions_are_apart() -> None:
    clicks = evidence(click(1, 0))
    assert persons(Pairs(np.array([0, 1]), np.array([0, 0])), clicks).tolist() == [0, 1]


def test_the_likeliest_person_then_its_likeliest_ad() -> None:
    pairs = Pairs(np.zeros(4, np.int64), np.array([10, 11, 12, 13]))
    share, person = np.array([0.35, 0.2, 0.25, 0.15]), np.array([0, 1, 1, 0])
    found = best_of(pairs, share, person, np.array([1, 1, 2, 2]), pairs.click.astype(np.uint64), 2)
    assert found.click.tolist() == [10, -1]
    assert found.pair.tolist() == [0, -1]
    assert found.person.tolist() == pytest.approx([0.5, 0])
    assert found.margin.tolist() == pytest.approx([0.05, 0])
    assert found.ad_share.tolist() == pytest.approx([0.7, 0])
