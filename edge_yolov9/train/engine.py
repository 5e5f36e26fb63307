"""One process's share of the work: forward, loss, backward, step; and everything of it that a state must hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from edge_yolov9.errors import TrainingError
from edge_yolov9.model import YOLOv9
from edge_yolov9.model.graph import Backbone
from edge_yolov9.train.dataset import Batch
from edge_yolov9.train.distributed import Group
from edge_yolov9.train.fault import blame_gradients, blame_loss, not_finite, shortened
from edge_yolov9.train.loss import Loss
from edge_yolov9.train.optimizer import Average, Rates, apply, impossible_momenta, momenta, set_momenta, sgd
from edge_yolov9.train.settings import Settings

LEAST_SCALE = 2**-10
"""Loss scale of fp16 below which gradients that overflow are the model's fault, not the scale's."""
PRECISIONS = {"bf16": torch.bfloat16, "fp16": torch.float16}


def precision(settings: Settings, device: torch.device) -> torch.dtype | None:
    """The type of autocast, None for plain float32."""
    if settings.amp != "auto":
        return PRECISIONS.get(settings.amp)
    if device.type != "cuda":
        return None
    return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16


@dataclass(frozen=True)
class Outcome:
    """What one iteration found."""

    terms: tuple[float, float, float]
    """Class, box and dfl loss of the main head over the global batch."""


@dataclass(frozen=True)
class EngineState:
    """Everything of an engine that a run needs to go on, between two steps."""

    tensors: Mapping[str, Tensor]
    """Weights (``model/``), moving average (``ema/``), momenta (``momentum/``) and random generators (``rng/``)."""
    updates: int
    """Steps that the optimizer has taken."""
    scaler: Mapping[str, Any]
    """The gradient scaler's numbers; empty unless fp16."""


class Engine:
    """Model, moving average and optimizer on one device."""

    def __init__(self, model: YOLOv9, settings: Settings, group: Group = Group()) -> None:  # noqa: B008
        self.settings, self.group, self.device = settings, group, group.device
        self.model: YOLOv9 = model.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        if settings.sync_bn and group.world > 1 and self.device.type == "cuda":
            self.model = nn.SyncBatchNorm.convert_sync_batchnorm(self.model)  # type: ignore[no-untyped-call]
        for module in self.model.modules():
            if isinstance(module, (nn.SiLU, nn.Hardswish, nn.ReLU6)):
                module.inplace = False  # in place, autograd would keep a copy of what is overwritten
        self._frozen = freeze(self.model, settings)
        self.average = Average(self.model, settings)
        self.optimizer = sgd(self.model, settings)
        self.loss = Loss(settings, self.device)
        self._amp = precision(settings, self.device)
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=self._amp == torch.float16)
        self._forward: nn.Module = self.model
        if group.world > 1:
            ids = [self.device] if self.device.type == "cuda" else None
            self._forward = DistributedDataParallel(self.model, device_ids=ids, gradient_as_bucket_view=True)
        if settings.compile:
            self._forward = torch.compile(self._forward)  # type: ignore[assignment]
        self.pending = 0
        self.train()

    def train(self) -> None:
        """Training mode, but for what is frozen."""
        self.model.train()
        for module in self._frozen:
            module.eval()

    def gradients(self, batch: Batch, global_size: int, last: bool = True) -> Outcome:
        """Add the gradients of one batch.

        Args:
            batch: this process's share of the global batch.
            global_size: images of the global batch.
            last: whether a step follows, so that processes must agree on the gradients now.

        Raises:
            NotFinite: the loss is not finite, in this process or in another.
        """
        images = batch.images.to(self.device, non_blocking=True).permute(0, 3, 1, 2).float().div_(255)
        objects = batch.boxes.to(self.device, non_blocking=True)
        wait = isinstance(self._forward, DistributedDataParallel) and not last
        with self._forward.no_sync() if wait else nullcontext():  # type: ignore[operator]
            with torch.autocast(self.device.type, self._amp, enabled=self._amp is not None):
                main, auxiliary = self._forward(images)
            heads = [main] if auxiliary is None else [main, auxiliary]
            terms = self.loss(heads, objects, self.group.sum)
            total = self.loss.total(terms)
            if self.group.any(not bool(torch.isfinite(total))):
                blame_loss(self.model, images, terms[0].detach(), self._amp)
            # gradients are averaged over processes, the loss is summed over images
            self.scaler.scale(total * global_size * self.group.world).backward()  # type: ignore[no-untyped-call]
        self.pending += 1
        shared = self.group.sum(terms[0].detach().clone()).tolist()
        return Outcome((shared[0], shared[1], shared[2]))

    def step(self, rates: Rates) -> bool:
        """Move the weights by the gradients added up, and the average after them.

        Returns:
            Whether they moved. In fp16 gradients may overflow: they are thrown away and the next loss is scaled less.

        Raises:
            NotFinite: the gradients are not finite, in fp16 at any scale.
        """
        apply(rates, self.optimizer)
        self.scaler.unscale_(self.optimizer)
        parameters = [p for p in self.model.parameters() if p.grad is not None]
        norm = nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
        finite, scale = bool(torch.isfinite(norm)), self.scaler.get_scale()
        if not finite and (not self.scaler.is_enabled() or scale < LEAST_SCALE):
            blame_gradients(self.model, scale)
        if finite:
            nn.utils.clip_grads_with_norm_(parameters, self.settings.clip_norm, norm)
        self.scaler.step(self.optimizer)  # leaves weights and momenta as they are where a gradient is not finite
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)
        self.pending = 0
        if finite:
            self.average.update()
        return finite

    def state(self) -> EngineState:
        """What :meth:`restore` takes, between two steps."""
        held = {f"model/{k}": v for k, v in self.model.state_dict().items()}
        held |= {f"ema/{k}": v for k, v in self.average.model.state_dict().items()}
        held |= {f"momentum/{k}": v for k, v in momenta(self.model, self.optimizer).items()}
        held["rng/cpu"] = torch.get_rng_state()
        if self.device.type == "cuda":
            held["rng/cuda"] = torch.cuda.get_rng_state(self.device)
        return EngineState(held, self.average.updates, self.scaler.state_dict())

    def restore(self, state: EngineState) -> str:
        """Go on from there.

        Returns:
            What was repaired, as a line to show; mostly empty.

        Raises:
            TrainingError: the tensors are of another model, or its weights are not finite.
        """
        held = state.tensors
        if spoilt := not_finite((name, value) for name, value in held.items() if name.startswith(("model/", "ema/"))):
            raise TrainingError(
                f"the saved state holds weights that are not finite ({shortened(spoilt)}); nothing can go on from it: "
                "start a new run with --pretrained best.safetensors of this one"
            )

        def part(name: str) -> dict[str, Tensor]:
            return {k.removeprefix(name): v for k, v in held.items() if k.startswith(name)}

        try:
            self.model.load_state_dict(part("model/"))
            self.average.model.load_state_dict(part("ema/"))
            saved = part("momentum/")
            wrong = impossible_momenta(self.model, saved, self.settings)
            if not wrong:
                set_momenta(self.model, self.optimizer, saved)
        except (RuntimeError, KeyError) as error:
            raise TrainingError(f"the saved state does not fit {self.model.name}: {error}") from None
        self.average.updates = state.updates
        torch.set_rng_state(held["rng/cpu"])
        if self.device.type == "cuda" and "rng/cuda" in held:
            torch.cuda.set_rng_state(held["rng/cuda"], self.device)
        if state.scaler:
            self.scaler.load_state_dict(dict(state.scaler))
        if not wrong:
            return ""
        return (
            f"the saved momentum of {shortened(wrong)} is none that training makes (earlier versions took it from "
            "uninitialised memory in fp16): all momenta begin at zero again"
        )


def freeze(model: YOLOv9, settings: Settings) -> Sequence[nn.Module]:
    """Stop the gradients of the first levels of every backbone; the modules that must stay in eval mode."""
    frozen: list[nn.Module] = []
    own = model.backbone
    backbones = [own] if isinstance(own, Backbone) else [own.first, own.second]
    for backbone in backbones:
        for level in range(settings.freeze):
            frozen += [backbone.reduce[level], backbone.blocks[level]]
    for module in frozen:
        module.requires_grad_(False)
    if settings.freeze_bn:
        frozen += [m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    return frozen
