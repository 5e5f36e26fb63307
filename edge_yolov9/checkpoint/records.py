"""What the pickle machine makes of a checkpoint beside plain containers, numbers and strings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, eq=False)
class Global:
    """The name of something importable. Nothing is imported."""

    module: str
    name: str


@dataclass(eq=False)
class Inert:
    """What "calling" a global gives: its name, the arguments, and later the state. It does nothing."""

    of: Global
    args: tuple[Any, ...]
    state: Any = None


@dataclass(frozen=True, eq=False)
class Key:
    """A key or set member that is neither text nor a small number. It equals nothing but itself."""

    item: Any


@dataclass(frozen=True, eq=False)
class StorageRef:
    """A run of numbers elsewhere in the file; ``dtype`` is torch's name for it."""

    key: str
    dtype: str
    count: int


@dataclass(frozen=True, eq=False)
class TensorRef:
    """A tensor as the pickle describes it: a strided view of a storage, in elements. Not yet checked."""

    storage: StorageRef
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """Sizes of its dimensions, as a tensor has them."""
        return self.size
