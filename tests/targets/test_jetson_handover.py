"""What a jetson bundle hands to other tools: trtexec, DeepStream, Polygraphy, Docker, systemd."""

from __future__ import annotations

import configparser
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from edge_yolov9.targets.jetson.graphs import handover

from edge_yolov9 import bundle as bundles
from edge_yolov9 import registry
from edge_yolov9.decode import DecodeOptions, Decoder
from tests.targets.jetson_machine import SIZE, portable
from tests.targets.jobs import make_bundle, make_job
from tests.targets.real_tensorrt import ROOT

JETSON = ROOT / "targets" / "jetson"
HERE = Path(__file__).parent


def lines(path: Path) -> list[str]:
    return [line for line in (path / handover.TRTEXEC).read_text().splitlines() if not line.startswith("#")]


def test_trtexec_lines_name_files_of_the_bundle(made: dict[str, Path]) -> None:
    for precision, path in made.items():
        old, typed, newest, *rest = (shlex.split(line) for line in lines(path))
        for line in (old, typed, newest, *rest):
            assert line[0] == "trtexec"
            options = dict(part.lstrip("-").partition("=")[::2] for part in line[1:])
            assert options["onnx"] in bundles.read(path).manifest.files
            assert options["memPoolSize"] == "workspace:1024"
            assert options["saveEngine"] == handover.ENGINE
        flags = {"int8": ["--int8", "--fp16"], "fp16": ["--fp16"], "fp32": []}[precision]
        assert [part for part in old if part in ("--int8", "--fp16")] == flags
        assert "--stronglyTyped" in typed
        assert not {"--stronglyTyped", "--int8", "--fp16"} & set(newest), "TensorRT 11 knows none of them"
        assert bool(rest) == (precision == "int8")


def test_trtexec_takes_the_dla_where_it_was_asked_for(tmp_path: Path) -> None:
    job = make_job(tmp_path, "fp16", size=SIZE, target="jetson", board="orin-nx", dla=True)
    bundle = make_bundle("jetson", job)
    assert "--useDLACore=0 --allowGPUFallback" in lines(bundle.path)[-1]


def test_trtexec_of_the_nano_has_its_own_line(tmp_path: Path) -> None:
    """NVIDIA's trtexec 8.2 does not know --memPoolSize and stops at what it does not know."""
    bundle = make_bundle("jetson", make_job(tmp_path, "fp16", size=SIZE, target="jetson", board="nano"))
    (line,) = [line for line in lines(bundle.path) if "--memPoolSize" not in line]
    assert line == (
        "trtexec --onnx=model.onnx --fp16 --saveEngine=model.engine --workspace=256 --timingCacheFile=timings.cache"
    )
    assert "# TensorRT 8.2 (JetPack 4.6, Jetson Nano)" in (bundle.path / handover.TRTEXEC).read_text()


DRIVER = """
#include <cstdlib>
#include <fstream>
#include "nvdsinfer_custom_impl.h"
extern "C" bool NvDsInferParseEdgeYolov9(std::vector<NvDsInferLayerInfo> const&, NvDsInferNetworkInfo const&,
    NvDsInferParseDetectionParams const&, std::vector<NvDsInferObjectDetectionInfo>&);
int main(int count, char** arguments) {  // threshold classes size, then per output: name file channels side
  const unsigned classes = std::atoi(arguments[2]), size = std::atoi(arguments[3]);
  std::vector<NvDsInferLayerInfo> layers;
  std::vector<std::vector<float>> data;
  for (int i = 4; i < count; i += 4) {
    const unsigned c = std::atoi(arguments[i + 2]), side = std::atoi(arguments[i + 3]);
    data.emplace_back(c * side * side);
    std::ifstream(arguments[i + 1], std::ios::binary).read((char*)data.back().data(), c * side * side * 4);
    layers.push_back({FLOAT, {3, {c, side, side}, c * side * side}, 0, arguments[i], data.back().data(), 0});
  }
  std::vector<NvDsInferObjectDetectionInfo> found;
  NvDsInferParseDetectionParams parameters{classes, std::vector<float>(classes, std::atof(arguments[1]))};
  if (!NvDsInferParseEdgeYolov9(layers, {size, size, 3}, parameters, found)) return 1;
  for (auto const& o : found)
    std::printf("%u %.6f %.4f %.4f %.4f %.4f\\n", o.classId, o.detectionConfidence, o.left, o.top, o.width, o.height);
}
"""


@pytest.fixture(scope="module")
def parser(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = shutil.which("g++")
    if compiler is None:
        pytest.skip("compiling the DeepStream parser needs g++")
    folder = tmp_path_factory.mktemp("deepstream")
    (folder / "driver.cpp").write_text("#include <cstdio>\n" + DRIVER)
    sources = [str(JETSON / "deepstream" / "parser.cpp"), str(folder / "driver.cpp")]
    flags = ["-std=c++14", "-O2", "-Wall", "-Wextra", "-Werror", "-Wno-unused-function", f"-I{HERE}"]
    subprocess.run([compiler, *flags, *sources, "-o", str(folder / "parser")], check=True)
    return folder / "parser"


def test_the_deepstream_parser_finds_the_decoders_boxes(parser: Path, made: dict[str, Path], tmp_path: Path) -> None:
    raw, outputs = portable(made["fp32"]), bundles.read(made["fp32"]).manifest.outputs
    command = [str(parser), "0.01", str(outputs[1].shape[1]), str(SIZE)]
    for spec, array in reversed(list(zip(outputs, raw, strict=True))):  # in any order
        array.astype(np.float32).tofile(tmp_path / spec.name)
        command += [spec.name, str(tmp_path / spec.name), str(spec.shape[1]), str(spec.shape[2])]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found = np.array([line.split() for line in done.stdout.splitlines()], float)
    options = DecodeOptions(confidence=0.01, iou=1.0, max_detections=10_000)
    boxes, scores, classes = Decoder((SIZE, SIZE))(raw, options)
    assert len(found) == len(boxes) > 10
    found = found[np.lexsort((found[:, 2], -found[:, 1].round(4)))]
    order = np.lexsort((boxes[:, 0], -scores.round(4)))
    np.testing.assert_array_equal(found[:, 0], classes[order])
    np.testing.assert_allclose(found[:, 1], scores[order], atol=1e-4)
    np.testing.assert_allclose(found[:, 2:4], boxes[order, :2], atol=1e-2)
    np.testing.assert_allclose(found[:, 2:4] + found[:, 4:], boxes[order, 2:], atol=1e-2)


def test_the_parser_refuses_another_models_outputs(parser: Path, tmp_path: Path) -> None:
    done = subprocess.run([str(parser), "0.5", "3", "96"], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "there is no float output box_p3" in done.stderr


@pytest.mark.parametrize("precision", ["int8", "fp16", "fp32"])
def test_the_deepstream_configuration_fits_the_bundle(precision: str, made: dict[str, Path]) -> None:
    config = configparser.ConfigParser(comment_prefixes="#")
    config.read(made[precision] / handover.DEEPSTREAM)
    manifest, part = bundles.read(made[precision]).manifest, config["property"]
    assert part["infer-dims"] == f"3;{SIZE};{SIZE}"
    assert int(part["num-detected-classes"]) == len(manifest.names)
    assert part["output-blob-names"].split(";") == [spec.name for spec in manifest.outputs]
    assert float(part["net-scale-factor"]) == pytest.approx(manifest.input.scaling)
    assert {"fp32": "0", "int8": "1", "fp16": "2"}[precision] == part["network-mode"]
    assert part["parse-bbox-func-name"] in (JETSON / "deepstream" / "parser.cpp").read_text()
    assert float(config["class-attrs-all"]["nms-iou-threshold"]) == manifest.thresholds.iou


def test_polygraphy_reads_the_graphs(made: dict[str, Path]) -> None:
    pytest.importorskip("polygraphy", reason="polygraphy is not installed")
    pytest.importorskip("onnx_graphsurgeon", reason="polygraphy needs onnx-graphsurgeon to show a graph")
    script = "import sys; from polygraphy.tools import main; sys.exit(main())"
    for name in ("model.onnx", "model_typed.onnx", "model_fp16.onnx"):
        command = [sys.executable, "-c", script, "inspect", "model", str(made["int8"] / name), "--show", "layers"]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
        assert re.search(r"1 Graph Input\(s\)[^}]*images \[dtype=float32, shape=\(1, 3, 96, 96\)\]", done.stdout)
        assert re.search(r"6 Graph Output\(s\)[^}]*class_p5 \[dtype=float32, shape=\(1, 3, 3, 3\)\]", done.stdout)
        pairs = len(re.findall(r"\[Op: QuantizeLinear\]", done.stdout))
        assert (pairs > 300) == (name != "model_fp16.onnx")


def releases() -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = dict(registry.profiles("jetson").releases)
    return found


@pytest.mark.parametrize("file", sorted((JETSON / "docker").glob("*.Dockerfile")), ids=lambda file: file.stem)
def test_every_dockerfile_installs_what_exists(file: Path, tmp_path: Path) -> None:
    """Its pip lines are resolved for 64-bit Arm and the release's Python, without downloading anything."""
    release = file.stem.removeprefix("jetpack-")
    text = file.read_text()
    assert releases()[release]["tensorrt"] in text
    python = releases()[release]["python"]
    for line in re.findall(r"^RUN python3 -m pip install (.*)$", text, re.MULTILINE):
        packages = [part for part in shlex.split(line) if re.fullmatch(r"[a-z-]+==[\d.]+", part)]
        if packages:
            resolve(packages, python, tmp_path)
    assert ("pip install" in text) == (python != "3.8")


def resolve(packages: list[str], python: str, target: Path) -> None:
    platforms = [f"--platform=manylinux{name}_aarch64" for name in ("2014", "_2_17", "_2_28")]
    options = ["--dry-run", "--no-deps", "--only-binary=:all:", f"--python-version={python}", f"--target={target}"]
    command = [sys.executable, "-m", "pip", "install", "--retries=0", "--timeout=15", *options, *platforms, *packages]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    if re.search(r"connection|network|timed out|temporary failure|proxy", done.stderr, re.IGNORECASE):
        pytest.skip("no package registry is reachable from here")
    assert done.returncode == 0, done.stderr
    for package in packages:
        assert package.replace("==", "-") in done.stdout.replace("_", "-")


def test_the_service_is_one_that_systemd_takes(tmp_path: Path) -> None:
    systemd = shutil.which("systemd-analyze")
    if systemd is None:
        pytest.skip("systemd-analyze is not here")
    text = (JETSON / "edge-yolov9-camera.service").read_text()
    unit = tmp_path / "edge-yolov9-camera.service"
    unit.write_text(text.replace("/opt/edge/bin/edge-yolov9", sys.executable))  # it wants the program to exist
    done = subprocess.run([systemd, "verify", "--man=no", str(unit)], capture_output=True, text=True, check=False)
    assert not [line for line in done.stderr.splitlines() if unit.name in line], done.stderr
    verbs = re.findall(r"^Exec\w+=\S+ (\w+ ?\w*)", text, re.MULTILINE)
    assert verbs == ["jetson build", "detect "]
    assert " --json /var/lib/edge-yolov9/detections.jsonl\n" in text, "a .json is kept in memory until the end"
