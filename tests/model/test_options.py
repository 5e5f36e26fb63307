"""Graphs that differ from the published ones: auxiliary kinds, blocks, depths."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import onnx
import pytest
import torch
from edge_yolov9.targets.jetson.graphs.half import to_half

from edge_yolov9.checkpoint import Checkpoint, load, save
from edge_yolov9.compiler import fold, prune
from edge_yolov9.compiler.export import export_onnx
from edge_yolov9.errors import CheckpointError, InputError
from edge_yolov9.model import RawHeads, build, published_tensors
from edge_yolov9.model.blocks import CSP, ELAN, Conv, Residual
from edge_yolov9.model.cost import parameters
from edge_yolov9.model.graph import AuxiliaryNeck, DeepSupervision, ReversibleBranch
from edge_yolov9.variants import AUXILIARIES, BLOCKS, GraphOptions

KINDS = {"pfh": DeepSupervision, "fpn": AuxiliaryNeck, "icn": ReversibleBranch}


@pytest.mark.parametrize("size", ["t", "c", "e"])
@pytest.mark.parametrize("kind", KINDS)
def test_every_auxiliary_kind_on_every_backbone(size: str, kind: str) -> None:
    with torch.device("meta"):
        model = build(f"yolov9-{size}", 2, GraphOptions(auxiliary=kind)).eval()
        main, auxiliary = model(torch.empty(1, 3, 64, 96))
        plain = build(f"gelan-{size}", 2)
    assert isinstance(model.auxiliary, KINDS[kind])
    shapes = [(1, 66, 8, 12), (1, 66, 4, 6), (1, 66, 2, 3)]
    assert [tuple(level.shape) for level in main] == [tuple(level.shape) for level in auxiliary] == shapes
    own = {key: value.shape for key, value in model.state_dict().items() if not key.startswith("auxiliary.")}
    assert own == {key: value.shape for key, value in plain.state_dict().items()}


def test_published_is_the_kind_of_the_variant() -> None:
    with torch.device("meta"):
        assert isinstance(build("yolov9-t").auxiliary, AuxiliaryNeck)
        assert isinstance(build("yolov9-c").auxiliary, ReversibleBranch)
        none = build("yolov9-t", options=GraphOptions(auxiliary="none"))
    assert none.auxiliary is None
    assert none.name == "gelan-t"


def test_the_auxiliary_head_teaches_what_it_hangs_on() -> None:
    torch.manual_seed(0)
    model = build("yolov9-t", 2, GraphOptions(auxiliary="pfh")).train()
    _, auxiliary = model(torch.rand(2, 3, 64, 64))
    torch.stack([level.square().sum() for level in auxiliary]).sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.backbone.parameters())
    assert all(p.grad is None for p in model.neck.parameters())


@pytest.mark.parametrize(("block", "kind"), [("conv", Conv), ("res", Residual), ("dark", Residual), ("csp", CSP)])
def test_blocks_and_depths(block: str, kind: type[torch.nn.Module]) -> None:
    model = build("gelan-t", 2, GraphOptions(block=block, elan_depth=3, csp_depth=2)).eval()
    elans = [module for module in model.modules() if isinstance(module, ELAN)]
    assert all(len(elan.stages) == 3 for elan in elans)
    assert isinstance(elans[0].stages[0], Conv)  # T's first ELAN is a plain one
    for stage in elans[1].stages:
        assert isinstance(stage[0], kind)
        assert len(stage) == (2 if block == "csp" else 3)
    if block == "csp":
        assert len(elans[1].stages[0][0].blocks) == 2
    if block == "dark":
        assert elans[1].stages[0][0].first.conv.weight.shape == (16, 32, 1, 1)
    images = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        before, after = model(images)[0], fold(model)(images)[0]
    assert not [m for m in fold(model).modules() if isinstance(m, torch.nn.BatchNorm2d)]
    for a, b in zip(before, after, strict=True):
        torch.testing.assert_close(a, b, atol=1e-3, rtol=0)


def test_depth_costs() -> None:
    with torch.device("meta"):
        counts = [parameters(build("gelan-s", options=GraphOptions(elan_depth=n))) for n in (1, 2, 3)]
        deep = parameters(build("gelan-s", options=GraphOptions(csp_depth=4)))
        published = parameters(build("gelan-s"))
        assert parameters(build("gelan-s", options=GraphOptions(csp_depth=3))) == published
    assert counts[0] < counts[1] == published < counts[2]
    assert deep > published


@pytest.mark.parametrize("auxiliary", AUXILIARIES)
@pytest.mark.parametrize("block", BLOCKS)
def test_a_checkpoint_remembers_its_options(auxiliary: str, block: str, tmp_path: Path) -> None:
    options = GraphOptions(auxiliary, block, 1, 1)
    model = build("yolov9-t", 2, options).eval()
    save(Checkpoint(model, ("a", "b"), (64, 64)), tmp_path / "own.safetensors")
    again = load(tmp_path / "own.safetensors").model
    images = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        for a, b in zip(model(images)[0], again(images)[0], strict=True):
            assert torch.equal(a, b)
    assert again.options == model.options
    pruned = prune(again)
    save(Checkpoint(pruned, ("a", "b"), (64, 64)), tmp_path / "pruned.safetensors")
    assert load(tmp_path / "pruned.safetensors").variant == "gelan-t"
    assert pruned.options.auxiliary == "published"


@pytest.mark.parametrize(("activation", "operator"), [("hardswish", "HardSwish"), ("relu6", "Clip")])
def test_a_cheap_activation_is_kept_and_exported_as_one_operator(
    activation: str, operator: str, tmp_path: Path
) -> None:
    silu = build("yolov9-t", 2).eval()
    model = build("yolov9-t", 2, GraphOptions(activation=activation)).eval()
    model.load_state_dict(silu.state_dict())  # the same tensors: a SiLU checkpoint can be fine-tuned
    save(Checkpoint(model, ("a", "b"), (64, 64)), tmp_path / "own.safetensors")
    again = load(tmp_path / "own.safetensors").model
    assert again.options.changed() == {"activation": activation}
    folded = fold(prune(again))
    assert not [module for module in folded.modules() if isinstance(module, torch.nn.SiLU)]
    exported = onnx.load(export_onnx(RawHeads(folded).eval(), (64, 64), tmp_path / "own.onnx"))
    graph = exported.graph
    kinds = Counter(node.op_type for node in graph.node)
    assert kinds[operator] == kinds["Conv"] - 6  # all but the heads' last
    assert not kinds.keys() & {"Sigmoid", "HardSigmoid", "Mul"}
    to_half(exported)  # checks the types of the jetson target's float16 flavour


def test_what_was_not_published_has_no_published_names() -> None:
    with torch.device("meta"):
        model = build("yolov9-t", 2, GraphOptions(block="res"))
    with pytest.raises(CheckpointError, match="never published"):
        published_tensors(model)


@pytest.mark.parametrize(
    "options",
    [
        {"auxiliary": "pan"},
        {"block": "vgg"},
        {"activation": "gelu"},
        {"elan_depth": 0},
        {"csp_depth": 17},
        {"csp_depth": 1.5},
    ],
)
def test_options_that_no_graph_has(options: dict[str, object]) -> None:
    with pytest.raises(InputError, match=r"expected one of|must be 1 to 16"):
        GraphOptions(**options)  # type: ignore[arg-type]


@pytest.mark.parametrize("text", ['{"colour": "red"}', '{"block": "vgg"}', "[1]", "{"])
def test_a_checkpoint_with_unknown_options_is_refused(text: str, tmp_path: Path) -> None:
    from safetensors import safe_open
    from safetensors.torch import save_file

    good, bad = tmp_path / "good.safetensors", tmp_path / "bad.safetensors"
    save(Checkpoint(build("gelan-t", 2).eval(), ("a", "b"), (64, 64)), good)
    with safe_open(str(good), framework="pt") as file:
        metadata = {**file.metadata(), "options": text}
        save_file({key: file.get_tensor(key) for key in file.keys()}, bad, metadata)  # noqa: SIM118
    with pytest.raises(CheckpointError, match="options"):
        load(bad)
