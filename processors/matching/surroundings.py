"""What is compared of a click and a conversion besides identifiers, as it is kept of a click."""

from collections.abc import Mapping, Sequence

import numpy as np

from processors.matching.evidence import MISSING, Evidence, Hashes

__all__ = ["SURROUNDINGS_BYTES", "read_surroundings", "surroundings_of"]

#: Columns of evidence, each 8 bytes.
NAMES = ("ip", "block", "fingerprint", "device", "system", "language")
SURROUNDINGS_BYTES = 8 * len(NAMES)


def surroundings_of(evidence: Evidence) -> list[bytes]:
    """The surroundings of each row; empty where nothing is known of them."""
    columns = np.stack([getattr(evidence, name) for name in NAMES], axis=1)
    written = columns.astype(">u8").view(f"V{SURROUNDINGS_BYTES}").ravel().tolist()
    known = (columns != MISSING).any(axis=1).tolist()
    return [item if is_known else b"" for item, is_known in zip(written, known, strict=True)]


def read_surroundings(kept: Sequence[bytes | None]) -> Mapping[str, Hashes]:
    """The columns that were kept, shape (len(kept),) each; MISSING where nothing was."""
    nothing = bytes(SURROUNDINGS_BYTES)
    columns = np.frombuffer(b"".join(item or nothing for item in kept), ">u8").reshape(len(kept), len(NAMES))
    return {name: columns[:, place].astype(np.uint64) for place, name in enumerate(NAMES)}
