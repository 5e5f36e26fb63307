"""Self-distillation: INT8 weights and biases are fine-tuned until the raw maps follow the float model's more closely.

No labels are needed. The graph with its pairs runs in PyTorch, rounding passes gradients straight through, and what is
learned are fractions of a rounding step: which way a weight rounds, and where an output's mean lies.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import onnx
import torch
from torch import Tensor

from edge_yolov9.compiler.calibration import CalibrationSet
from edge_yolov9.compiler.floatgraph import run_session
from edge_yolov9.compiler.quantization import qdq
from edge_yolov9.compiler.quantization.interpret import OPERATORS, run
from edge_yolov9.compiler.quantization.plan import FineTuning, Plan
from edge_yolov9.compiler.quantization.rawmaps import LEAST_LOGIT
from edge_yolov9.compiler.quantization.rules import Array, QuantizationScheme
from edge_yolov9.compiler.quantization.study import Study
from edge_yolov9.geometry import planes

BATCH = 4
"""Images whose gradients are added up before the optimizer moves."""
MEMORY = 2**31
"""Bytes of activations; as many images of a batch run together as fit."""
RATE = 3e-3
"""Rounding steps by which Adam moves a weight at first; it falls to 0 along a cosine."""


def tune(study: Study, plan: Plan, steps: int) -> Plan:
    """``plan`` with weights that were fine-tuned on the study's calibration images, all of them INT8.

    Args:
        study: the study that made the plan.
        plan: where to start, all INT8.
        steps: steps of the optimizer, each on BATCH images.
    """
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    start, unit = _start(plan, device), _units(study, plan, device)
    moved = {name: torch.zeros_like(value, requires_grad=True) for name, value in start.items()}
    optimizer = torch.optim.Adam(list(moved.values()), lr=RATE)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: (1 + math.cos(math.pi * step / steps)) / 2)
    teacher = run_session(study.graph.model)
    student = qdq.insert(plan.graph, plan.ranges, replace(plan.scheme, integers=False))
    together = max(size for size in (1, 2, 4) if size == 1 or size * _bytes(student) <= MEMORY)
    images = _batches(study.images, np.random.default_rng(0), together)
    for _ in range(steps):
        learned = {name: (value + unit[name] * moved[name]).detach() for name, value in start.items()}
        rounded = {name: _rounded(value, plan.scheme).requires_grad_() for name, value in learned.items()}
        gradients = {name: torch.zeros_like(value) for name, value in rounded.items()}
        for _ in range(BATCH // together):
            for name, part in _gradients(teacher, student, next(images), rounded, device).items():
                gradients[name] += part
        for name, gradient in gradients.items():
            moved[name].grad = unit[name] * gradient
        optimizer.step()
        schedule.step()
    learned = {name: value + unit[name] * moved[name] for name, value in start.items()}
    weights = {name: value.detach().cpu().numpy() for name, value in learned.items()}
    return study.plan(plan.rule, fine_tuning=FineTuning(weights, steps))


def _gradients(
    teacher: Any, student: onnx.ModelProto, batch: list[Array], weights: dict[str, Tensor], device: torch.device
) -> dict[str, Tensor]:
    """Gradients of the error of ``batch`` with respect to each of ``weights``."""
    source = student.graph.input[0].name
    maps = zip(*(teacher.run(None, {source: image}) for image in batch), strict=True)
    wanted = [torch.from_numpy(np.concatenate(images)).to(device) for images in maps]
    given = {source: torch.from_numpy(np.concatenate(batch)).to(device)}
    error = _error(run(student, given | weights, ROUNDING), wanted)
    return dict(zip(weights, torch.autograd.grad(error, list(weights.values())), strict=True))


def _batches(images: CalibrationSet, order: np.random.Generator, size: int) -> Iterator[list[Array]]:
    """Images in an order that is drawn anew when all have been used."""
    queue: list[int] = []
    while True:
        while len(queue) < size:
            queue += order.permutation(len(images)).tolist()
        yield [planes(images[queue.pop(0)]) for _ in range(size)]


def _bytes(model: onnx.ModelProto) -> int:
    """What autograd keeps of one image, about: every tensor in float32 and a mask."""
    shapes = onnx.shape_inference.infer_shapes(model).graph.value_info
    return sum(5 * math.prod(int(size.dim_value) for size in item.type.tensor_type.shape.dim) for item in shapes)


def _start(plan: Plan, device: torch.device) -> dict[str, Tensor]:
    names = [name for node in plan.graph.convolutions for name in node.input[1:]]
    return {name: torch.from_numpy(np.array(plan.graph.constants[name])).to(device) for name in names}


def _units(study: Study, plan: Plan, device: torch.device) -> dict[str, Tensor]:
    """What 1 stands for: a kernel's rounding step per output channel, and a 127th of an output's deviation."""
    units: dict[str, Tensor] = {}
    for node in plan.graph.convolutions:
        steps = qdq.weight_steps(plan.graph.constants[node.input[1]], plan.scheme)
        units[node.input[1]] = torch.from_numpy(steps).reshape(-1, 1, 1, 1).to(device)
        deviation = study.stats[node.output[0]].samples.std(axis=0)
        units[node.input[2]] = torch.from_numpy(deviation / 127).to(device)
    return units


def _rounded(value: Tensor, scheme: QuantizationScheme) -> Tensor:
    """A kernel as INT8 holds it; a bias as it is."""
    kernel = value.ndim > 1
    return torch.from_numpy(qdq.rounded_weights(value.cpu().numpy(), scheme)).to(value.device) if kernel else value


def _quantize(x: Tensor, step: Tensor, zero: Tensor, axis: int | None = None) -> Tensor:
    """A pair in one, with a gradient of 1 inside the range; kernels are rounded already."""
    if axis is not None:
        return x
    least, most = (-128, 127) if zero.dtype == torch.int8 else (0, 255)
    return torch.fake_quantize_per_tensor_affine(x, float(step), int(zero), least, most)


ROUNDING = OPERATORS | {"QuantizeLinear": _quantize, "DequantizeLinear": lambda x, *_, **__: x}


def _error(maps: list[Tensor], wanted: list[Tensor]) -> Tensor:
    """Squared error over squared value, summed over the raw maps; class logits from LEAST_LOGIT on."""
    total = torch.zeros((), device=maps[0].device)
    for index, (got, want) in enumerate(zip(maps, wanted, strict=True)):
        if index % 2:
            got, want = got.clamp(min=LEAST_LOGIT), want.clamp(min=LEAST_LOGIT)
        total = total + ((got - want) ** 2).sum() / (want**2).sum().clamp(min=1e-30)
    return total
