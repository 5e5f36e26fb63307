"""A pretended Jetson, for tests of the session."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from edge_yolov9.targets.jetson.runtime import cuda

from edge_yolov9 import bundle as bundles
from edge_yolov9 import registry
from tests.targets import fake_tensorrt
from tests.targets.fake_cudart import FakeCudart
from tests.targets.jobs import frames

SIZE = 96
"""Pixels; small, because the fake engine runs on the CPU."""


@dataclass
class Machine:
    """A pretended Jetson."""

    monkeypatch: pytest.MonkeyPatch
    cudart: FakeCudart
    cache: Path

    def install(self, version: str) -> fake_tensorrt.Record:
        """Make ``import tensorrt`` give a fake of this version."""
        module, record = fake_tensorrt.make(version)
        self.monkeypatch.setitem(sys.modules, "tensorrt", module)
        return record

    def plug(self, **settings: Any) -> FakeCudart:
        """Another GPU."""
        self.cudart = FakeCudart(**settings)
        self.monkeypatch.setattr(cuda, "open_library", lambda: self.cudart)
        return self.cudart


def infer(path: Path) -> list[np.ndarray[Any, Any]]:
    """Raw maps of one picture."""
    session = registry.open_session(bundles.read(path))
    raw = [array.copy() for array in session.infer(frames(1, SIZE)[0])]
    session.close()
    return raw


def portable(path: Path) -> list[np.ndarray[Any, Any]]:
    """The same by ONNX Runtime on the bundle's portable graph, with a conversion of the picture of its own."""
    session = onnxruntime.InferenceSession(path / "model.onnx", providers=["CPUExecutionProvider"])
    image = frames(1, SIZE)[0].astype(np.float32)[:, :, ::-1].transpose(2, 0, 1)[None] / 255
    names = [spec.name for spec in bundles.read(path).manifest.outputs]
    return [array.reshape(array.shape[1], -1) for array in session.run(names, {"images": image})]
