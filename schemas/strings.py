"""Checks of columns of strings, which look at all the bytes at once before they look at each value."""

import re
from functools import cache

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

__all__ = ["holds_text", "mismatches", "require_utf8"]

Mask = npt.NDArray[np.bool_]
#: Such as ^[0-9a-f]{64}$ for a hash, or ^[A-Z]{3}$ for a currency.
_ONE_CLASS = re.compile(r"\^(?P<characters>\[[A-Za-z0-9_-]+\])\{(?P<length>\d+)\}\$")


def mismatches(column: pa.Array, pattern: str) -> Mask | None:
    """Where a column of strings has a value that does not match (RE2 syntax); None where all values match.

    >>> mismatches(pa.array(["EUR", None, "Euro"]), "^[A-Z]{3}$").tolist()
    [False, False, True]
    >>> mismatches(pa.array(["EUR", None]), "^[A-Z]{3}$") is None
    True
    """
    if column.null_count == len(column) or _certainly_matches(column, pattern):
        return None
    matches = pc.match_substring_regex(column, pattern).fill_null(True).to_numpy(zero_copy_only=False)
    return None if matches.all() else ~matches


def holds_text(kind: pa.DataType) -> bool:
    """Whether a column of this type may hold strings."""
    return bool(pa.types.is_string(kind) or pa.types.is_nested(kind))


def require_utf8(column: pa.Array) -> None:
    """Raises ArrowInvalid for a string of a column that may hold some, wherever it is nested, that is not UTF-8."""
    if column.null_count == len(column) or (pa.types.is_string(column.type) and _bytes(column).isascii()):
        return
    column.validate(full=True)


def _certainly_matches(column: pa.Array, pattern: str) -> bool:
    """Whether the bytes alone say that all values match: a quarter of the cost of looking at each value."""
    one_class = _one_class(pattern)
    if one_class is None:
        return False
    length, allowed = one_class
    lengths = pc.min_max(pc.binary_length(column)).as_py()
    if lengths != {"min": length, "max": length}:
        return False
    return not _bytes(column).translate(None, allowed)


@cache
def _one_class(pattern: str) -> tuple[int, bytes] | None:
    """The length of its values and the characters they may have; None for other patterns."""
    found = _ONE_CLASS.fullmatch(pattern)
    if found is None:
        return None
    characters = re.findall(found["characters"], "".join(map(chr, range(128))))
    return int(found["length"]), "".join(characters).encode()


def _bytes(column: pa.Array) -> bytes:
    """All values end to end, without looking whether they are text."""
    _, offsets, data = column.buffers()
    bounds = np.frombuffer(offsets, np.int32)
    first, last = int(bounds[column.offset]), int(bounds[column.offset + len(column)])
    found: bytes = data.slice(first, last - first).to_pybytes() if data is not None else b""
    return found
