"""One process or several, started by ``torchrun``."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

import torch
from torch import Tensor
from torch import distributed as dist

from edge_yolov9.errors import InputError

PATIENCE = timedelta(hours=2)
"""How long a process waits for another: process 0 validates while the others wait."""


CPU = torch.device("cpu")


@dataclass(frozen=True)
class Group:
    """The processes of one run."""

    rank: int = 0
    world: int = 1
    device: torch.device = CPU

    @property
    def leads(self) -> bool:
        """Whether this process writes files and speaks."""
        return self.rank == 0

    def sum(self, value: Tensor) -> Tensor:
        """Sum over processes, without gradient. In place where there are several."""
        if self.world > 1:
            dist.all_reduce(value)
        return value

    def any(self, flag: bool) -> bool:
        """Whether ``flag`` holds in any process; every process must call it."""
        if self.world == 1:
            return flag
        return bool(self.sum(torch.tensor(float(flag), device=self.device)).item())

    def from_first(self, value: float) -> float:
        """The value of process 0, in every process."""
        if self.world == 1:
            return value
        held = torch.tensor(value, dtype=torch.float64, device=self.device)
        dist.broadcast(held, 0)
        return float(held.item())


def pick_device(name: str, local_rank: int = 0) -> torch.device:
    """``auto``, ``cpu``, ``cuda``, ``cuda:1`` or ``1`` -> a device that is there.

    Raises:
        InputError: no such device here.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cpu":
        return torch.device("cpu")
    index = name.removeprefix("cuda").removeprefix(":") or str(local_rank)
    if not index.isdecimal():
        raise InputError(f"--device must be auto, cpu, cuda or the number of a GPU, got {name!r}")
    if int(index) >= torch.cuda.device_count():
        raise InputError(f"--device {name}: this machine shows {torch.cuda.device_count()} GPUs; try --device cpu")
    return torch.device("cuda", int(index))


@contextmanager
def joined(device: str) -> Iterator[Group]:
    """The group that ``torchrun`` describes in the environment, or a group of one."""
    world = int(os.environ.get("WORLD_SIZE", "1"))
    chosen = pick_device(device, int(os.environ.get("LOCAL_RANK", "0")))
    if chosen.type == "cuda":
        torch.cuda.set_device(chosen)
    if world == 1:
        yield Group(device=chosen)
        return
    dist.init_process_group("nccl" if chosen.type == "cuda" else "gloo", timeout=PATIENCE)
    try:
        yield Group(dist.get_rank(), dist.get_world_size(), chosen)
    finally:
        dist.destroy_process_group()
