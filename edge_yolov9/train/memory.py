"""Which batch fits."""

from __future__ import annotations

import contextlib
import copy
import ctypes

import torch
from torch import Tensor

from edge_yolov9.errors import InputError
from edge_yolov9.model import YOLOv9
from edge_yolov9.system.cpu import free_memory

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
"""Numbers of glibc's mallopt."""

PROBE = 2
"""Images of the trial: BatchNorm needs more than one value."""
OVERHEAD = 1.6
"""Peak memory of an iteration over what autograd keeps, as measured for T at 320 px; gradients come on top."""


def activation_bytes(model: YOLOv9, imgsz: int) -> int:
    """Bytes that autograd keeps per image between forward and backward."""
    kept: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    trial = copy.deepcopy(model).cpu().train()
    weights = {p.untyped_storage().data_ptr() for p in trial.parameters()}
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        outputs = trial(torch.zeros(PROBE, 3, imgsz, imgsz))  # held, so that no address is used twice
    total = sum(size for place, size in kept.items() if place not in weights)
    del outputs
    return total // PROBE


def keep_freed_memory() -> None:
    """Let glibc keep freed blocks: giving every activation back and faulting it in again costs 6 % of an iteration."""
    with contextlib.suppress(OSError, AttributeError):  # another C library
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(M_MMAP_THRESHOLD, 1 << 30)
        libc.mallopt(M_TRIM_THRESHOLD, (1 << 31) - 1)


def available(device: torch.device) -> int:
    """Bytes that are free on the device."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return free_memory()


def check_batch(model: YOLOv9, imgsz: int, batch: int, device: torch.device, halved: bool = False) -> None:
    """Refuse a batch per process that does not fit; ``halved`` says that activations take 16 bits.

    Raises:
        InputError: names the largest batch that should fit.
    """
    each = int(activation_bytes(model, imgsz) * OVERHEAD / (2 if halved else 1))
    weights = 5 * sum(p.numel() * p.element_size() for p in model.parameters())
    free = available(device) - weights
    if batch * each <= free:
        return
    fits = max(0, free // each)
    advice = f"try --batch {fits}" if fits else "take a smaller --model or --imgsz"
    raise InputError(
        f"a batch of {batch} at {imgsz} px needs about {(batch * each + weights) / 2**30:.1f} GiB, "
        f"{(free + weights) / 2**30:.1f} GiB are free on {device}; {advice}"
    )
