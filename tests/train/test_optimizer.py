"""Groups, schedule, average, gradients: the numbers of the recipe."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from edge_yolov9.checkpoint import Checkpoint, save
from edge_yolov9.errors import CheckpointError, InputError
from edge_yolov9.model import build
from edge_yolov9.train.dataset import Batch
from edge_yolov9.train.distributed import Group, pick_device
from edge_yolov9.train.engine import Engine
from edge_yolov9.train.finetune import take_over
from edge_yolov9.train.memory import activation_bytes, check_batch
from edge_yolov9.train.optimizer import Average, Schedule, apply, sgd
from edge_yolov9.train.settings import Settings

CPU = torch.device("cpu")


def test_only_convolution_kernels_decay() -> None:
    model = build("yolov9-t", 3)
    kernels, gains, biases = sgd(model, Settings()).param_groups
    assert kernels["weight_decay"] == 5e-4
    assert gains["weight_decay"] == biases["weight_decay"] == 0
    assert all(p.ndim == 4 for p in kernels["params"])
    norms = [m for m in model.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    assert {id(p) for p in gains["params"]} == {id(m.weight) for m in norms}
    assert {id(m.bias) for m in norms} < {id(p) for p in biases["params"]}
    assert sum(len(g["params"]) for g in (kernels, gains, biases)) == len(list(model.parameters()))


def test_schedule() -> None:
    schedule = Schedule(Settings(epochs=100, batch=16), batches=50)
    assert schedule.warmup == 150
    first, middle, after = schedule.at(0, 0), schedule.at(1, 25), schedule.at(3, 0)
    assert (first.lr, first.bias_lr, first.momentum, first.accumulate) == (0, 0.1, 0.8, 1)
    full = 0.01 * (0.99 * 0.99 + 0.01)
    assert middle.lr == pytest.approx(full / 2)
    assert middle.bias_lr == pytest.approx((0.1 + full) / 2)
    assert middle.momentum == pytest.approx((0.8 + 0.937) / 2)
    assert (after.momentum, after.accumulate) == (0.937, 4)
    assert after.lr == after.bias_lr == pytest.approx(0.01 * (0.97 * 0.99 + 0.01))
    assert schedule.at(99, 49).lr == pytest.approx(0.01 * (0.01 * 0.99 + 0.01))
    assert Schedule(Settings(epochs=9), batches=5).warmup == 100
    model = build("gelan-t", 1)
    optimizer = sgd(model, Settings())
    apply(middle, optimizer)
    assert [g["lr"] for g in optimizer.param_groups] == [middle.lr, middle.lr, middle.bias_lr]


def test_average_follows_the_formula() -> None:
    model = build("gelan-t", 1)
    average = Average(model, Settings())
    weight, mean = model.head.box[0][2].bias, model.backbone.reduce[0].bn.running_mean
    wanted, wanted_mean = weight.detach().clone(), mean.clone()
    for update in range(1, 4):
        with torch.no_grad():
            weight.add_(1)
            mean.add_(2)
        keep = 0.9999 * (1 - math.exp(-update / 2000))
        wanted = keep * wanted + (1 - keep) * weight.detach()
        wanted_mean = keep * wanted_mean + (1 - keep) * mean
        average.update()
    torch.testing.assert_close(average.model.head.box[0][2].bias, wanted)
    torch.testing.assert_close(average.model.backbone.reduce[0].bn.running_mean, wanted_mean)


def batch(count: int = 2) -> Batch:
    images = torch.randint(0, 255, (count, 64, 64, 3), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    boxes = torch.tensor([[i, i % 2, 8.0, 8, 40, 50] for i in range(count)])
    return Batch(images, boxes, tuple(range(count)))


def test_a_few_steps_on_one_batch_lower_the_loss() -> None:
    torch.manual_seed(0)
    engine = Engine(build("gelan-t", 2), Settings(imgsz=64, batch=2, nominal_batch=2, warmup_epochs=0))
    rates = Schedule(engine.settings, 10).at(0, 0)
    losses = []
    for _ in range(16):
        outcome = engine.gradients(batch(), 2)
        losses.append(sum(outcome.terms))
        engine.step(rates)
    assert losses[-1] < 0.8 * losses[0]


def test_gradients_are_clipped() -> None:
    engine = Engine(build("gelan-t", 2), Settings(imgsz=64, momentum=0, weight_decay=0, clip_norm=0.001))
    before = [p.detach().clone() for p in engine.model.parameters()]
    engine.gradients(batch(), 2)
    engine.step(Schedule(engine.settings, 1).at(150, 0))
    moved = torch.stack([(p - b).norm() for p, b in zip(engine.model.parameters(), before, strict=True)]).norm()
    assert moved.item() == pytest.approx(0.001 * engine.optimizer.param_groups[0]["lr"], rel=0.05)


def test_frozen_levels_keep_weights_and_statistics() -> None:
    engine = Engine(build("gelan-t", 2), Settings(imgsz=64, freeze=2, warmup_epochs=0))
    before = {key: value.clone() for key, value in engine.model.state_dict().items()}
    engine.gradients(batch(), 2)
    engine.step(Schedule(engine.settings, 1).at(0, 0))
    changed = {key for key, value in engine.model.state_dict().items() if not torch.equal(value, before[key])}
    frozen = tuple(f"backbone.{part}.{level}." for part in ("reduce", "blocks") for level in (0, 1))
    assert not [key for key in changed if key.startswith(frozen)]
    assert "backbone.reduce.2.conv.conv.weight" in changed
    assert "backbone.reduce.2.conv.bn.running_mean" in changed


@pytest.mark.parametrize("names", [("a", "b", "c"), ("a", "b"), ("b", "a")])
def test_fine_tuning_takes_over_what_fits(tmp_path: Path, names: tuple[str, ...]) -> None:
    file = tmp_path / "given.safetensors"
    torch.manual_seed(1)
    given = build("gelan-t", 2)
    save(Checkpoint(given.eval(), ("a", "b"), (64, 64)), file)
    torch.manual_seed(2)
    model = build("yolov9-t", len(names))
    taken = take_over(model, file, names)
    source = given.state_dict()
    same = {key for key, value in model.state_dict().items() if key in source and torch.equal(value, source[key])}
    assert {key for key in source if "head.cls" not in key} <= same
    kept = {key for key in same if key.startswith("head.cls") and key.endswith("conv.weight")}
    assert bool(kept) == (names == ("a", "b"))
    assert "auxiliary branch" in str(taken)
    assert f"class heads (2 classes there, {len(names)} here)" in str(taken)
    with pytest.raises(CheckpointError, match="set --model to its size"):
        take_over(build("gelan-s", 2), file, names)


def test_batch_that_does_not_fit_says_which_would(monkeypatch: pytest.MonkeyPatch) -> None:
    model = build("gelan-t", 2)
    each = activation_bytes(model, 64)
    assert 1 << 20 < each < 1 << 25
    monkeypatch.setattr("edge_yolov9.train.memory.free_memory", lambda: 300 << 20)
    with pytest.raises(InputError, match=r"try --batch (\d+)") as caught:
        check_batch(model, 64, 4096, CPU)
    fits = int(str(caught.value).rsplit(" ", 1)[1])
    check_batch(model, 64, fits, CPU)
    with pytest.raises(InputError):
        check_batch(model, 64, fits + 1, CPU)


def test_settings_are_checked_and_survive_json() -> None:
    with pytest.raises(InputError, match="--imgsz must be a positive multiple of 32, got 100"):
        Settings(imgsz=100)
    with pytest.raises(InputError, match="--flip must be between 0 and 1"):
        Settings(flip=2)
    settings = Settings(lr=0.02, assign="lead")
    assert Settings.from_dict({**settings.as_dict(), "later": 1}) == settings
    assert settings.differences(Settings(lr=0.02, workers=3)) == ["assign: lead there, own here"]


def test_device_that_is_not_there() -> None:
    assert pick_device("cpu") == CPU
    with pytest.raises(InputError, match="GPUs"):
        pick_device("cuda:77" if torch.cuda.is_available() else "cuda")
    with pytest.raises(InputError, match="number of a GPU"):
        pick_device("tpu")
    assert Group().leads
