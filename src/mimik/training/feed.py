"""Batches in training order, ready on the device before they are requested."""

import queue
import threading
from types import TracebackType

import torch

from mimik.training.batches import Batch, Batches

AHEAD = 8
"""Maximum number of batches waiting on the device."""

SHARE_HELD = 0.1
"""Share of a GPU's memory that the training faces may take; a batch then needs no copies except row numbers."""


class Feed:
    """The batches of a stream from one position to another, each requested once and in order.

    On a CPU a batch is made when it is requested. For a GPU a thread makes it while earlier ones are computed. The
    batch is taken from the store, which is kept on the GPU if that needs at most `SHARE_HELD` of its memory; otherwise
    it is read from disk, through pinned memory and on a separate stream.
    """

    def __init__(self, batches: Batches, device: torch.device, first: int, end: int) -> None:
        """Start at position `first`; `end` is the first position that is no longer requested."""
        self.batches, self.device = batches, device
        self._next = first
        self._failure: BaseException | None = None
        self._ready: queue.Queue[tuple[Batch, torch.cuda.Event] | None] = queue.Queue(AHEAD)
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None
        if device.type != "cuda":
            return
        memory = torch.cuda.get_device_properties(device).total_memory
        if batches.picture_bytes() <= SHARE_HELD * memory:
            batches.keep_on(device)
            torch.cuda.synchronize(device)
        self._thread = threading.Thread(target=self._make, args=(range(first, end),), name="mimik-feed", daemon=True)
        self._thread.start()

    def at(self, position: int) -> Batch:
        """The batch of a position, see `mimik.training.batches.Batches.at`.

        Raises:
            ValueError: another position is due.
            Exception: any error of the thread that makes the batch.
        """
        if position != self._next:
            raise ValueError(f"position {position} was requested where {self._next} is due")
        self._next += 1
        if self._thread is None:
            return self.batches.at(position, self.device)
        made = self._ready.get()
        if made is None:
            assert self._failure is not None
            raise self._failure
        batch, event = made
        stream = torch.cuda.current_stream(self.device)
        stream.wait_event(event)
        for value in batch.values():
            # Its memory belongs to the stream that made it, and must not be used again before this one is done.
            value.record_stream(stream)
        return batch

    def _make(self, positions: range) -> None:
        try:
            torch.cuda.set_device(self.device)
            stream = torch.cuda.Stream(self.device)
            with torch.cuda.stream(stream):
                for position in positions:
                    batch = self.batches.at(position, self.device)
                    event = torch.cuda.Event()
                    event.record(stream)
                    if not self._put((batch, event)):
                        return
        except BaseException as error:
            self._failure = error
            self._put(None)

    def _put(self, item: tuple[Batch, torch.cuda.Event] | None) -> bool:
        """Pass a batch on; False when none is requested any more."""
        while not self._closed.is_set():
            try:
                self._ready.put(item, timeout=0.2)
            except queue.Full:
                continue
            return True
        return False

    def __enter__(self) -> "Feed":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closed.set()
        if self._thread is not None:
            self._thread.join()
