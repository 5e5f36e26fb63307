"""Ours survives a round trip, published ones import, and everything else is refused in one line."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from edge_yolov9.checkpoint import FORMAT, Checkpoint, load, save
from edge_yolov9.checkpoint.recognize import recognize
from edge_yolov9.compiler import fold, prune
from edge_yolov9.errors import CheckpointError
from edge_yolov9.model import YOLOv9, build, published_tensors
from tests.conftest import DEMO
from tests.hostile import write_published
from tests.model.weights import filled

NAMES = ("café", "bus")
FACTS = {"training": {"epoch": 3, "data": "made up"}, "data_licence": "MIT"}


@pytest.fixture(scope="module")
def deployed() -> YOLOv9:
    return filled("gelan-t", 2)


@pytest.fixture(scope="module")
def saved(deployed: YOLOv9, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("saved") / "a.safetensors"
    save(Checkpoint(deployed, NAMES, (320, 416), FACTS), path)
    return path


@pytest.fixture(scope="module")
def published(deployed: YOLOv9, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_published(tmp_path_factory.mktemp("published") / "a.pt", deployed, list(NAMES))


def same(a: YOLOv9, b: YOLOv9, half: bool = False) -> bool:
    """Whether two models hold the same numbers, the second one's perhaps through float16."""
    ours, theirs = a.state_dict(), b.state_dict()
    return ours.keys() == theirs.keys() and all(
        torch.equal(value.half().float() if half and value.is_floating_point() else value, theirs[key])
        for key, value in ours.items()
    )


def refusal(path: Path) -> str:
    """The one line that :func:`load` refuses ``path`` with."""
    with pytest.raises(CheckpointError) as refused:
        load(path)
    assert path.name in str(refused.value)
    assert "\n" not in str(refused.value)
    return str(refused.value)


def test_a_round_trip_loses_nothing(saved: Path, deployed: YOLOv9) -> None:
    loaded = load(saved)
    assert (loaded.variant, loaded.names, loaded.input_size, loaded.facts) == ("gelan-t", NAMES, (320, 416), FACTS)
    assert not loaded.model.training
    assert same(deployed, loaded.model)


def test_half_precision_halves_the_file(saved: Path, tmp_path: Path) -> None:
    first = load(saved)
    save(first, tmp_path / "half.bin", half=True)  # the content decides, not the suffix
    again = load(tmp_path / "half.bin")
    assert same(first.model, again.model, half=True)
    assert {value.dtype for value in again.model.state_dict().values()} == {torch.float32, torch.int64}
    assert (tmp_path / "half.bin").stat().st_size < 0.6 * saved.stat().st_size


def test_the_file_holds_plain_metadata_and_our_names(saved: Path, deployed: YOLOv9) -> None:
    with safe_open(str(saved), framework="np") as file:
        metadata = file.metadata()
        assert set(file.keys()) == deployed.state_dict().keys()
    assert (metadata["format"], metadata["format_version"], metadata["variant"]) == (FORMAT, "1", "gelan-t")
    assert json.loads(metadata["names"]) == list(NAMES)
    assert (json.loads(metadata["input_size"]), json.loads(metadata["facts"])) == ([320, 416], FACTS)


def test_the_demo_model_is_a_training_graph() -> None:
    demo = load(DEMO)
    assert (demo.variant, demo.names, demo.input_size) == ("yolov9-t", ("RBC", "WBC", "Platelets"), (320, 320))
    assert demo.facts["training"]["accuracy"]["AP"] == 0.627459
    assert demo.facts["training"]["settings"]["epochs"] == 24


def test_a_header_whose_length_begins_like_a_pickle_is_read(deployed: YOLOv9, tmp_path: Path) -> None:
    path, padding = tmp_path / "a.safetensors", 0
    while True:
        save(Checkpoint(deployed, NAMES, (320, 416), {"note": "x" * padding}), path)
        if (first := path.read_bytes()[0]) == 0x80:
            break
        padding += (0x80 - first) % 256
    assert load(path).names == NAMES


def test_saving_is_whole_or_not_at_all(saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target, checkpoint = tmp_path / "kept.safetensors", load(saved)
    target.write_bytes(b"the old one")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("edge_yolov9.files.os.fsync", full)
    with pytest.raises(CheckpointError, match=r"cannot write .*kept.*: No space left"):
        save(checkpoint, target)
    assert [item.name for item in tmp_path.iterdir()] == ["kept.safetensors"]
    assert target.read_bytes() == b"the old one"


def test_saving_refuses_what_could_not_be_loaded(saved: Path, tmp_path: Path) -> None:
    checkpoint = load(saved)
    with pytest.raises(CheckpointError, match="do not fit gelan-t"):
        save(replace(checkpoint, model=fold(checkpoint.model)), tmp_path / "x")
    with pytest.raises(CheckpointError, match="do not fit gelan-t"):
        save(replace(checkpoint, names=("one", "two", "three")), tmp_path / "x")
    bias = dict(checkpoint.model.named_parameters())["head.cls.0.2.bias"]
    with torch.no_grad():
        bias[0] = 70000.0
        save(checkpoint, tmp_path / "full")
        with pytest.raises(CheckpointError, match=r"head\.cls\.0\.2\.bias is not finite in float16"):
            save(checkpoint, tmp_path / "x", half=True)
        bias[0] = float("nan")
    with pytest.raises(CheckpointError, match="not finite"):
        save(checkpoint, tmp_path / "x")
    assert [item.name for item in tmp_path.iterdir()] == ["full"]


@pytest.mark.filterwarnings("ignore:Couldn't retrieve source code")
@pytest.mark.parametrize("zipped", [True, False])
def test_a_published_file_imports(zipped: bool, deployed: YOLOv9, tmp_path: Path) -> None:
    options = {"imgsz": 410, "epochs": 80, "data": "coco.yaml", "hyp": {"lr0": 0.01}}
    path = write_published(tmp_path / "a.bin", deployed, {0: "café", 1: "bus"}, zipped=zipped, opt=options)
    loaded = load(path)
    assert (loaded.variant, loaded.names, loaded.input_size) == ("gelan-t", NAMES, (416, 416))
    assert loaded.facts["source"] == {"file": "a.bin", "format": "published", "weights": "model"}
    assert loaded.facts["training"] == {"imgsz": 410, "epochs": 80, "data": "coco.yaml"}
    assert same(deployed, loaded.model, half=True)
    json.dumps(loaded.facts)


def test_a_training_graph_imports_and_the_average_counts(tmp_path: Path) -> None:
    model, average = filled("yolov9-t", 2), filled("yolov9-t", 2)
    with torch.no_grad():
        for parameter in average.parameters():
            parameter.mul_(0.5)
    loaded = load(write_published(tmp_path / "a.pt", model, list(NAMES), ema=average, epoch=34))
    assert (loaded.variant, loaded.input_size) == ("yolov9-t", (640, 640))
    assert (loaded.facts["source"]["weights"], loaded.facts["training"]["epoch"]) == ("ema", 34)
    assert same(average, loaded.model, half=True)


@pytest.mark.parametrize("family", ["yolov9", "gelan"])
@pytest.mark.parametrize("size", "tsmce")
def test_the_variant_is_found_from_the_keys(family: str, size: str) -> None:
    with torch.device("meta"):
        tensors = published_tensors(build(f"{family}-{size}", 7))
    for some in (tensors, {key: value for key, value in tensors.items() if "num_batches_tracked" not in key}):
        graph = recognize(Path("x"), some)
        assert (graph.variant, graph.num_classes, graph.layout) == (f"{family}-{size}", 7, "published")
        assert (graph.prefix, graph.options.changed()) == ("model.", {})


def test_a_reversible_training_graph_imports(tmp_path: Path) -> None:
    model = filled("yolov9-m", 1)
    loaded = load(write_published(tmp_path / "a.pt", model, ["thing"]))
    assert loaded.variant == "yolov9-m"
    assert same(model, loaded.model, half=True)


@pytest.mark.parametrize(
    ("file", "variant", "size", "weights"),
    [
        ("bccd-yolov9-t.pt", "yolov9-t", 320, "model"),
        ("bccd-yolov9-t-converted.pt", "gelan-t", 640, "model"),
        ("bccd-yolov9-t-unfinished.pt", "yolov9-t", 320, "ema"),
    ],
)
def test_the_reference_files_import(file: str, variant: str, size: int, weights: str, shared: Path) -> None:
    loaded = load(shared / "checkpoints" / file)
    assert (loaded.variant, loaded.input_size) == (variant, (size, size))
    assert loaded.names == ("RBC", "WBC", "Platelets")
    assert loaded.facts["source"]["weights"] == weights


def test_training_and_converted_file_are_one_model(shared: Path) -> None:
    training = load(shared / "checkpoints" / "bccd-yolov9-t.pt").model
    converted = load(shared / "checkpoints" / "bccd-yolov9-t-converted.pt").model
    assert same(prune(training), converted)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "an empty file"),
        (b"\xff\xd8\xff\xe0\x00\x10JFIF" + bytes(99), "is a picture (JPEG)"),
        (b"\x08\x07\x12\x07pytorch" + bytes(99), "an ONNX model, which is already exported"),
        (b"names\ncat\ndog\n", "neither of the two known formats"),
        (b"classes\ncat\n.", "asks for lasses.cat"),
        (b"PK\x03\x04" + bytes(99), "truncated or damaged"),
        (b"\xff\x00\x00\x00\x00\x00\x00\x00{}", "truncated"),
        (b"\x02\x00\x00\x00\x00\x00\x00\x00{}", "holds another network, not a YOLOv9"),
        (b"\x02\x00\x00\x00\x00\x00\x00\x00{]", "truncated or damaged"),
        (pickle.dumps([1, 2], 2), "not a torch checkpoint"),
        (pickle.dumps({"model": None}, 4), "not a torch checkpoint"),
        (b"\x80\x02", "truncated or malformed"),
    ],
)
def test_foreign_files_are_refused(content: bytes, says: str, tmp_path: Path) -> None:
    path = tmp_path / "model.pt"
    path.write_bytes(content)
    assert says in refusal(path)


def test_missing_files_and_folders_are_refused(tmp_path: Path) -> None:
    assert "No such file" in refusal(tmp_path / "none.pt")
    (tmp_path / "folder.pt").mkdir()
    assert "is a folder" in refusal(tmp_path / "folder.pt")


@pytest.mark.parametrize("zipped", [True, False])
def test_another_network_in_a_torch_file_is_refused(zipped: bool, tmp_path: Path) -> None:
    path, old = tmp_path / "net.pt", not zipped
    for item, says in (
        ({"fc.weight": torch.zeros(2, 2)}, "not a YOLOv9"),
        ({"model": {"a": torch.zeros(1)}}, "not a YOLOv9"),
        (torch.zeros(3), "without a detection model"),
        ({"ema": 3}, "without a detection model"),
    ):
        torch.save(item, path, _use_new_zipfile_serialization=not old)
        assert says in refusal(path)


def test_a_flipped_bit_in_our_weights_is_seen(tmp_path: Path) -> None:
    """The file says what its weights hash to; one of before, which does not, opens."""
    file = tmp_path / "a.safetensors"
    save(load(DEMO), file)
    data = bytearray(file.read_bytes())
    for at in (len(data) // 2, len(data) - 1000):  # the lowest bit of a number stays finite
        data[at & ~3] ^= 1
        file.write_bytes(data)
        with pytest.raises(CheckpointError, match="its weights are not those of its digest"):
            load(file)
        data[at & ~3] ^= 1
    file.write_bytes(data)
    load(file)


@pytest.mark.filterwarnings("ignore:Couldn't retrieve source code")
@pytest.mark.parametrize("part", [0.1, 0.5, 0.9, 0.9999])
@pytest.mark.parametrize("kind", ["ours", "zip", "legacy"])
def test_truncated_files_are_refused(
    kind: str, part: float, saved: Path, published: Path, deployed: YOLOv9, tmp_path: Path
) -> None:
    whole = {"ours": saved, "zip": published, "legacy": tmp_path / "legacy.pt"}[kind]
    if kind == "legacy":
        write_published(whole, deployed, list(NAMES), zipped=False)
    data = whole.read_bytes()
    cut = tmp_path / "cut.pt"
    cut.write_bytes(data[: int(part * len(data))])
    refusal(cut)


def test_a_flipped_byte_in_a_published_file_is_noticed(published: Path, deployed: YOLOv9, tmp_path: Path) -> None:
    data = bytearray(published.read_bytes())
    weight = published_tensors(deployed)["model.9.cv1.conv.weight"].half().detach().numpy().tobytes()
    data[data.index(weight) + 100] ^= 0x10
    (tmp_path / "flipped.pt").write_bytes(data)
    assert "damaged" in refusal(tmp_path / "flipped.pt")


Change = Callable[[dict[str, Tensor], dict[str, str]], Any]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda t, m: m.update(format="diffusers"), "states no class names; give the 2 of them with --names or --data"),
        (lambda t, m: m.update(format_version="2"), "format '2', this edge-yolov9 reads up to 1"),
        (lambda t, m: m.pop("names"), "metadata is malformed (KeyError: 'names')"),
        (lambda t, m: m.update(names="[3"), "metadata is malformed (JSONDecodeError"),
        (lambda t, m: m.update(names="[]"), "names must be a list"),
        (lambda t, m: m.update(names='["a", 2]'), "names must be a list"),
        (lambda t, m: m.update(input_size="[300, 320]"), "two multiples of 32"),
        (lambda t, m: m.update(input_size="320"), "two multiples of 32"),
        (lambda t, m: m.update(facts="[]"), "facts must be an object"),
        (lambda t, m: m.update(variant="yolov9-x"), "unknown model 'yolov9-x'"),
        (lambda t, m: m.update(variant="yolov9-t"), "tensors do not fit yolov9-t"),
        (lambda t, m: m.update(names='["one"]'), "tensors do not fit gelan-t"),
        (lambda t, m: t.pop("head.cls.0.2.bias"), "1 tensors do not fit gelan-t"),
        (lambda t, m: t.update(more=torch.zeros(1)), "1 tensors do not fit gelan-t"),
        (lambda t, m: t.update({"head.cls.0.2.bias": torch.zeros(3)}), "among them head.cls.0.2.bias"),
        (lambda t, m: t["head.cls.0.2.bias"].fill_(float("inf")), "head.cls.0.2.bias holds NaN or infinity"),
    ],
)
def test_a_wrong_safetensors_file_is_refused(change: Change, says: str, saved: Path, tmp_path: Path) -> None:
    with safe_open(str(saved), framework="pt") as file:
        metadata = dict(file.metadata())
        tensors = {key: file.get_tensor(key).clone() for key in file.keys()}  # noqa: SIM118
    change(tensors, metadata)
    save_file(tensors, tmp_path / "wrong.safetensors", metadata)
    assert says in refusal(tmp_path / "wrong.safetensors")


def test_wrong_published_files_are_refused(deployed: YOLOv9, tmp_path: Path) -> None:
    path = tmp_path / "a.pt"
    for names, says in (
        (["one"], "1 class names for a head of 2 classes"),
        ({0: "a", 2: "b"}, "no class names"),
        ([1, 2.5], "the name of class 1 is a float; expected text"),
        (["a", "b\x1b[0m"], "the name of class 1 ('b\\x1b[0m') holds a control character"),
        (["\ud800", "b"], "holds half a character"),
        (["a", " "], "the name of class 1 is empty"),
        (["a", "b" * 300], "is 300 characters long"),
        (None, "no class names"),
    ):
        assert says in refusal(write_published(path, deployed, names))
    broken = filled("gelan-t", 2)
    with torch.no_grad():
        broken.head.cls[0][2].bias[1] = float("nan")  # type: ignore[index]
    assert "holds NaN or infinity" in refusal(write_published(path, broken, list(NAMES)))
    assert "not a YOLOv9" in refusal(write_published(path, fold(deployed), list(NAMES)))
