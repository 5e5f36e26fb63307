"""What a Detector costs beside its model, and what a stream gains over a loop: YOLOv9-T INT8 at 640, 80 classes.

    python -m tests.bench.bench_detector FOLDER [openvino] [tflite]

Compiles into FOLDER what is not there yet; the shipped checkpoint, widened to 80 classes of which it knows three, finds
blood cells in a frame of 1280x720. Host work: a call alternates with the bare runtime on the same input, medians of
300. Throughput: a film of 30 seconds, read and detected by a loop and by ``stream``, in turn, three times each.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import torch

from edge_yolov9 import Detector
from edge_yolov9.bundle import read
from edge_yolov9.checkpoint import Checkpoint, load, save
from edge_yolov9.compiler.pipeline import CompileOptions, compile_checkpoint
from edge_yolov9.decode import DecodeOptions
from edge_yolov9.geometry import Image
from edge_yolov9.images import read_image
from edge_yolov9.lane import Lane, Postprocess
from edge_yolov9.model import build
from edge_yolov9.registry import open_session
from edge_yolov9.system.cpu import cores
from edge_yolov9.video.source import open_source
from tests.conftest import DATA, DEMO, PICTURES

CLASSES = 80
NEVER = -9.0
"""Logit of the classes that the checkpoint does not know."""
SIZE = (1280, 720)
FPS = 30
OBJECTS = 20


def widen(source: Path, target: Path) -> None:
    """The checkpoint with 80 classes, as wide as COCO's: what it knows is kept, the rest is faint noise."""
    old = load(source)
    model = build("gelan-t", CLASSES)
    known = old.model.state_dict()
    torch.manual_seed(0)
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            part = known[name]
            if part.shape != tensor.shape:
                if name.endswith("weight") and tensor.ndim > 1:
                    tensor.normal_(0, 1e-3)
                elif tensor.shape == (CLASSES,):
                    tensor.fill_(NEVER)
            tensor[tuple(slice(size) for size in part.shape)] = part
    names = (*old.names, *(f"class {index}" for index in range(len(old.names), CLASSES)))
    save(Checkpoint(model.eval(), names, (640, 640), old.facts), target)


def bundle(folder: Path, target: str) -> Path:
    """A bundle of the widened checkpoint, compiled when it is not there."""
    made = folder / target
    if not made.is_dir():
        folder.mkdir(parents=True, exist_ok=True)
        widen(DEMO, folder / "wide.safetensors")
        options = CompileOptions(
            target, precision="int8", calibration=DATA, calibration_images=8, input_size=(640, 640)
        )
        compile_checkpoint(folder / "wide.safetensors", options, made, print)
    return made


def busy_frame(first: int = 0) -> Image:
    """1280x720: parts of four blood smears, whose cells have the size at 640 that the model knows."""
    four = [read_image(file)[60:420] for file in sorted(PICTURES.iterdir())[first : first + 4]]
    return np.vstack((np.hstack(four[:2]), np.hstack(four[2:])))


def host_work(
    folder: Path, rounds: int = 300, found: int = OBJECTS, clock: Callable[[], float] = time.perf_counter
) -> tuple[float, float]:
    """Medians of the bare runtime and of everything around it, milliseconds, with ``found`` objects per frame.

    By ``time.thread_time`` it is the processor time of the calling thread, which other load hardly moves.
    """
    frame = busy_frame()
    with Detector(folder, confidence=0.001) as detect:
        least = float(detect(frame).confidence[found - 1])
    opened = read(folder)
    lane, options = (
        Lane(open_session(opened), Postprocess.of(opened.manifest)),
        DecodeOptions(0.9999 * least, max_detections=found),
    )
    assert len(lane.detect(frame, options)) == found
    whole, alone = [], []
    for _ in range(rounds):
        start = clock()
        lane.detect(frame, options)
        middle = clock()
        lane.bare()
        alone.append(1000 * (clock() - middle))
        whole.append(1000 * (middle - start))
    lane.close()
    return statistics.median(alone), statistics.median(whole) - statistics.median(alone)


def film(path: Path, frames: int) -> Path:
    """Blood smears that drift across the picture, others every five seconds."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), FPS, SIZE)
    pictures = [busy_frame(4 * index) for index in range(6)]
    for index in range(frames):
        writer.write(np.roll(pictures[index // (5 * FPS) % len(pictures)], 2 * index, axis=1))
    writer.release()
    return path


def throughput(folder: Path, video: Path, rounds: int = 1) -> tuple[float, float, float]:
    """Frames per second of a plain loop and of ``stream``, and the cores that the latter keeps busy.

    Medians of ``rounds`` in turn. With all cores busy the CPU allows no more.
    """
    loops, streams, busy = [], [], []
    with Detector(folder) as detect:
        detect.batch([busy_frame()] * 4)  # loads the model of the stream
        for _ in range(rounds):
            start = time.perf_counter()
            with open_source(video) as source:
                counts = [len(detect(frame.image)) for frame in source]
            loops.append(len(counts) / (time.perf_counter() - start))
            start, used = time.perf_counter(), time.process_time()
            assert [len(found) for _, found in detect.stream(video)] == counts
            seconds = time.perf_counter() - start
            streams.append(len(counts) / seconds)
            busy.append((time.process_time() - used) / seconds)
    return statistics.median(loops), statistics.median(streams), statistics.median(busy)


def main(folder: Path, *targets: str) -> None:
    """Print both for each target."""
    for target in targets or ("openvino", "tflite"):
        made = bundle(folder, target)
        clip = folder / "film.mp4"
        clip = clip if clip.is_file() else film(clip, 30 * FPS)
        for clock in (time.perf_counter, time.thread_time):
            alone, around = host_work(made, clock=clock)
            share = f"around it {around:.2f} ms ({around / alone:.1%})"
            print(f"{target}, {clock.__name__}: bare {alone:.2f} ms, {share}", flush=True)
        loop, stream, busy = throughput(made, clip, rounds=3)
        use = f"{busy:.2f} of {cores()} cores busy"
        print(f"{target}: loop {loop:.1f} fps, stream {stream:.1f} fps ({stream / loop:.2f}x, {use})", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
