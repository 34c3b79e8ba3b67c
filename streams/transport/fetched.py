"""Takes records out of what aiokafka fetched, a chunk at a time and without an object more for each of them."""

from collections.abc import Iterator, Sequence
from itertools import chain, islice
from typing import Any, NamedTuple

from aiokafka.consumer.fetcher import READ_COMMITTED, PartitionRecords
from aiokafka.errors import CorruptRecordException

__all__ = ["MAX_CHUNK_BYTES", "MAX_CHUNK_RECORDS", "FetchedRecords", "Taken", "UnreadableBatch"]

#: Bounds how long a script of the state store runs.
MAX_CHUNK_RECORDS = 5_000
#: Bounds memory, to within the slice that reaches it.
MAX_CHUNK_BYTES = 4 << 20
SLICE_RECORDS = 250


class Taken(NamedTuple):
    """Records with their values, in order, and the position after them."""

    records: Sequence[Any]
    values: Sequence[bytes | None]
    size_bytes: int
    end: int


class UnreadableBatch(Exception):
    """aiokafka cannot read the rest of a batch, the offsets [start, end): it takes every header's name for UTF-8."""

    def __init__(self, start: int, end: int) -> None:
        super().__init__(f"[{start}, {end})")
        self.start = start
        self.end = end


class FetchedRecords(PartitionRecords):  # type: ignore[misc]
    """One fetch of one partition, taken in chunks in place of records.

    The batch's own records are handed on, which have offset, timestamp, key, value and headers.
    """

    def __init__(self, stock: PartitionRecords) -> None:
        super().__init__(
            stock._tp,
            stock._records,
            stock._aborted_transactions,
            stock.next_fetch_offset,
            None,
            None,
            stock._check_crcs,
            stock._isolation_level,
        )
        self._batch: Any = None
        self._in_batch: Iterator[Any] = iter(())
        #: Met after records that have to be delivered first.
        self._unreadable: UnreadableBatch | None = None

    @property
    def is_exhausted(self) -> bool:
        """Whether nothing is left of the fetch."""
        return self._batch is None and self._unreadable is None and not self._records.has_next()

    def take(self) -> Taken:
        """The next records, as many as a chunk may hold; there may be none before the end.

        Raises UnreadableBatch, once for a batch, and goes on behind it.
        """
        records: list[Any] = []
        values: list[bytes | None] = []
        size = 0
        while len(records) < MAX_CHUNK_RECORDS and size < MAX_CHUNK_BYTES:
            if self._unreadable is not None and not records:
                unreadable, self._unreadable = self._unreadable, None
                self.next_fetch_offset = unreadable.end
                raise unreadable
            if self._unreadable is not None or (self._batch is None and not self._open_next()):
                break
            part = self._next_slice()
            part_values = [record.value for record in part]
            records += part
            values += part_values
            size += sum(map(len, filter(None, part_values)))
        return Taken(records, values, size, self.next_fetch_offset)

    def _next_slice(self) -> Sequence[Any]:
        batch = self._batch
        try:
            part = list(islice(self._in_batch, SLICE_RECORDS))
        except UnicodeDecodeError:
            self._batch = None
            self._unreadable = UnreadableBatch(self.next_fetch_offset, batch.next_offset)
            return ()
        if len(part) < SLICE_RECORDS:
            self._batch, end = None, batch.next_offset  # which also passes what compaction removed
        else:
            end = part[-1].offset + 1
        if part and part[0].offset < self.next_fetch_offset:  # of a batch that was fetched for its later records
            part = [record for record in part if record.offset >= self.next_fetch_offset]
        self.next_fetch_offset = end
        return part

    def _open_next(self) -> bool:
        """Whether there is another batch of records; what was aborted and Kafka's own markers are passed."""
        while self._records.has_next():
            batch = self._records.next_batch()
            if self._check_crcs and not batch.validate_crc():
                raise CorruptRecordException(f"invalid CRC in {self._tp}")
            if not self._is_aborted(batch) and not batch.is_control_batch:
                self._batch, self._in_batch = batch, chain(batch)  # a batch can be iterated once only
                return True
            self.next_fetch_offset = batch.next_offset
        return False

    def _is_aborted(self, batch: Any) -> bool:
        if self._isolation_level != READ_COMMITTED or batch.producer_id is None:
            return False
        self._consume_aborted_up_to(batch.base_offset)
        if batch.is_control_batch and self._contains_abort_marker(batch):
            self._aborted_producers.discard(batch.producer_id)
        return bool(batch.is_transactional and batch.producer_id in self._aborted_producers)
