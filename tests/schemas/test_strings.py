import re

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.strings import mismatches, require_utf8

HASH = "^[0-9a-f]{64}$"
CURRENCY = "^[A-Z]{3}$"
texts = st.text(st.sampled_from("ABcé0\n"), max_size=4)


@given(st.lists(st.none() | texts), st.integers(0, 3), st.sampled_from([CURRENCY, "^[A-Z]+$", "^[a-z0-9_]{1,3}$"]))
def test_finds_what_does_not_match(values: list[str | None], skipped: int, pattern: str) -> None:
    """Also in a slice, where the bytes of other values lie before those of its own."""
    found = mismatches(pa.array(values, pa.string()).slice(skipped), pattern)
    expected = [value is not None and not re.fullmatch(pattern.strip("^$"), value) for value in values[skipped:]]
    assert (found.tolist() if found is not None else [False] * len(expected)) == expected


@pytest.mark.parametrize(
    ("value", "good"),
    [
        ("0123456789abcdef" * 4, True),
        ("0123456789abcdef" * 4 + "\n", False),
        ("0123456789ABCDEF" * 4, False),
        ("0123456789abcdef" * 4 + "0", False),
        ("0123456789abcdef" * 3 + "0123456789abcde", False),
        ("", False),
    ],
)
def test_hashes(value: str, good: bool) -> None:
    assert (mismatches(pa.array([value, None]), HASH) is None) == good


def test_lengths_that_only_add_up_do_not_match() -> None:
    found = mismatches(pa.array(["A", "ABCDE"]), CURRENCY)
    assert found is not None
    assert found.tolist() == [True, True]


def test_bytes_under_a_null_do_not_count_for_another_value() -> None:
    hidden = pa.Array.from_buffers(
        pa.string(),
        2,
        [pa.py_buffer(b"\x01"), pa.py_buffer(bytes([0, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0])), pa.py_buffer(b"EUR")],
    )
    assert hidden.to_pylist() == ["", None]
    found = mismatches(hidden, CURRENCY)
    assert found is not None
    assert found.tolist() == [True, False]


@pytest.mark.parametrize("content", [b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xc0\x80", b"\xf5\x80\x80\x80"])
def test_what_is_not_utf8_is_found(content: bytes) -> None:
    column = pa.array([b"good", None, content]).view(pa.string())
    with pytest.raises(pa.ArrowInvalid):
        require_utf8(column)
    require_utf8(column.slice(0, 2))
    nested = pa.ListArray.from_arrays(pa.array([0, 3], pa.int32()), column)
    with pytest.raises(pa.ArrowInvalid):
        require_utf8(nested)


def test_halves_of_a_character_in_two_values_do_not_make_one() -> None:
    with pytest.raises(pa.ArrowInvalid):
        require_utf8(pa.array([b"\xc3", b"\xa9"]).view(pa.string()))


@given(st.lists(st.none() | st.text(st.characters(exclude_categories=["Cs"]))))
def test_text_is_utf8(values: list[str | None]) -> None:
    require_utf8(pa.array(values, pa.string()))
    require_utf8(pa.array([values], pa.list_(pa.string())))
