"""Publishes a load in the background, a portion after every kill, so that there is work for the next one."""

import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Self

__all__ = ["Feed"]

#: A portion comes after this time at the latest: work has run out before the kill.
PORTION_TIMEOUT_S = 20.0


class Feed:
    """As a context manager: publishing goes on inside, and what failed is raised by `require_well`."""

    def __init__(
        self,
        pieces: Sequence[Any],
        portions: int,
        publish: Callable[[Any], None],
        flush: Callable[[], None],
        portion_s: float,
    ) -> None:
        """`publish` takes a piece; `flush` returns when all are acknowledged; a portion takes `portion_s` at least."""
        self._pieces = pieces
        self._portions = portions
        self._publish = publish
        self._flush = flush
        self._pause_s = portion_s * portions / len(pieces)
        self._allowed = 1
        self._changed = threading.Condition()
        self._stopped = False
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        #: Of the pieces, handed to the publisher.
        self.share = 0.0
        self.is_done = False

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        with self._changed:
            self._stopped = True
            self._changed.notify()
        self._thread.join()

    def allow(self, portions: int) -> None:
        """Publish so many portions, however long work on those before takes."""
        with self._changed:
            self._allowed = max(self._allowed, portions)
            self._changed.notify()

    def require_well(self) -> None:
        """Raises what publishing has failed with."""
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        try:
            for number, piece in enumerate(self._pieces):
                self._wait(number * self._portions // len(self._pieces))
                if self._stopped:
                    return
                self._publish(piece)
                self.share = (number + 1) / len(self._pieces)
                time.sleep(self._pause_s)
            self._flush()
            self.is_done = True
        except Exception as error:
            self._error = error

    def _wait(self, portion: int) -> None:
        deadline = time.monotonic() + PORTION_TIMEOUT_S
        with self._changed:
            while portion >= self._allowed and not self._stopped:
                if not self._changed.wait(max(deadline - time.monotonic(), 0.0)):
                    self._allowed = portion + 1
