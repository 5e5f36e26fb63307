"""One INT8 plan for every target: computed on the folded graph, mapped by each target's ``emit.py``.

rules ──> measure ──> equalize ──> ranges ──> correct ──> plan ──> qdq (ONNX, OpenVINO, TensorRT) or LiteRT ranges
"""

from edge_yolov9.compiler.quantization.plan import Plan, make
from edge_yolov9.compiler.quantization.rules import Scheme

__all__ = ["Plan", "Scheme", "make"]
