"""What a bundle carries for NVIDIA's own tools: the trtexec lines of every version, and a DeepStream configuration.

DeepStream needs an output parser, because the graph ends at raw maps: ``deepstream/parser.cpp`` here, compiled on the
device (``deepstream/README.md``).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from edge_yolov9.bundle import TensorSpec, Thresholds

from ..names import Extra

TRTEXEC = "trtexec.txt"
DEEPSTREAM = "deepstream.txt"
ENGINE = "model.engine"

FLAGS = {"fp32": "", "fp16": " --fp16", "int8": " --int8 --fp16"}
MODES = {"fp32": 0, "int8": 1, "fp16": 2}
"""DeepStream's network-mode."""


def write(
    folder: Path,
    extra: Extra,
    precision: str,
    size: tuple[int, int],
    outputs: Sequence[TensorSpec],
    old: bool,
) -> None:
    """Both files, into a bundle's folder; ``old`` for a board that ends before TensorRT 8.5."""
    (folder / TRTEXEC).write_text(trtexec(extra, precision, old), encoding="utf-8")
    (folder / DEEPSTREAM).write_text(deepstream(extra, precision, size, outputs), encoding="utf-8")


def trtexec(extra: Extra, precision: str, old: bool) -> str:
    """One line per range of TensorRT versions, to be run in the bundle's folder on the device.

    --memPoolSize came with TensorRT 8.4, --workspace went in 10 (NVIDIA's "Migrating trtexec Usage from 8.x to 10.x").
    """
    room, timings = extra.workspace_mib or 1024, " --timingCacheFile=timings.cache"
    memory = f" --memPoolSize=workspace:{room}{timings}"
    portable, typed, save = extra.portable, extra.typed, f" --saveEngine={ENGINE}"
    lines = [
        "# Builds and times an engine in this folder. Its tensors are the manifest's. Needs no Python.",
        "# JetPack puts trtexec into /usr/src/tensorrt/bin.",
        "# TensorRT 8.5 to 10.11 (JetPack 5.1 to 6.2): builder flags choose the precision.",
        f"trtexec --onnx={portable}{FLAGS[precision]}{save}{memory}",
        "# TensorRT 10.12 to 10.x (JetPack 7): the types stand in the graph.",
        f"trtexec --onnx={typed} --stronglyTyped{save}{memory}",
        "# TensorRT 11: always strongly typed, the flag is gone.",
        f"trtexec --onnx={typed}{save}{memory}",
    ]
    if extra.fallback is not None:
        lines += [
            "# FP16, to compare or where INT8 is wrong; up to 10.11.",
            f"trtexec --onnx={extra.fallback} --fp16{save}{memory}",
        ]
    if old:
        lines += [
            "# TensorRT 8.2 (JetPack 4.6, Jetson Nano): the workspace has another flag. Untested: NVIDIA documents",
            "# operators up to opset 13 for it; this file says 17, its operators (but HardSwish) are as in 13.",
            f"trtexec --onnx={portable}{FLAGS[precision]}{save} --workspace={room}{timings}",
        ]
    if extra.dla is not None:
        lines += [
            "# On the DLA, up to TensorRT 10.7; untested on hardware.",
            f"trtexec --onnx={portable} --fp16 --useDLACore=0 --allowGPUFallback{save}{memory}",
        ]
    return "\n".join(lines) + "\n"


def deepstream(extra: Extra, precision: str, size: tuple[int, int], outputs: Sequence[TensorSpec]) -> str:
    """The nvinfer configuration. It names the engine that trtexec built: given INT8 ONNX and no calibration table,
    nvinfer itself would build FP16."""
    classes, thresholds = outputs[1].shape[1], Thresholds()
    return f"""# DeepStream nvinfer configuration; untested on hardware. First build {ENGINE} by this TensorRT's line
# in {TRTEXEC}, and libnvdsinfer_edge_yolov9.so from edge_yolov9/targets/jetson/deepstream (README.md there).
# nvinfer pads with black where the Detector pads with grey 114: boxes near the border may differ a little.
[property]
gpu-id=0
model-engine-file={ENGINE}
onnx-file={extra.portable}
batch-size=1
infer-dims=3;{size[0]};{size[1]}
network-mode={MODES[precision]}
network-type=0
num-detected-classes={classes}
net-scale-factor={1 / 255:.16f}
model-color-format=0
maintain-aspect-ratio=1
symmetric-padding=1
scaling-filter=1
output-blob-names={";".join(spec.name for spec in outputs)}
parse-bbox-func-name=NvDsInferParseEdgeYolov9
custom-lib-path=libnvdsinfer_edge_yolov9.so
cluster-mode=2
interval=0
gie-unique-id=1

[class-attrs-all]
pre-cluster-threshold={thresholds.confidence:g}
nms-iou-threshold={thresholds.iou:g}
topk={thresholds.max_detections}
"""
