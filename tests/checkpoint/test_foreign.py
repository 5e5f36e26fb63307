"""Weights of other programs open, compute what they computed, and nothing of their files is run."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from safetensors.torch import save_file

from edge_yolov9.checkpoint import Checkpoint, load, save
from edge_yolov9.checkpoint.recognize import recognize
from edge_yolov9.cli import main
from edge_yolov9.compiler import fold, prune
from edge_yolov9.errors import CheckpointError, UnsafeCheckpointError
from edge_yolov9.model import RawHeads, YOLOv9, build
from edge_yolov9.model.heads import branch_widths
from edge_yolov9.model.layouts import LAYOUTS
from edge_yolov9.train.finetune import take_over
from edge_yolov9.variants import GraphOptions
from tests.checkpoint import foreign
from tests.test_unpickle import attacks

NAMES = ("cat", "dog")
FILES = {
    "ultralytics-yolov9t.pt": ("gelan-t", "Ultralytics", "ultralytics-yolov9t"),
    "mit-yolo-v9-t.pt": ("yolov9-t", "MIT YOLO", "mit-yolo-v9-t"),
    "mit-yolo-v9-t-lightning.ckpt": ("yolov9-t", "MIT YOLO", "mit-yolo-v9-t"),
    "libreyolo9t.pt": ("gelan-t", "LibreYOLO", "libreyolo9t"),
}


@pytest.mark.parametrize("name", list(FILES))
def test_raw_maps_are_those_that_the_other_program_recorded(name: str, shared: Path) -> None:
    variant, program, recording = FILES[name]
    read = load(shared / "foreign" / name, ("RBC", "WBC", "Platelets"))
    assert (read.variant, read.facts["source"]["format"]) == (variant, program)
    assert read.names == ("RBC", "WBC", "Platelets")
    recorded = np.load(shared / "foreign" / f"{recording}.io.npz")
    image = torch.from_numpy(recorded["image_bgr"][..., ::-1].copy()).permute(2, 0, 1)[None].float() / 255
    with torch.no_grad():
        maps = RawHeads(read.model)(image)
    for key, ours in zip(("box_p3", "class_p3", "box_p4", "class_p4", "box_p5", "class_p5"), maps, strict=True):
        theirs = recorded[key]
        assert np.abs(ours.numpy() - theirs).max() < 1e-4 * np.ptp(theirs), key


def test_a_real_training_of_ultralytics_is_read_whole(shared: Path) -> None:
    read = load(shared / "foreign" / "ultralytics-bccd-yolov9t.pt")
    source = read.facts["source"]
    assert (source["weights"], source["version"], source["licence"]) == ("ema", "8.4.190", "AGPL-3.0")
    assert (source["left"], read.facts["weights_licence"]) == ("optimizer", "AGPL-3.0")
    assert (read.input_size, read.model.options) == ((320, 320), GraphOptions(head="dense"))


def same(path: Path, model: YOLOv9, names: tuple[str, ...] | None = None) -> Checkpoint:
    """The checkpoint that a file opens as, whose numbers must be those of ``model`` through float16."""
    read = load(path, names)
    mine, theirs = model.state_dict(), read.model.state_dict()
    assert mine.keys() == theirs.keys()
    for key, value in mine.items():
        expected = value.half().float() if value.is_floating_point() else value
        assert torch.equal(expected, theirs[key]), key
    return read


@pytest.mark.parametrize("under", ["model", "ema"])
def test_ultralytics(under: str, tmp_path: Path) -> None:
    model = foreign.graph("gelan-t", 2, head="dense")
    read = same(foreign.ultralytics(tmp_path / "a.pt", model, {0: "cat", 1: "dog"}, under), model)
    assert (read.names, read.input_size) == (NAMES, (320, 320))
    assert read.facts["training"]["data"] == "cells.yaml"
    assert read.facts["source"] == {
        "file": "a.pt",
        "format": "Ultralytics",
        "weights": under,
        "version": "8.4.190",
        "licence": "AGPL-3.0",
    }


def test_libreyolo_with_and_without_auxiliary_branch(tmp_path: Path) -> None:
    for name in ("gelan-t", "yolov9-t"):
        model = foreign.graph(name, 2)
        read = same(foreign.libreyolo(tmp_path / "a.pt", model, {0: "cat", 1: "dog"}), model)
        assert (read.names, read.input_size, read.facts["letterbox"]) == (NAMES, (416, 416), "topleft")


@pytest.mark.parametrize("size", "mc")
def test_libreyolo_keeps_parts_of_a_branch_of_mit_yolo_that_are_not_read(size: str, tmp_path: Path) -> None:
    """Seen in what LibreYOLO 1.6 converts of MIT YOLO's M and C: aux.spp is a CBLinear, and there is no aux_head."""
    model = foreign.graph(f"gelan-{size}", 2)
    more = {"aux.spp.conv.weight": torch.zeros(8, 8, 1, 1), "aux.elan_a4.bn.running_var": torch.ones(8)}
    torch.save({"model": foreign.tensors(model, "libre") | more, "names": NAMES}, tmp_path / "a.pt")
    assert same(tmp_path / "a.pt", model).variant == f"gelan-{size}"


def test_libreyolo_states_height_and_width_where_they_differ(tmp_path: Path) -> None:
    file = foreign.libreyolo(tmp_path / "a.pt", foreign.graph("gelan-t", 2), NAMES, imgsz_h=256, imgsz_w=416)
    assert load(file).input_size == (256, 416)


def test_mit_yolo_has_names_only_where_its_configuration_has_come_along(tmp_path: Path) -> None:
    model = foreign.graph("yolov9-t", 2)
    bare = foreign.mit_yolo(tmp_path / "a.pt", model)
    with pytest.raises(CheckpointError, match=r"states no class names; give the 2 of them with --names or --data"):
        load(bare)
    assert same(bare, model, NAMES).facts["source"]["names"] == "given, the file states none"
    assert load(bare, unnamed=True).names == ("class 0", "class 1")
    with pytest.raises(CheckpointError, match="3 class names for a head of 2 classes"):
        load(bare, ("a", "b", "c"))
    read = same(foreign.lightning(tmp_path / "b.ckpt", foreign.graph("yolov9-t", 2), NAMES, ema=model), model)
    assert (read.names, read.input_size) == (NAMES, (256, 320))
    assert read.facts["source"]["weights"] == "state_dict, ema.model"


@pytest.mark.parametrize("wrap", [lambda t: t, lambda t: {"model": t}, lambda t: {"model_state_dict": t}])
def test_bare_state_dicts_of_the_published_layout(wrap: Callable[[Any], Any], tmp_path: Path) -> None:
    model = foreign.graph("yolov9-t", 2)
    torch.save(wrap(foreign.tensors(model, "published", "module.")), tmp_path / "a.pt")
    same(tmp_path / "a.pt", model, NAMES)


@pytest.mark.parametrize("layout", ["published", "mit", "libre", "own"])
def test_safetensors_of_every_layout(layout: str, tmp_path: Path) -> None:
    model = foreign.graph("gelan-t", 2)
    save_file(foreign.tensors(model, layout), tmp_path / "a.safetensors")
    same(tmp_path / "a.safetensors", model, NAMES)


@pytest.mark.parametrize("size", "tsmce")
def test_every_size_is_told_by_its_keys_and_shapes(size: str) -> None:
    cases = [
        ("published", f"{family}-{size}", head) for family in ("gelan", "yolov9") for head in ("published", "dense")
    ]
    if size != "e":
        cases += [("mit", f"gelan-{size}", "published"), ("mit", f"yolov9-{size}", "published")]
        cases += [("libre", f"gelan-{size}", "published")]
    for layout, name, head in cases:
        with torch.device("meta"):
            keys = LAYOUTS[layout](build(name, 91, GraphOptions(head=head)))
        graph = recognize(Path("x"), keys)
        assert (graph.layout, graph.variant, graph.num_classes, graph.options.head) == (layout, name, 91, head)
        assert graph.options.auxiliary == "published"
        assert graph.keys(keys).keys() == keys.keys()


@pytest.mark.parametrize(("classes", "width"), [(1, 64), (3, 64), (80, 80), (110, 100), (200, 100)])
def test_the_dense_head_has_the_widths_that_ultralytics_gives_it(classes: int, width: int) -> None:
    """Seen in models that Ultralytics 8.4 builds of yolov9t."""
    assert branch_widths(64, classes, "dense") == (64, width)
    assert branch_widths(256, classes, "dense") == (64, 256)


def test_the_dense_head_prunes_folds_and_is_kept_in_our_file(tmp_path: Path) -> None:
    model = foreign.graph("yolov9-t", 2, head="dense")
    save(Checkpoint(model, NAMES, (64, 64)), tmp_path / "a.safetensors")
    kept = load(tmp_path / "a.safetensors").model
    assert kept.options == GraphOptions(head="dense")
    image = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        for ours, folded in zip(kept(image)[0], fold(prune(kept))(image)[0], strict=True):
            torch.testing.assert_close(ours, folded, rtol=1e-3, atol=1e-3)


def test_folded_weights_compute_the_same_and_are_not_trained(tmp_path: Path) -> None:
    """With the new ``forward`` of a layer pickled by ``getattr``, as Ultralytics' ``fuse`` leaves it."""
    model = foreign.graph("gelan-t", 2, head="dense").double()
    file = foreign.ultralytics(tmp_path / "a.pt", model, NAMES, "model", fuse=True)
    read, image = load(file), torch.rand(1, 3, 64, 64)
    assert "folded" in read.facts["source"]["batchnorm"]
    with torch.no_grad():
        for mine, theirs in zip(model(image.double())[0], read.model(image)[0], strict=True):
            assert (mine - theirs).abs().max() < 1e-4 * (mine.max() - mine.min())
    with pytest.raises(CheckpointError, match="its BatchNorm is folded into the convolutions"):
        take_over(build("gelan-t", 2, GraphOptions(head="dense")), file, NAMES)


def test_models_inside_other_modules_are_found_with_their_names(tmp_path: Path) -> None:
    """``torch.save(YOLO(...))``, and a model that several GPUs trained, saved whole."""
    model = foreign.graph("gelan-t", 2, head="dense")
    for wrapper in ("YOLO", "DataParallel"):
        file = foreign.ultralytics(tmp_path / "a.pt", model, NAMES, whole=wrapper)
        assert (same(file, model).names, load(file).input_size) == (NAMES, (320, 320))


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "_orig_mod.module.model.", "student."])
def test_state_dicts_of_wrapped_models(prefix: str, tmp_path: Path) -> None:
    model = foreign.graph("gelan-t", 2, head="dense")
    torch.save({"state_dict": foreign.tensors(model, "published", prefix)}, tmp_path / "a.pt")
    same(tmp_path / "a.pt", model, NAMES)


def test_convert_keeps_it_and_info_says_whose_it_is(tmp_path: Path) -> None:
    model = foreign.graph("gelan-t", 2, head="dense")
    file = foreign.ultralytics(tmp_path / "a.pt", model, {0: "x", 1: "y"}, optimizer={"state": {}})
    out = tmp_path / "b.safetensors"
    done = CliRunner().invoke(main, ["convert", str(file), "--names", "cat, dog", "-o", str(out)])
    assert done.exit_code == 0, done.output
    assert "gelan-t, 2 classes, from a.pt (Ultralytics 8.4.190)" in done.output
    assert "licence of the weights: AGPL-3.0" in done.output
    assert same(out, model).names == NAMES
    told = CliRunner().invoke(main, ["info", str(file)])
    assert "format Ultralytics, weights ema, version 8.4.190, licence AGPL-3.0, left optimizer" in told.output
    again = CliRunner().invoke(main, ["convert", str(file), "-o", str(file)])
    assert again.exit_code == 1
    assert load(file).names == ("x", "y")


def dressed(program: str, file: Path, payload: bytes) -> Path:
    """A file of a program with a hostile pickle, whole, among what the program keeps."""
    model, marker = foreign.graph("gelan-t", 2), "marker-of-the-test"
    if program == "Ultralytics":
        foreign.ultralytics(file, model, NAMES, extra=marker)
    elif program == "Ultralytics, train_args":
        foreign.ultralytics(file, model, NAMES, train_args={"data": marker})
    elif program == "LibreYOLO":
        foreign.libreyolo(file, model, NAMES, config=marker)
    elif program == "MIT YOLO":
        foreign.mit_yolo(file, model, note=marker)
    else:
        foreign.lightning(file, model, NAMES, callbacks={"c": marker})
    with zipfile.ZipFile(file) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    (name,) = (name for name in parts if name.endswith("/data.pkl"))
    text = b"X" + len(marker).to_bytes(4, "little") + marker.encode()
    assert parts[name].count(text) == 1
    body = payload.removeprefix(b"\x80\x02").removeprefix(b"\x80\x04").removesuffix(b".")
    parts[name] = parts[name].replace(text, body)
    with zipfile.ZipFile(file, "w") as archive:
        for part, data in parts.items():
            archive.writestr(part, data)
    return file


DRESSES = ("Ultralytics", "Ultralytics, train_args", "LibreYOLO", "MIT YOLO", "Lightning")


@pytest.mark.parametrize("program", DRESSES)
def test_files_dressed_as_those_of_a_program_run_nothing(program: str, tmp_path: Path) -> None:
    sign = tmp_path / "sign"
    for payload, named in attacks(sign).values():
        with pytest.raises(UnsafeCheckpointError, match=r"Do not use this file") as refusal:
            load(dressed(program, tmp_path / "evil.pt", payload), NAMES)
        assert named in str(refusal.value)
        assert not sign.exists()


@pytest.mark.parametrize(
    "name", [b"ultralytics.utils.checks\ncheck_requirements", b"ultralytics\nos.system", b"yolo.utils\nsystem"]
)
def test_functions_of_a_known_program_are_refused(name: bytes, tmp_path: Path) -> None:
    (tmp_path / "evil.pt").write_bytes(b"\x80\x02c" + name + b"\nX\x01\x00\x00\x00a\x85R.")
    with pytest.raises(UnsafeCheckpointError, match=r"refused, nothing was run\. Do not use this file"):
        load(tmp_path / "evil.pt")


@pytest.mark.parametrize(
    "payload",
    [
        b"\x80\x02cbuiltins\ngetattr\nX\x01\0\0\0aX\x07\0\0\0forward\x86R.",
        b"\x80\x02cbuiltins\ngetattr\ncultralytics.nn.tasks\nDetectionModel\n)\x81X\x09\0\0\0__class__\x86R.",
        b"\x80\x02cbuiltins\ngetattr\ncultralytics.nn.tasks\nDetectionModel\nX\x07\0\0\0forward\x86R.",
        b"\x80\x02cbuiltins\ngetattr\ncultralytics.nn.tasks\nDetectionModel\n)\x81X\x07\0\0\0forward\x86R)R.",
    ],
)
def test_getattr_names_the_forward_of_a_layer_and_nothing_else(payload: bytes, tmp_path: Path) -> None:
    """Neither of text, of another attribute or of a class; and what it names is not called."""
    (tmp_path / "evil.pt").write_bytes(payload)
    with pytest.raises(UnsafeCheckpointError, match=r"getattr|calls something that is no class"):
        load(tmp_path / "evil.pt")
