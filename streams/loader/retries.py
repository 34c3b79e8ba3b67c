"""A block of retries: records of several topics, each into the table of the topic it comes from."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from schemas.codec import Decoded, Decoder
from schemas.errors import BadRecord
from schemas.retries import Headers
from sinks.clickhouse.tables import to_rows
from streams.replay.origins import by_origin

__all__ = ["Part", "decode_retries"]


class Part(NamedTuple):
    """What a block holds of one topic, and its rows, which carry the place and time of the originals.

    positions: shape (rows.num_rows,), of each row's record in the block.
    """

    topic: str
    decoded: Decoded
    rows: pa.Table
    positions: npt.NDArray[np.int64]


def decode_retries(
    messages: Sequence[bytes | None],
    headers: Sequence[Headers],
    decoders: Mapping[str, Decoder],
    columns: Mapping[str, frozenset[str]],
) -> tuple[list[Part], list[BadRecord]]:
    """Decode a block by the contract of each record's origin; event times are held against its first ingest time.

    `decoders` and the `columns` of their tables are by what Kafka calls the topics. Raises RegistryUnavailable.
    """
    groups, bad = by_origin(headers, decoders.keys())
    parts = []
    for group in groups:
        decoded = decoders[group.topic].decode([messages[row] for row in group.rows.tolist()], group.ingest_ms)
        bad += group.in_chunk(decoded.bad)
        kept = decoded.rows
        rows = to_rows(
            decoded.batch,
            columns[group.topic],
            group.partitions[kept],
            group.offsets[kept],
            group.ingest_ms[kept],
        )
        parts.append(Part(group.topic, decoded, rows, group.rows[kept]))
    return parts, sorted(bad, key=lambda item: item.row)
