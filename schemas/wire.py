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
    heads = [m[:HEADER_BYTES] if m and len(m) > HEADER_BYTES else b"" for m in messages]
    ids = {head: _schema_id(head) for head in set(heads)}
    if len(ids) == 1:
        return np.full(len(heads), ids[heads[0]], np.int64)
    return np.fromiter((ids[head] for head in heads), np.int64, len(heads))


def _schema_id(head: bytes) -> int:
    if not head:
        return UNFRAMED
    magic, schema_id = _HEADER.unpack(head)
    return schema_id if magic == 0 else UNFRAMED


def why_unframed(message: bytes | None) -> tuple[str, str]:
    """Error name and sentence for a message without a schema id."""
    if not message:
        return "empty", "the record has no value"
    if len(message) <= HEADER_BYTES:
        return "too_short", f"{len(message)} bytes cannot hold a header and a body"
    return "wrong_magic", f"starts with byte 0x{message[0]:02x}, not the 0x00 of Confluent's wire format"
