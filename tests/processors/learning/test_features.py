import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from processors.learning.features import PLACES, hashed

VALUES = st.lists(st.one_of(st.none(), st.text(max_size=5)), min_size=1, max_size=20)


@given(values=VALUES, cut=st.integers(0, 20))
def test_a_value_has_its_place_whatever_comes_with_it(values: list[str | None], cut: int) -> None:
    whole = hashed({"ad_id": values})[:, 0].tolist()
    assert whole == [place for value in values for place in hashed({"ad_id": [value]})[:, 0].tolist()]
    assert all(0 <= place < PLACES for place in whole)


def test_columns_are_told_apart_and_their_order_is_their_names() -> None:
    one, other = hashed({"b": ["x"], "a": ["x"]}), hashed({"a": pa.array(["x"]), "b": pa.array(["x"])})
    assert one.tolist() == other.tolist()
    assert one[0, 0] != one[0, 1]
