"""What something costs a record: time on the processor, so that what else runs does not count."""

import gc
import statistics
import time
from collections.abc import Callable
from typing import Any, NamedTuple

REPEATS = 9


class Measurement(NamedTuple):
    """`what` was measured on which `data`, and its median cost."""

    what: str
    data: str
    ns_per_record: float


def ns_per_record(step: Callable[[], Any], records: int, repeats: int = REPEATS) -> float:
    """The median of several runs, after one that is not counted."""
    step()
    taken = []
    gc.collect()
    gc.disable()
    try:
        for _ in range(repeats):
            began = time.process_time_ns()
            step()
            taken.append((time.process_time_ns() - began) / records)
    finally:
        gc.enable()
    return statistics.median(taken)
