"""What is opened and has to be closed again."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TypeVar

T = TypeVar("T", bound="Closing")


class Closing(ABC):
    """A context manager that calls ``close`` at the end of its block."""

    @abstractmethod
    def close(self) -> None:
        """Give back what is held. Calling it twice does no harm."""

    def __enter__(self: T) -> T:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
