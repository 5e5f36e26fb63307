"""Gradients that overflow in fp16: what a skipped step leaves as it was, and what is said where nothing helps."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from edge_yolov9.errors import TrainingError
from edge_yolov9.model import build
from edge_yolov9.train.engine import LEAST_SCALE, Engine, EngineState
from edge_yolov9.train.fault import NotFinite
from edge_yolov9.train.optimizer import Schedule, momenta
from edge_yolov9.train.settings import Settings
from edge_yolov9.train.start import Request, start
from edge_yolov9.train.state import STATE, read_state
from tests.train.test_optimizer import batch
from tests.train.test_resume import TINY

FP16 = Settings(imgsz=64, batch=2, nominal_batch=2, warmup_epochs=0, amp="fp16")
RATES = Schedule(FP16, 10).at(0, 0)


def engine(settings: Settings = FP16) -> Engine:
    """The optimizer is made where freed memory holds NaN, and is the fused one."""
    torch.manual_seed(0)
    model = build("gelan-t", 2)
    freed = [torch.full_like(p, float("nan")) for p in model.parameters()]
    del freed
    made = Engine(model, settings)
    assert made.optimizer.defaults["fused"]
    return made


def give_gradients(engine: Engine, value: float) -> None:
    engine.scaler.scale(torch.ones(1))  # begins the scaler's round, as a backward pass does
    for parameter in engine.model.parameters():
        parameter.grad = torch.full_like(parameter, value * engine.scaler.get_scale())


def test_a_skipped_step_changes_nothing() -> None:
    trained = engine()
    before = {key: value.clone() for key, value in trained.state().tensors.items()}
    scale = trained.scaler.get_scale()
    for _ in range(2):
        give_gradients(trained, float("inf"))
        assert not trained.step(RATES)
    after = trained.state().tensors
    assert all(torch.equal(value, after[key]) for key, value in before.items())
    assert trained.average.updates == 0
    assert trained.scaler.get_scale() == scale / 4
    assert len(momenta(trained.model, trained.optimizer)) == len(list(trained.model.parameters()))
    give_gradients(trained, 1e-6)
    assert trained.step(RATES)
    assert trained.average.updates == 1
    kept = momenta(trained.model, trained.optimizer)["head.box.0.2.bias"]
    torch.testing.assert_close(kept, torch.full_like(kept, 1e-6))


def test_the_warm_up_does_not_count_skipped_iterations() -> None:
    schedule = Schedule(Settings(epochs=100, batch=16), batches=50)
    assert schedule.at(1, 10, skipped=4) == Schedule(Settings(epochs=100, batch=16), batches=50).at(1, 6)
    assert schedule.at(3, 1, skipped=4) != schedule.at(3, 1)


def test_a_run_in_fp16_counts_the_steps_that_moved_it(made: Path, tmp_path: Path) -> None:
    start(Request(made, tmp_path / "run", device="cpu", settings={**TINY, "amp": "fp16", "epochs": 4}))
    tensors, position, _ = read_state(tmp_path / "run" / STATE)
    assert position.skipped > 0  # the first loss scale, 65536, is too much for this data
    assert position.updates > 0
    assert all(bool(torch.isfinite(value).all()) for value in tensors.values())


@pytest.mark.parametrize("value", [float("nan"), 6e36])
def test_momenta_from_uninitialised_memory_are_repaired(value: float) -> None:
    saved = {key: tensor.clone() for key, tensor in engine().state().tensors.items()}
    saved["momentum/head.box.0.2.bias"][0] = value
    saved["momentum/head.box.1.2.bias"][0] = 1.5
    resumed = engine()
    line = resumed.restore(EngineState(saved, 7, {}))
    assert line.startswith("the saved momentum of head.box.0.2.bias is none that training makes")
    assert resumed.average.updates == 7
    assert all(not bool(kept.any()) for kept in momenta(resumed.model, resumed.optimizer).values())
    saved["momentum/head.box.0.2.bias"][0] = -3.0
    assert resumed.restore(EngineState(saved, 7, {})) == ""
    assert momenta(resumed.model, resumed.optimizer)["head.box.0.2.bias"][0] == -3


def test_a_state_with_weights_that_are_not_finite_is_refused() -> None:
    saved = {key: tensor.clone() for key, tensor in engine().state().tensors.items()}
    saved["ema/head.box.0.2.bias"][0] = float("nan")
    with pytest.raises(TrainingError, match=r"not finite \(ema/head\.box\.0\.2\.bias\).*--pretrained"):
        engine().restore(EngineState(saved, 7, {}))


def test_a_layer_that_overflows_is_named() -> None:
    trained = engine()
    with torch.no_grad():
        trained.model.backbone.reduce[1].conv.weight.fill_(1e9)
    with pytest.raises(NotFinite, match=r"output of backbone\.reduce\.1\.conv is the first.*--amp bf16 or off"):
        trained.gradients(batch(), 2)


def test_a_weight_that_is_not_finite_is_named() -> None:
    trained = engine(Settings(imgsz=64, batch=2, nominal_batch=2))
    nn.init.constant_(trained.model.head.cls[0][2].bias, float("nan"))
    with pytest.raises(NotFinite, match=r"weight head\.cls\.0\.2\.bias was not finite before this batch"):
        trained.gradients(batch(), 2)


def test_gradients_that_no_scale_mends_are_named() -> None:
    plain = engine(Settings(imgsz=64, batch=2, nominal_batch=2))
    give_gradients(plain, 1e-6)
    plain.model.head.box[0][2].bias.grad[0] = float("nan")
    with pytest.raises(NotFinite, match=r"gradient of head\.box\.0\.2\.bias is not finite, the loss is.*lower --lr"):
        plain.step(RATES)
    scaled = engine()
    while scaled.scaler.get_scale() >= LEAST_SCALE:
        give_gradients(scaled, float("inf"))
        assert not scaled.step(RATES)
    give_gradients(scaled, float("inf"))
    with pytest.raises(NotFinite, match=r"at every loss scale down to .*--amp bf16 or off"):
        scaled.step(RATES)
