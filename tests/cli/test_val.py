import json
import shutil

import pytest
import torch
from click.testing import CliRunner

from edge_yolov9.cli import main
from edge_yolov9.registry import TARGETS
from edge_yolov9.scoring.accuracy import FIGURES
from tests.conftest import DATA, DEMO, PICTURES


def val(*words):
    return CliRunner().invoke(main, ["val", *map(str, words)])


@pytest.fixture(autouse=True)
def one_thread():
    """PyTorch's threads wait for each other: on a busy machine two are eight times slower than one."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def few(tmp_path):
    """DATA with the first eight images of BCCD val and their labels."""
    root = tmp_path / "few"
    labels = PICTURES.parents[1] / "labels" / "val"
    for kind in ("images", "labels"):
        (root / kind).mkdir(parents=True)
    for file in sorted(PICTURES.iterdir())[:8]:
        shutil.copy(file, root / "images")
        shutil.copy(labels / f"{file.stem}.txt", root / "labels")
    (root / "data.yaml").write_text("val: images\nnames: [RBC, WBC, Platelets]\n")
    return root / "data.yaml"


@pytest.mark.slow
def test_the_demo_checkpoint_on_bccd(tmp_path):
    result = val(DEMO, "--data", DATA, "--json", tmp_path / "out.json")
    assert result.exit_code == 0, result.output
    data = json.loads((tmp_path / "out.json").read_text())
    assert data["AP"] == pytest.approx(0.6275, abs=0.003)
    assert set(FIGURES) < set(data)
    assert [entry["name"] for entry in data["classes"]] == ["RBC", "WBC", "Platelets"]
    assert (data["images"], data["input_size"], data["kind"]) == (72, [320, 320], "checkpoint")
    published = {"confidence": 0.001, "iou": 0.7, "max_detections": 300, "multi_label": True, "class_agnostic": False}
    assert data["settings"] == published
    assert f"AP     {data['AP']:.4f}" in result.stdout


@pytest.mark.slow
def test_compiling_with_data_shows_what_each_class_lost(few, tmp_path):
    words = ("compile", DEMO, "--target", "onnx", "--precision", "fp32", "--data", few, "-o", tmp_path / "bundle")
    result = CliRunner().invoke(main, [str(word) for word in words])
    assert result.exit_code == 0, result.output
    accuracy = json.loads((tmp_path / "bundle" / "manifest.json").read_text())["accuracy"]
    assert accuracy["losing_classes"] == {}
    lines = [line.split() for line in result.stderr.splitlines()]
    for place, name in enumerate(("RBC", "WBC", "Platelets")):
        ap = accuracy["float"]["classes"][place]["AP"]
        assert ["AP", "of", name, f"{ap:.4f}", f"{ap:.4f}", "+0.00"] in lines
    assert f"AP {accuracy['float']['AP']:.4f} -> {accuracy['artifact']['AP']:.4f} on data.yaml" in result.stdout


def test_a_bundle_agrees_with_its_checkpoint(compiled, few):
    figures = []
    for model in (DEMO, compiled("openvino", "fp32")):
        result = val(model, "--data", few, "--json", "-")
        assert result.exit_code == 0, result.output
        figures.append(json.loads(result.stdout))
        assert "AP50" in result.stderr
    checkpoint, bundle = figures
    assert (bundle["kind"], bundle["target"], bundle["runtime"]) == ("bundle", "openvino", "openvino")
    assert bundle["AP"] == pytest.approx(checkpoint["AP"], abs=0.003)
    assert bundle["AP"] > 0.4


@pytest.mark.skipif(TARGETS["jetson"].runtime is not None, reason="TensorRT is installed here: there is no fall-back")
def test_a_jetson_bundle_without_tensorrt_says_how_it_is_measured(compiled, few, tmp_path):
    result = val(compiled("jetson", "fp32"), "--data", few, "--json", tmp_path / "out.json")
    assert result.exit_code == 0, result.output
    data = json.loads((tmp_path / "out.json").read_text())
    assert (data["target"], data["runtime"]) == ("jetson", "onnx")
    assert "ONNX Runtime" in data["note"]
    assert data["note"] in result.stderr
    assert data["AP"] > 0.4


@pytest.mark.slow
def test_the_quantized_jetson_graph_keeps_the_ap(compiled):
    figures = []
    for precision in ("fp32", "int8"):
        result = val(compiled("jetson", precision), "--data", DATA, "--runtime", "onnx", "--json", "-")
        assert result.exit_code == 0, result.output
        figures.append(json.loads(result.stdout)["AP"])
    assert figures[0] > 0.6
    assert figures[1] > figures[0] - 0.01


def test_imgsz_and_thresholds(few):
    result = val(DEMO, "--data", few, "--imgsz", "256x320", "--confidence", 0.3, "--max-detections", 5, "--json", "-")
    assert result.exit_code == 0, result.output
    data = json.loads(result.stdout)
    assert data["input_size"] == [256, 320]
    assert data["settings"]["max_detections"] == 5
    assert 0 < data["AP"] < 0.4  # five boxes cannot cover a dozen cells


def test_bad_input_is_one_line(compiled, few, tmp_path):
    bundle = compiled("openvino", "fp32")
    (tmp_path / "names.yaml").write_text(few.read_text().replace("WBC", "White").replace("val: ", "path: few\nval: "))
    (tmp_path / "lab.yaml").write_text("names: [RBC, WBC, Platelets]\nval: few/images\n")
    label = next(iter(sorted((few.parent / "labels").iterdir())))
    cases = [
        ((tmp_path / "gone.pt", "--data", few), "nothing at"),
        ((few, "--data", few), "expected the checkpoint it was made from"),
        ((few.parent, "--data", few), "not a bundle"),
        ((DEMO, "--data", tmp_path / "gone.yaml"), "cannot read the data file"),
        ((DEMO, "--data", few, "--split", "test"), "no split 'test'"),
        ((DEMO, "--data", tmp_path / "names.yaml"), "[RBC, White, Platelets]"),
        ((bundle, "--data", tmp_path / "names.yaml"), "differ from class 1 on"),
        ((DEMO, "--data", few, "--imgsz", "300"), "multiple of 32"),
        ((bundle, "--data", few, "--imgsz", "320"), "--imgsz is for checkpoints"),
        ((DEMO, "--data", few, "--runtime", "onnx"), "--runtime is for bundles"),
        ((DEMO, "--data", few, "--iou", "2"), "iou must be a number in"),
        ((DEMO, "--data", few, "--json", tmp_path), "name a file"),
    ]
    for words, message in cases:
        result = val(*words)
        assert result.exit_code == 1, (words, result.output)
        assert isinstance(result.exception, SystemExit)
        assert message in result.stderr
        assert result.stderr.count("Error:") == 1
        assert result.stdout == ""
    label.write_text("0 0.5 0.5 0.5\n")
    result = val(DEMO, "--data", tmp_path / "lab.yaml", "--json", tmp_path / "out.json")
    assert result.exit_code == 1
    assert f"{label.name}:1: expected class x y width height, found 4 values" in result.stderr
    assert not (tmp_path / "out.json").exists()
