"""The boards of a target, as its ``target.toml`` describes them: ``[boards.<name>]``, the first is the default."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from edge_yolov9.errors import TargetError
from edge_yolov9.files import from_json, read_toml
from edge_yolov9.registry.rows import Target

PRECISIONS = ("fp32", "fp16", "int8")

T = TypeVar("T")


@dataclass(frozen=True)
class Board:
    """A device that a bundle can be compiled for: what every target states of it."""

    name: str
    title: str
    """Vendor, model and memory, for people."""
    precision: str
    """The precision that a compilation takes unless told otherwise."""
    precisions: tuple[str, ...]
    """The precisions that the board can do."""
    layout: str
    """"NCHW" or "NHWC": layout of the model's tensors."""
    input: str
    """What the model takes, for people."""
    limits: str
    """What does not work or was not tried, for people."""
    tested: tuple[str, ...]
    """Versions of the runtime that ran there; empty: nobody has run it there yet."""
    machine: str = ""
    """``platform.machine()`` of a board that compiles for itself; "" for a mere accelerator."""
    device: str = ""
    """The runtime's name ("CPU", "GPU", "NPU") for what computes, where a runtime has a choice."""
    input_size: tuple[int, int] | None = None
    """(height, width) that suits the board, pixels: advice."""
    refused: Mapping[str, str] = field(default_factory=dict)
    """{precision: why the board cannot do it, and what to do}."""
    table: Mapping[str, Any] = field(default_factory=dict)
    """The board's whole table, with what the target alone states."""

    def own(self, kind: type[T]) -> T:
        """The part of the table that the target alone states, as a dataclass of the target.

        Raises:
            TargetError: the table does not fit the dataclass.
        """
        try:
            return from_json(kind, self.table, f"the board {self.name}")
        except ValueError as error:
            raise TargetError(f"{error}; mend target.toml") from None


@dataclass(frozen=True)
class Profiles:
    """A ``target.toml``."""

    boards: Mapping[str, Board]
    """Never empty."""
    releases: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Releases of the boards' system software, and the versions {part: version} that each brings."""


@dataclass(frozen=True)
class _File:
    boards: Mapping[str, Mapping[str, Any]]
    releases: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


def read(row: Target) -> Profiles:
    """The profiles of a target.

    Raises:
        TargetError: the file is missing or malformed, or this Python reads no TOML (3.10 without ``tomli``).
    """
    spec = importlib.util.find_spec(row.home)
    folders = list(spec.submodule_search_locations or ()) if spec else []
    file = Path(folders[0] if folders else row.home) / "target.toml"
    try:
        content = from_json(_File, read_toml(file), str(file))
        boards = {name: _board(name, table, file) for name, table in content.boards.items()}
    except OSError as error:
        raise TargetError(f"the target {row.name} has no boards: {file}: {error.strerror or error}") from None
    except ValueError as error:
        raise TargetError(f"{error}; mend {file}") from None
    if not boards:
        raise TargetError(f"{file} describes no board; expected a table [boards.NAME]")
    return Profiles(boards, content.releases)


def _board(name: str, table: Mapping[str, Any], file: Path) -> Board:
    board = from_json(Board, {**table, "name": name, "table": table}, f"{file}: the board {name}")
    unknown = set(board.precisions) - set(PRECISIONS)
    if unknown or board.precision not in board.precisions:
        raise ValueError(
            f"{file}: the board {name} takes {board.precision} of {', '.join(board.precisions)}; expected one of its "
            f"own precisions, each one of {', '.join(PRECISIONS)}"
        )
    return board
