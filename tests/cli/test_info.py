"""``info`` says what is in a checkpoint or bundle, to people and to programs."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from edge_yolov9 import bundle as bundles
from edge_yolov9.bundle import InputRule, Manifest, TensorSpec
from edge_yolov9.bundle.record import AttemptRecord, CompilationRecord, LatencyRecord, PlanRecord, SearchRecord
from edge_yolov9.checkpoint import Checkpoint, save
from edge_yolov9.cli import main
from edge_yolov9.model import build
from tests.conftest import DEMO


def run(*words: str | Path) -> str:
    result = CliRunner().invoke(main, ["info", *(str(word) for word in words)])
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """A sealed bundle whose model file is 3 MB of nothing."""
    outputs = tuple(
        TensorSpec(f"{kind}_p{level}", (1, channels, side, side), "int8", "NCHW", 0.1, 0)
        for level, side in ((3, 40), (4, 20), (5, 10))
        for kind, channels in (("box", 64), ("class", 2))
    )
    manifest = Manifest(
        variant="gelan-t",
        names=("bus", "tram\x1b[31m"),
        target="openvino",
        board="cpu",
        precision="int8",
        input=InputRule(TensorSpec("images", (1, 320, 320, 3), "uint8", "NHWC"), 320, 320, color="BGR"),
        outputs=outputs,
        model="model.xml",
        tools={"openvino": "2026.4", "nncf": "3.4"},
        calibration={"images": 128, "digest": "abc123", "rule": "every second"},
        parity={"images": 8, "tensors": {"box_p3": {"max_abs": 0.25, "sqnr_db": 31.5}}, "boxes": {"float": 90}},
        accuracy={"data": "bccd.yaml", "float": {"AP": 0.6068}, "artifact": {"AP": 0.6038}, "drop_points": 0.3},
        source={"file": "a.pt", "facts": {"epoch": 3}},
        licence={"weights": "not stated", "data": "MIT"},
        compilation=CompilationRecord(
            plan=PlanRecord("mse", {"mse": 0.02}, 63, False, 0, 0, True, 0, ("stem", "neck.0"), {}),
            search=SearchRecord(
                (AttemptRecord("mse", 1.5, 0), AttemptRecord("mse", 0.2, 2)),
                latency=LatencyRecord("openvino", 5.29, 5.5, 4.0),
            ),
        ),
    )
    folder = tmp_path / "bundle"
    with bundles.writing(folder) as draft:
        (draft / "model.xml").write_text("<net/>")
        (draft / "model.bin").write_bytes(bytes(3_000_000))
        bundles.seal(draft, manifest)
    return folder


def test_a_checkpoint_for_people() -> None:
    text = run(DEMO)
    for words in (
        "yolov9-t",
        "3: RBC, WBC, Platelets",
        "320 x 320",
        "training     2.7M parameters, 10.8 GFLOPs at 640 x 640, 2.7 at 320 x 320",
        "deployed     1.9M parameters, 7.1 GFLOPs at 640 x 640, 1.8 at 320 x 320",
        "AP 0.6275",
        "MIT (BCCD)",
    ):
        assert words in text


def test_a_checkpoint_for_programs(tmp_path: Path) -> None:
    assert "yolov9-t" in run(DEMO, "--json", tmp_path / "a.json")
    found = json.loads((tmp_path / "a.json").read_text())
    assert found == json.loads(run(DEMO, "--json", "-"))
    assert (found["kind"], found["variant"], found["bytes"]) == ("checkpoint", "yolov9-t", DEMO.stat().st_size)
    assert found["names"] == ["RBC", "WBC", "Platelets"]
    assert found["input_size"] == {"height": 320, "width": 320}
    assert set(found["cost"]) == {"training", "deployed"}
    assert found["cost"]["deployed"]["gflops_640"] == pytest.approx(4 * found["cost"]["deployed"]["gflops"], rel=1e-3)
    assert found["facts"]["training"]["accuracy"]["AP"] == 0.627459


def test_the_published_figures_at_80_classes(tmp_path: Path) -> None:
    names = tuple(f"class {i}" for i in range(80))
    save(Checkpoint(build("gelan-s"), names, (640, 640)), tmp_path / "s.safetensors", half=True)
    text = run(tmp_path / "s.safetensors")
    assert "deployed     7.1M parameters, 26.4 GFLOPs at 640 x 640\n" in text
    assert "none stated" in text


def test_a_bundle_for_people(bundle: Path) -> None:
    text = run(bundle)
    for words in (
        "(bundle, 3.00 MB)",
        "2: bus, tram?[31m",
        "openvino, board cpu, precision int8",
        "uint8 NHWC BGR, 1 x 320 x 320 x 3",
        "model.bin, 3.00 MB",
        "AP 0.6038",
        "max_abs 0.25, sqnr_db 31.5",
        "images 128, digest abc123",
        "openvino 2026.4, nncf 3.4",
        "weights not stated, data MIT",
        "epoch 3",
        "ranges     mse",
        "float layers stem, neck.0",
        "attempts   2",
        "ms 5.5, cost_percent 4",
    ):
        assert words in text
    assert "\x1b" not in text


def test_a_bundle_for_programs(bundle: Path) -> None:
    found = json.loads(run(bundle, "--json", "-"))
    assert (found["kind"], found["target"], found["precision"]) == ("bundle", "openvino", "int8")
    assert found["sizes"] == {"model.bin": 3_000_000, "model.xml": 6}
    assert found["bytes"] == 3_000_006
    assert found["accuracy"]["drop_points"] == 0.3
    assert found["input_size"] == {"height": 320, "width": 320}
    assert found["tools"] == {"openvino": "2026.4", "nncf": "3.4"}
    assert found["outputs"][0]["name"] == "box_p3"


def test_a_bundle_needs_no_torch(bundle: Path) -> None:
    program = (
        "import sys\n"
        "from edge_yolov9.cli import main\n"
        "main(['info', sys.argv[1]], standalone_mode=False)\n"
        "assert not {'torch', 'onnx', 'safetensors', 'openvino'} & set(sys.modules), 'loaded too much'\n"
    )
    done = subprocess.run([sys.executable, "-c", program, str(bundle)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "openvino, board cpu" in done.stdout


@pytest.mark.parametrize(
    ("name", "says"), [("nothing.pt", "there is nothing at"), ("folder", "holds no manifest.json"), ("a.pt", "neither")]
)
def test_what_is_neither_gets_one_line(name: str, says: str, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "a.pt").write_bytes(b"just some text")
    result = CliRunner().invoke(main, ["info", str(tmp_path / name), "--json", str(tmp_path / "out.json")])
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: ")
    assert says in result.stderr
    assert result.stderr.count("\n") == 1
    assert not (tmp_path / "out.json").exists()
