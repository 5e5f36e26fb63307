"""Names what was not finite first in an iteration: a weight, a layer's output, a term of the loss, or a gradient."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NoReturn

import torch
from torch import Tensor, nn

from edge_yolov9.errors import TrainingError


class NotFinite(TrainingError):
    """An iteration cannot be used; the message names what was not finite first, and what to do."""


def not_finite(named: Iterable[tuple[str, Tensor]]) -> list[str]:
    """Names of the tensors that hold NaN or infinity."""
    return [name for name, value in named if value.is_floating_point() and not bool(torch.isfinite(value).all())]


def shortened(names: Sequence[str]) -> str:
    """The first of some names, and how many more there are."""
    return names[0] + (f" and {len(names) - 1} more" if len(names) > 1 else "")


def blame_loss(model: nn.Module, images: Tensor, terms: Tensor, precision: torch.dtype | None) -> NoReturn:
    """Say where a loss that is not finite began.

    Args:
        model: the model, in training mode.
        images: (N, 3, H, W) float32 in 0..1 that it was given.
        terms: (3,) class, box and dfl loss of the main head.
        precision: the type of autocast, None for float32.

    Raises:
        NotFinite: always.
    """
    remedy = "start again with --amp bf16 or off" if precision == torch.float16 else "start again with a lower --lr"
    if spoilt := not_finite(model.named_parameters()):  # buffers may be: this very forward pass has spoilt them
        raise NotFinite(f"weight {shortened(spoilt)} was not finite before this batch; start again with a lower --lr")
    if layer := _first_layer(model, images, precision):
        raise NotFinite(f"the output of {layer} is the first that is not finite, all weights are; {remedy}")
    names = not_finite(zip(("class", "box", "dfl"), terms.unbind(), strict=True))
    if names:
        raise NotFinite(f"the {shortened(names)} loss is not finite, all weights and outputs are; {remedy}")
    raise NotFinite(f"the loss of another process or of the auxiliary head is not finite; {remedy}")


def blame_gradients(model: nn.Module, scale: float) -> NoReturn:
    """Say which gradient is not finite although the loss is.

    Raises:
        NotFinite: always.
    """
    named = [(name, p.grad) for name, p in model.named_parameters() if p.grad is not None]
    names = not_finite(reversed(named))  # backward begins at the end
    which = f"the gradient of {shortened(names)}" if names else "the norm of all gradients together"
    at = f" at every loss scale down to {scale:g}; start again with --amp bf16 or off" if scale != 1 else ""
    raise NotFinite(f"{which} is not finite{at or ', the loss is; start again with a lower --lr'}")


@torch.no_grad()
def _first_layer(model: nn.Module, images: Tensor, precision: torch.dtype | None) -> str:
    """Name of the first layer whose output is not finite; empty where all are."""
    names: list[str] = []

    def look(name: str) -> Any:
        def hook(_module: nn.Module, _inputs: Any, output: Any) -> None:
            if isinstance(output, Tensor) and not_finite([(name, output)]):
                names.append(name)

        return hook

    handles = [module.register_forward_hook(look(name)) for name, module in model.named_modules() if name]
    try:
        with torch.autocast(images.device.type, precision, enabled=precision is not None):
            model(images)
    finally:
        for handle in handles:
            handle.remove()
    return names[0] if names else ""
