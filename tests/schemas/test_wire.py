from hypothesis import given
from hypothesis import strategies as st

from schemas.wire import HEADER_BYTES, UNFRAMED, frame, header, schema_ids, why_unframed

ids = st.integers(0, 2**32 - 1)
bodies = st.binary(min_size=1, max_size=20)
framed = st.builds(frame, ids, bodies)


@given(st.lists(framed | st.none() | st.binary(max_size=12)))
def test_ids_are_read_from_whole_headers_only(messages: list[bytes | None]) -> None:
    expected = [
        int.from_bytes(message[1:5], "big")
        if message is not None and len(message) > 5 and message[0] == 0
        else UNFRAMED
        for message in messages
    ]
    assert schema_ids(messages).tolist() == expected


@given(ids, bodies)
def test_a_frame_is_a_zero_four_bytes_of_id_and_the_body(schema_id: int, body: bytes) -> None:
    assert frame(schema_id, body) == b"\x00" + schema_id.to_bytes(4, "big") + body
    assert schema_ids([frame(schema_id, body)]).tolist() == [schema_id]
    assert len(header(schema_id)) == HEADER_BYTES == 5


@given(
    st.none()
    | st.binary(max_size=5)
    | st.builds(lambda magic, rest: bytes([magic]) + rest, st.integers(1, 255), st.binary(min_size=5))
)
def test_what_has_no_id_has_a_reason(message: bytes | None) -> None:
    assert schema_ids([message]).tolist() == [UNFRAMED]
    error, sentence = why_unframed(message)
    assert error == ("empty" if not message else "too_short" if len(message) <= 5 else "wrong_magic")
    assert sentence


def test_no_messages_no_ids() -> None:
    assert schema_ids([]).shape == (0,)
