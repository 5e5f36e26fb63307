"""Weights whose BatchNorm a program has folded into the convolutions, made into those of our graph again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

EPS = 1e-3
"""Of every BatchNorm of a YOLOv9. With the variance 1 - EPS, BatchNorm only adds its bias."""

NOTE = "folded into the convolutions; for compile and val, not for training"
"""What ``facts`` say of such weights, under ``batchnorm``."""


def is_folded(keys: Iterable[str]) -> bool:
    """Whether a file has biases in the place of every BatchNorm."""
    keys = list(keys)
    return any(key.endswith(".conv.bias") for key in keys) and not any(key.endswith(".running_var") for key in keys)


def unfold(needed: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """``given`` under the keys of the graph: each bias becomes one of a BatchNorm that changes nothing else.

    Args:
        needed: tensors of the graph, by the keys of the file's layout.
        given: tensors of the file, by the same keys as far as it has them.

    Returns:
        Tensors that compute the same. The 1x1 branch of a folded RepConv, which the 3x3 kernel holds, is zero. A key
        that fits nothing stays as it is.
    """
    made = dict(given)
    for key in [key for key in given if key.endswith(".conv.bias") and key not in needed]:
        block, bias = key.removesuffix("conv.bias"), given[key]
        kernel = given.get(f"{block}conv.weight")
        if f"{block}bn.weight" in needed:
            made |= _identity(f"{block}bn.", bias)
        elif f"{block}conv1.bn.weight" in needed and kernel is not None and kernel.dim() == 4:
            del made[f"{block}conv.weight"]
            made[f"{block}conv1.conv.weight"] = kernel
            made[f"{block}conv2.conv.weight"] = torch.zeros_like(kernel[:, :, :1, :1])
            made |= _identity(f"{block}conv1.bn.", bias) | _identity(f"{block}conv2.bn.", torch.zeros_like(bias))
        else:
            continue
        del made[key]
    return made


def _identity(prefix: str, bias: Tensor) -> dict[str, Tensor]:
    one = torch.ones_like(bias, dtype=torch.float32)
    return {
        f"{prefix}weight": one,
        f"{prefix}bias": bias,
        f"{prefix}running_mean": torch.zeros_like(one),
        f"{prefix}running_var": one - EPS,
    }
