"""Which of a tenant's models a conversion is matched with: it goes by the arrival, not by when one asks."""

from bisect import bisect_right
from collections.abc import Sequence
from typing import Generic, TypeVar

__all__ = ["Versions"]

Model = TypeVar("Model")


class Versions(Generic[Model]):
    """Models by tenant and the time from which they are in force: the last one published that is in force then counts.

    Kept are the newest `most` of a tenant. Before the oldest of these there is none.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._by_account: dict[str, Sequence[tuple[int, Model]]] = {}

    def add(self, account_id: str, from_ms: int, model: Model) -> None:
        """A model that was published after all that are there: those that would come after it never do."""
        before = self._by_account.get(account_id, ())
        kept = [entry for entry in before if entry[0] < from_ms]
        # One assignment: whoever asks meanwhile, in another thread, sees the models before or after it.
        self._by_account[account_id] = [*kept, (from_ms, model)][-self._most :]

    def at(self, account_id: str, ingest_ms: int) -> Model | None:
        """The model in force when Kafka took a conversion, None where there was none."""
        entries = self._by_account.get(account_id, ())
        place = bisect_right(entries, ingest_ms, key=lambda entry: entry[0])
        return entries[place - 1][1] if place else None

    def newest(self, account_id: str) -> Model | None:
        """The model that was published last, None where there was none."""
        entries = self._by_account.get(account_id, ())
        return entries[-1][1] if entries else None
