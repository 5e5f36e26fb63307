"""SGD with the recipe's parameter groups, the schedule as a pure function of the iteration, and the moving average."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from edge_yolov9.model import YOLOv9
from edge_yolov9.train.settings import Settings


def sgd(model: nn.Module, settings: Settings) -> torch.optim.SGD:
    """Nesterov SGD in three groups: kernels (the only ones with weight decay), BatchNorm gains, biases.

    Momenta exist from the beginning, and are zero: the fused kernel would make them of uninitialised memory, and leave
    them so where the gradient scaler skips the first step.
    """
    named = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    groups: list[dict[str, Any]] = [
        {"params": [p for _, p in named if p.ndim > 1], "weight_decay": settings.weight_decay},
        {"params": [p for name, p in named if p.ndim == 1 and not name.endswith("bias")]},
        {"params": [p for name, p in named if p.ndim == 1 and name.endswith("bias")], "bias": True},
    ]
    nesterov = settings.momentum > 0
    optimizer = torch.optim.SGD(groups, lr=settings.lr, momentum=settings.momentum, nesterov=nesterov, fused=True)
    for _, parameter in named:
        optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
    return optimizer


@dataclass(frozen=True)
class Rates:
    """What the schedule says for one iteration."""

    lr: float
    bias_lr: float
    momentum: float
    accumulate: int
    """Iterations whose gradients are added up before a step."""


@dataclass(frozen=True)
class Schedule:
    """Linear fall per epoch, after a linear warm-up per iteration."""

    settings: Settings
    batches: int
    """Iterations per epoch."""

    @property
    def warmup(self) -> int:
        """Iterations of the warm-up."""
        if self.settings.warmup_epochs == 0:
            return 0
        return max(round(self.settings.warmup_epochs * self.batches), self.settings.warmup_iterations)

    def at(self, epoch: int, batch: int, skipped: int = 0) -> Rates:
        """Rates of one iteration.

        Args:
            epoch: counts from 0.
            batch: of that epoch, counts from 0.
            skipped: iterations before it whose gradients were thrown away: the warm-up is so much longer.
        """
        s = self.settings
        lr = s.lr * ((1 - epoch / s.epochs) * (1 - s.final_lr) + s.final_lr)
        iteration = epoch * self.batches + batch - skipped
        if iteration >= self.warmup:
            return Rates(lr, lr, s.momentum, s.accumulate)
        done = iteration / self.warmup
        return Rates(
            lr * done,
            s.warmup_bias_lr + (lr - s.warmup_bias_lr) * done,
            s.warmup_momentum + (s.momentum - s.warmup_momentum) * done,
            max(1, round(1 + (s.nominal_batch / s.batch - 1) * done)),
        )


def apply(rates: Rates, optimizer: torch.optim.Optimizer) -> None:
    """Write the rates into the groups."""
    for group in optimizer.param_groups:
        group["lr"] = rates.bias_lr if group.get("bias") else rates.lr
        group["momentum"] = rates.momentum


class Average:
    """Exponential moving average of all floating state of a model; this is what is validated and saved."""

    def __init__(self, model: YOLOv9, settings: Settings) -> None:
        self.model = copy.deepcopy(model).eval().requires_grad_(False)
        self.updates = 0
        self._decay, self._scale = settings.ema_decay, settings.ema_updates
        pairs = list(zip(self.model.state_dict().values(), model.state_dict().values(), strict=True))
        self._floating = [pair for pair in pairs if pair[0].is_floating_point()]
        self._counters = [pair for pair in pairs if not pair[0].is_floating_point()]

    @torch.no_grad()
    def update(self) -> None:
        """Move towards the model by 1 - decay * (1 - exp(-updates / scale))."""
        self.updates += 1
        keep = self._decay * (1 - math.exp(-self.updates / self._scale))
        mine, theirs = zip(*self._floating, strict=True)
        torch._foreach_lerp_(mine, theirs, 1 - keep)
        for own, other in self._counters:
            own.copy_(other)


def momenta(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Momentum of every parameter that has one, by name."""
    state = {name: optimizer.state[p] for name, p in model.named_parameters() if p in optimizer.state}
    return {name: s["momentum_buffer"] for name, s in state.items() if s.get("momentum_buffer") is not None}


@torch.no_grad()
def set_momenta(model: nn.Module, optimizer: torch.optim.Optimizer, saved: dict[str, Tensor]) -> None:
    """The inverse of :func:`momenta`."""
    named = dict(model.named_parameters())
    for name, value in saved.items():
        optimizer.state[named[name]]["momentum_buffer"] = torch.empty_like(named[name]).copy_(value)


def impossible_momenta(model: nn.Module, saved: dict[str, Tensor], settings: Settings) -> list[str]:
    """Names of the momenta that no step can have made: not finite, or more than clipped gradients ever add up to."""
    named, kept = dict(model.named_parameters()), max(settings.momentum, settings.warmup_momentum)

    def possible(name: str, value: Tensor) -> bool:
        gradient = settings.clip_norm + settings.weight_decay * float(named[name].detach().abs().max())
        return float(value.abs().max()) <= 2 * gradient / max(1 - kept, 1e-6)  # NaN is not

    return [name for name, value in saved.items() if not possible(name, value)]
