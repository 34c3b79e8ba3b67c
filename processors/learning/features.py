"""Features as places in a table: every value of every column has one, by its hash.

Weinberger, Dasgupta, Langford, Smola, Attenberg: Feature hashing for large scale multitask learning. ICML 2009.
"""

import zlib
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa

__all__ = ["PLACES", "Places", "hashed"]

#: Shape (events, columns): of each event's value in each column, its place in a table of PLACES.
Places = npt.NDArray[np.int32]

#: With 50,000 ids in use, one in six shares its place.
PLACES = 2**18


def hashed(columns: Mapping[str, Sequence[str | None] | pa.Array], places: int = PLACES) -> Places:
    """The places of the values, columns in the order of their names; a missing value is a value.

    What an id is worth is learned at its own place: no list of ids is kept, and a new one needs nothing.

    >>> hashed({"device": ["phone", "desk", "phone"], "ad_id": ["a1", "a1", None]}).tolist()
    [[259311, 186859], [259311, 120177], [106808, 186859]]
    """
    return np.stack([_column(name, columns[name], places) for name in sorted(columns)], axis=1)


def _column(name: str, values: Sequence[str | None] | pa.Array, places: int) -> npt.NDArray[np.int32]:
    encoded = pa.array(values, pa.string()).fill_null("").dictionary_encode()
    hashes = [zlib.crc32(f"{name}={value}".encode()) % places for value in encoded.dictionary.to_pylist()]
    found: npt.NDArray[np.int32] = np.array(hashes, np.int32)[encoded.indices.to_numpy()]
    return found
