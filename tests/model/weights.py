"""Reproducible weights for any graph, and the recording of what our graphs make of them.

``python -m tests.model.weights`` records anew. Do that only from a commit whose T, S and C agree with
``../shared/parity`` (``test_published.py`` checks it where that folder is); M and E are held by their keys alone.
"""

from __future__ import annotations

import zlib
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from edge_yolov9.model import YOLOv9, build, load_published, published_tensors

RECORDING = Path(__file__).with_name("recording.npz")
NAMES = tuple(f"yolov9-{size}" for size in "tsmce")
CLASSES = 1


def _values(key: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
    random = np.random.Generator(np.random.Philox(zlib.crc32(key.encode())))
    if len(shape) == 4:  # a kernel; the gain keeps what passes through SiLU alive and float32 noise small
        gain = (2.0 / np.prod(shape[1:])) ** 0.5
        return random.standard_normal(shape, np.float32) * np.float32(gain)
    if key.endswith("running_var"):
        return random.uniform(0.8, 1.2, shape).astype(np.float32)
    middle = 1.0 if key.endswith("bn.weight") else 0.0
    return (middle + 0.1 * random.standard_normal(shape)).astype(np.float32)


def filled(name: str, num_classes: int = CLASSES) -> YOLOv9:
    """A model in eval mode whose weights depend on the published keys alone."""
    model = build(name, num_classes)
    keys = {key: tuple(tensor.shape) for key, tensor in published_tensors(model).items() if "num_batches" not in key}
    return load_published(model, {key: torch.from_numpy(_values(key, shape)) for key, shape in keys.items()}).eval()


def picture() -> Tensor:
    """One image (1, 3, 64, 64) in [0, 1]."""
    return torch.from_numpy(np.random.Generator(np.random.Philox(9)).random((1, 3, 64, 64), np.float32))


def outputs(name: str) -> dict[str, NDArray[np.float32]]:
    """``{"yolov9-t.main_p3": map}`` and so on, main and auxiliary."""
    with torch.no_grad():
        main, auxiliary = filled(name)(picture())
    maps = {"main": main, "aux": auxiliary or []}
    return {f"{name}.{kind}_p{i}": item.numpy() for kind, levels in maps.items() for i, item in enumerate(levels, 3)}


if __name__ == "__main__":
    np.savez_compressed(RECORDING, **{key: value for name in NAMES for key, value in outputs(name).items()})
