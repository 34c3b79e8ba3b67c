"""Python's cycle collector, in processes that hold many records at a time."""

import gc

__all__ = ["spare_the_collector"]


def spare_the_collector() -> None:
    """Records come by the ten thousand and are freed by their last reference: looking at each again costs a third."""
    gc.freeze()
    gc.set_threshold(200_000, 50, 1_000)
