"""One INT8 plan for every target: computed on the folded graph, mapped by each target's ``emit.py``.

rules ──> stats ──> equalize ──> ranges ──> study ──> plan ──> qdq (ONNX, OpenVINO, TensorRT) or LiteRT ranges
                                                  tune, where the gate finds that too much is lost
"""

from edge_yolov9.compiler.quantization.plan import Plan
from edge_yolov9.compiler.quantization.rules import QuantizationScheme
from edge_yolov9.compiler.quantization.study import Study, study
from edge_yolov9.compiler.quantization.tune import tune

__all__ = ["Plan", "QuantizationScheme", "Study", "study", "tune"]
