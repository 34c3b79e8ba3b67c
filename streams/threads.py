"""Work that no cancellation ends."""

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

__all__ = ["to_its_end"]

T = TypeVar("T")


async def to_its_end(function: Callable[..., T], *args: Any) -> T:
    """The result of a function that runs in a thread. Cancelled, it waits for the thread, which goes on all the same.

    So what guards the function, a lock held around it for instance, guards it to its end.
    """
    thread = asyncio.ensure_future(asyncio.to_thread(function, *args))
    try:
        return await asyncio.shield(thread)
    except asyncio.CancelledError:
        await asyncio.wait([thread])
        thread.exception()  # what it raised nobody waits for any more
        raise
