"""What a thread does is guarded until the thread has ended, whatever becomes of who waits for it."""

import asyncio
import threading

import pytest

from streams.threads import to_its_end


def test_its_result_and_its_error() -> None:
    assert asyncio.run(to_its_end(divmod, 7, 2)) == (3, 1)
    with pytest.raises(ZeroDivisionError):
        asyncio.run(to_its_end(divmod, 7, 0))


@pytest.mark.parametrize("fails", [False, True])
def test_a_lock_around_it_is_held_until_it_has_ended(fails: bool) -> None:
    async def scenario() -> None:
        lock = asyncio.Lock()
        begun, may_end, has_ended = threading.Event(), threading.Event(), threading.Event()

        def slow() -> None:
            begun.set()
            may_end.wait()
            has_ended.set()
            if fails:
                raise OSError

        async def first() -> None:
            async with lock:
                await to_its_end(slow)

        async def second() -> None:
            async with lock:
                assert has_ended.is_set()

        given_up = asyncio.create_task(first())
        await asyncio.to_thread(begun.wait)
        waiting = asyncio.create_task(second())
        given_up.cancel()
        await asyncio.sleep(0.05)
        may_end.set()
        await waiting
        with pytest.raises(asyncio.CancelledError):
            await given_up

    asyncio.run(scenario())
