import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import NotARetry
from schemas.retries import Origin, foreign, origin_of, to_headers

ORIGIN = Origin("eu.crm-events", "Zm9v_-9AQhGdTvC5aQFNCA", 3, 991, 1_750_000_000_000, 2)
origins = st.builds(
    Origin,
    st.from_regex(r"[A-Za-z0-9._-]{1,249}", fullmatch=True),
    st.from_regex(r"[A-Za-z0-9+/=_-]{1,64}", fullmatch=True),
    st.integers(0, 2**31 - 1),
    st.integers(0, 2**63 - 1),
    st.integers(0, 7_258_118_400_000),
    st.integers(1, 2**31 - 1),
)
headers = st.lists(st.tuples(st.text(max_size=5), st.none() | st.binary(max_size=5)), max_size=5)


@given(origins, headers, headers)
def test_an_origin_comes_back_from_among_other_headers(origin: Origin, before: list, after: list) -> None:
    everything = [*before, *to_headers(origin), *after]
    assert origin_of(everything) == origin
    assert foreign(everything) == [*before, *after]


def test_the_names_on_the_wire() -> None:
    assert dict(to_headers(ORIGIN)) == {
        "spendloop-origin-topic": b"eu.crm-events",
        "spendloop-origin-topic-id": b"Zm9v_-9AQhGdTvC5aQFNCA",
        "spendloop-origin-partition": b"3",
        "spendloop-origin-offset": b"991",
        "spendloop-origin-time": b"1750000000000",
        "spendloop-attempt": b"2",
    }


@pytest.mark.parametrize("name", dict(to_headers(ORIGIN)))
def test_without_one_of_them_it_is_no_retry(name: str) -> None:
    with pytest.raises(NotARetry, match=f"without the headers {name}$"):
        origin_of([header for header in to_headers(ORIGIN) if header[0] != name])


def test_an_ordinary_record_is_no_retry() -> None:
    with pytest.raises(NotARetry, match=r"without the headers spendloop-origin-topic, .*spendloop-attempt"):
        origin_of([("traceparent", b"00")])


def test_one_given_twice_could_mean_either() -> None:
    with pytest.raises(NotARetry, match="spendloop-origin-offset more than once"):
        origin_of([*to_headers(ORIGIN), ("spendloop-origin-offset", b"992")])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("spendloop-origin-topic", b""),
        ("spendloop-origin-topic", b"jo@example.com"),
        ("spendloop-origin-topic", b"x" * 250),
        ("spendloop-origin-topic", None),
        ("spendloop-origin-topic-id", b"a:b"),
        ("spendloop-origin-topic-id", "é".encode()),
        ("spendloop-origin-partition", b"-1"),
        ("spendloop-origin-partition", b"2147483648"),
        ("spendloop-origin-offset", b"1e3"),
        ("spendloop-origin-offset", b"9223372036854775808"),
        ("spendloop-origin-offset", "٣".encode()),
        ("spendloop-origin-time", b""),
        ("spendloop-origin-time", b"7258118400001"),
        ("spendloop-attempt", b"0"),
        ("spendloop-attempt", b" 1"),
        ("spendloop-attempt", b"1\n"),
    ],
)
def test_what_could_not_be_an_origin_is_named_and_not_repeated(name: str, value: bytes | None) -> None:
    spoilt = [(header, value if header == name else given) for header, given in to_headers(ORIGIN)]
    with pytest.raises(NotARetry, match=rf"^{name} is not ") as refused:
        origin_of(spoilt)
    if value and len(value) > 2:
        assert value.decode() not in str(refused.value)
