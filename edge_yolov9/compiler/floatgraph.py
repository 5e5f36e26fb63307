"""The float graph as ONNX, run on the CPU, with any of its tensors as an output."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from edge_yolov9.geometry import Image, planes
from edge_yolov9.registry import Session

NetworkInputs = Iterable[NDArray[np.float32]]
"""(1, 3, H, W) RGB in [0, 1]."""


def expose(model: onnx.ModelProto, tensors: Iterable[str]) -> onnx.ModelProto:
    """A copy of ``model`` whose outputs are ``tensors``."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    del copy.graph.output[:]
    copy.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in tensors)
    return copy


def run_session(model: onnx.ModelProto) -> Any:
    """``model`` in ONNX Runtime on the CPU, pairs computed as they stand (fusing them has no float16 kernels)."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.add_session_config_entry("session.disable_quant_qdq", "1")
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


class GraphSession(Session):
    """A graph in ONNX Runtime as a session; see :class:`edge_yolov9.registry.Session`."""

    def __init__(self, model: onnx.ModelProto) -> None:
        """``model``: (1, 3, H, W) RGB in [0, 1] -> the six raw tensors, float or with Q/DQ pairs."""
        self._session = run_session(model)
        self._feed: dict[str, NDArray[np.float32]] = {}
        self._input = self._session.get_inputs()[0].name

    def infer(self, image: Image) -> list[NDArray[np.float32]]:
        """One letterboxed frame (height, width, 3) uint8 BGR -> six float32 arrays (channels, cells)."""
        self._feed = {self._input: planes(image)}
        raw = self._session.run(None, self._feed)
        return [array.reshape(array.shape[1], -1) for array in raw]

    def bare(self) -> None:
        """The graph once more on the frame that came last."""
        self._session.run(None, self._feed)

    def close(self) -> None:
        """Nothing is held beyond the object itself."""


def raw_maps(model: onnx.ModelProto, images: NetworkInputs) -> list[list[NDArray[np.float32]]]:
    """The raw maps of every image."""
    session = run_session(model)
    name = session.get_inputs()[0].name
    return [session.run(None, {name: image}) for image in images]
