"""The strongly typed flavour: a float16 body between float32 inputs and outputs, types spelled out in the graph.

TensorRT 10.12 and later take precision from the graph instead of builder flags; QuantizeLinear and DequantizeLinear
with float16 scales need opset 19.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

OPSET = 19
IR_VERSION = 9


def to_half(model: onnx.ModelProto, opset: int = OPSET) -> onnx.ModelProto:
    """A copy of ``model`` in float16, cast from and to float32 at its inputs and outputs; int8 tensors stay."""
    result = onnx.ModelProto()
    result.CopyFrom(model)
    graph = result.graph
    sizes = {name for node in graph.node if node.op_type == "Resize" for name in node.input[1:]}
    tensors = {item.name: item for item in graph.initializer}
    tensors |= {node.output[0]: node.attribute[0].t for node in graph.node if node.op_type == "Constant"}
    for name, item in tensors.items():
        if item.data_type == TensorProto.FLOAT and name not in sizes:
            half = numpy_helper.to_array(item).astype(np.float16)
            item.CopyFrom(numpy_helper.from_array(half, item.name))
    ends = {item.name for item in (*graph.input, *graph.output)}
    for node in graph.node:
        node.input[:] = [f"{name}_half" if name in ends else name for name in node.input]
        node.output[:] = [f"{name}_half" if name in ends else name for name in node.output]
    first = [_cast(item.name, f"{item.name}_half", TensorProto.FLOAT16) for item in graph.input]
    last = [_cast(f"{item.name}_half", item.name, TensorProto.FLOAT) for item in graph.output]
    body = list(graph.node)
    del graph.node[:]
    graph.node.extend([*first, *body, *last])
    del graph.value_info[:]
    result.ir_version = IR_VERSION
    del result.opset_import[:]
    result.opset_import.append(helper.make_opsetid("", opset))
    onnx.checker.check_model(result, full_check=True)
    return result


def _cast(source: str, target: str, to: int) -> onnx.NodeProto:
    return helper.make_node("Cast", [source], [target], name=f"{target}_cast", to=to)
