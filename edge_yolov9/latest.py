"""The newest item of something that does not wait: a thread reads, stale items are dropped."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

T = TypeVar("T")


class Latest(Generic[T]):
    """Reads ``items`` in a thread of its own and keeps the newest only. The thread owns the reader and releases it."""

    def __init__(self, items: Iterator[T], release: Callable[[], None]) -> None:
        self._items = items
        self._release = release
        self._changed = threading.Condition()
        self._newest: list[T] = []
        self._error: Exception | None = None
        self._ended = False
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._read, name="latest", daemon=True)
        self._thread.start()

    def __iter__(self) -> Iterator[T]:
        """Each item at most once; waits for the next; ends, or raises, as the reader did."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._newest or self._ended)
                if not self._newest:
                    break
                item = self._newest.pop()
            yield item
        if self._error is not None:
            raise self._error

    def close(self) -> None:
        """Stop reading; waits for the read under way, five seconds at most. Calling it twice does no harm."""
        self._stop.set()
        with self._changed:
            self._ended = True
            self._newest.clear()
            self._changed.notify_all()
        self._thread.join(timeout=5)

    def _read(self) -> None:
        try:
            for item in self._items:
                with self._changed:
                    if self._stop.is_set():
                        break
                    self._newest[:] = [item]
                    self._changed.notify_all()
        except Exception as error:  # the consumer raises it
            self._error = error
        finally:
            self._release()
            with self._changed:
                self._ended = True
                self._changed.notify_all()
