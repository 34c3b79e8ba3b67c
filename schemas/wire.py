"""Confluent's wire format: a zero byte, the schema id in four bytes big-endian, the Avro body."""

import struct
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

__all__ = ["HEADER_BYTES", "UNFRAMED", "frame", "header", "schema_ids", "why_unframed"]

_HEADER = struct.Struct(">BI")
HEADER_BYTES = _HEADER.size
#: A schema id no registry gives out, for what does not start like a message at all.
UNFRAMED = -1


def header(schema_id: int) -> bytes:
    """The five bytes before the body."""
    return _HEADER.pack(0, schema_id)


#: What each byte of a schema id stands for.
_PLACES = np.array([1 << 24, 1 << 16, 1 << 8, 1], np.int64)


def frame(schema_id: int, body: bytes) -> bytes:
    """A message as it stands on the topic.

    >>> frame(7, b"body").hex()
    '0000000007626f6479'
    """
    return header(schema_id) + body


def schema_ids(messages: Sequence[bytes | None]) -> npt.NDArray[np.int64]:
    """The schema id of each message, UNFRAMED where there is none; shape (len(messages),).

    >>> schema_ids([frame(7, b"x"), None, b"", bytes(5), b"{json}"]).tolist()
    [7, -1, -1, -1, -1]
    """
    framed = [message or b"" for message in messages]
    lengths = np.fromiter(map(len, framed), np.int64, len(framed))
    starts = np.cumsum(lengths) - lengths
    every = np.frombuffer(b"".join([*framed, bytes(HEADER_BYTES)]), np.uint8)  # padded: the last may be short
    heads = every[starts[:, None] + np.arange(HEADER_BYTES)].astype(np.int64)
    ids: npt.NDArray[np.int64] = heads[:, 1:] @ _PLACES
    ids[(heads[:, 0] != 0) | (lengths <= HEADER_BYTES)] = UNFRAMED
    return ids


def why_unframed(message: bytes | None) -> tuple[str, str]:
    """Error name and sentence for a message without a schema id."""
    if not message:
        return "empty", "the record has no value"
    if len(message) <= HEADER_BYTES:
        return "too_short", f"{len(message)} bytes cannot hold a header and a body"
    return "wrong_magic", f"starts with byte 0x{message[0]:02x}, not the 0x00 of Confluent's wire format"
