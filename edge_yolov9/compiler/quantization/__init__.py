"""One INT8 plan for every target: computed on the folded graph, mapped by each target's ``emit.py``.

rules ──> measure ──> equalize ──> ranges ──> correct ──> plan ──> qdq (ONNX, OpenVINO, TensorRT) or LiteRT ranges
                                                              tune, where the gate finds that too much is lost
"""

from edge_yolov9.compiler.quantization.plan import Plan, make
from edge_yolov9.compiler.quantization.rules import Scheme
from edge_yolov9.compiler.quantization.tune import tune

__all__ = ["Plan", "Scheme", "make", "tune"]
