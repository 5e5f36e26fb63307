"""Mutated input: small whole files of every kind that strangers send, each changed at random, opened as a user would.

    python -m tests.fuzz.mutations [KIND ...] --count 2000 --seed 1

Every answer but success or one short line of our own errors is a finding: a traceback, a crash, MOST_SECONDS for one
input, MOST_GROWTH of memory. Each kind runs in a process of its own; the input of a finding stays in the folder that is
printed. The same seed makes the same inputs.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import resource
import select
import shutil
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge_yolov9.errors import EdgeYoloError
from tests.conftest import DEMO, PICTURES, ROOT

MOST_SECONDS, MOST_GROWTH, LONGEST_LINE = 60, 1 << 30, 600
"""For one input: seconds, bytes of memory over what the whole file took, letters of the error line."""
MODULE = "tests.fuzz.mutations"
"""What a process of its own runs."""

EXTREMES: tuple[Any, ...] = (
    *(
        None,
        True,
        -1,
        0,
        1e308,
        float("nan"),
        float("inf"),
        10**40,
        "",
        "\u202e\x1b[2J",
        "x" * 5000,
        "../../etc/passwd",
    ),
    *("a\ud800", [], {}, [[[[]]]], [1] * 1000, {"a": {"b": {}}}, "2024-01-01", 12345678901234567890),
)


@dataclass(frozen=True)
class Kind:
    """One kind of input: ``make`` writes a whole one into a folder, ``victims`` of it are changed, ``use`` opens it."""

    make: Callable[[Path], None]
    victims: tuple[str, ...]
    use: Callable[[Path], object]
    before: Callable[[Path], object] = lambda folder: None
    """Run between the change and the opening."""


# How files are changed.


def changed_bytes(data: bytes, dice: random.Random) -> bytes:
    """One to four changes: a bit, a run of bytes lost, doubled or overwritten, the end cut off."""
    for _ in range(dice.randint(1, 4)):
        if not data:
            return data
        near_head = dice.random() < 0.5  # headers decide more than pixels and weights do
        at = dice.randrange(min(len(data), 512) if near_head else len(data))
        length = min(dice.choice([1, 2, 4, 8, 64, 1000]), len(data) - at)
        piece = data[at : at + length]
        match dice.randrange(5):
            case 0:
                data = data[:at] + bytes([data[at] ^ 1 << dice.randrange(8)]) + data[at + 1 :]
            case 1:
                data = data[:at] + data[at + length :]
            case 2:
                data = data[:at] + piece + data[at:]
            case 3:
                data = data[:at] + dice.choice([b"\0", b"\xff", b"\x7f", b"\n"]) * length + data[at + length :]
            case 4:
                data = data[:at]
    return data


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """(holder, key) of every value in a tree of JSON."""
    for key in value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
        yield value, key
        yield from places(value[key])


def changed_json(data: bytes, dice: random.Random) -> bytes:
    """A value replaced by an extreme one, lost, doubled, or buried deep."""
    tree = json.loads(data)
    for _ in range(dice.randint(1, 2)):
        found = list(places(tree))
        if not found:
            break
        holder, key = dice.choice(found)
        match dice.randrange(4):
            case 0 | 1:
                holder[key] = deepcopy(dice.choice(EXTREMES))
            case 2:
                del holder[key]
            case 3 if isinstance(holder, list):
                holder.append(holder[key])
            case 3:
                holder[f"{key}2"] = holder[key]
    text = json.dumps(tree, indent=1)
    if dice.random() < 0.1:
        text = text.replace("[", "[" * 100_000, 1)
    return text.encode("utf-8", "surrogatepass")


def changed_text(data: bytes, dice: random.Random) -> bytes:
    """A word replaced by an extreme one, or a line lost or doubled."""
    lines = data.decode().split("\n")
    at = dice.randrange(len(lines))
    words = lines[at].split(" ")
    match dice.randrange(4):
        case 0 | 1:
            words[dice.randrange(len(words))] = str(dice.choice(EXTREMES))
            lines[at] = " ".join(words)
        case 2:
            del lines[at]
        case 3:
            lines.insert(dice.randrange(len(lines) + 1), lines[at])
    return "\n".join(lines).encode("utf-8", "surrogatepass")


def changed(file: Path, dice: random.Random) -> None:
    """Change a file in place; text half of the time as what it means, else as bytes."""
    data = file.read_bytes()
    by_meaning = {".json": changed_json, ".yaml": changed_text, ".txt": changed_text, ".toml": changed_text}
    change = by_meaning.get(file.suffix, changed_bytes)
    file.write_bytes((change if dice.random() < 0.7 else changed_bytes)(data, dice))


# The kinds. Imports are local: each process loads what its kind needs.


def compiled(target: str) -> Callable[[Path], None]:
    """The shipped checkpoint as ``bundle``: INT8 of the run of tests around us, else float, made here."""

    def make(folder: Path) -> None:
        kept = Path(os.environ.get("EDGE_YOLOV9_TEST_BUNDLES", "")) / f"{target}-int8"
        if kept.is_dir():
            shutil.copytree(kept, folder / "bundle")
            return
        words = [str(DEMO), "--target", target, "--precision", "fp32", "--imgsz", "320", "-o", str(folder / "bundle")]
        subprocess.run([sys.executable, "-m", "edge_yolov9", "compile", *words], check=True, stdout=subprocess.DEVNULL)

    return make


def copy(*sources: Path) -> Callable[[Path], None]:
    """Files and folders, copied under their own names."""

    def make(folder: Path) -> None:
        for source in sources:
            if source.is_dir():
                shutil.copytree(source, folder / source.name)
            else:
                shutil.copy(source, folder)

    return make


def pictures_of(folder: Path) -> list[Path]:
    """Three small pictures in ``folder/images``."""
    (folder / "images").mkdir()
    return [Path(shutil.copy(file, folder / "images" / file.name)) for file in sorted(PICTURES.glob("*.jpg"))[:3]]


def published(folder: Path) -> None:
    """What the reference program saves: a pickle in a zip."""
    import torch

    from edge_yolov9.model import build
    from tests.hostile import write_published

    torch.manual_seed(0)
    write_published(folder / "best.pt", build("gelan-t", 2), {0: "a", 1: "b"})


def ultralytics(folder: Path) -> None:
    from tests.checkpoint import foreign

    foreign.ultralytics(folder / "best.pt", foreign.graph("gelan-t", 2, head="dense"), {0: "a", 1: "b"})


def open_checkpoint(folder: Path) -> object:
    from edge_yolov9.checkpoint import load

    (file,) = folder.iterdir()
    return load(file)


def yolo_data(folder: Path) -> None:
    (folder / "labels").mkdir()
    for file in pictures_of(folder):
        rows = "0 0.5 0.5 0.2 0.2\n1 0.1 0.1 0.05 0.05\n0 0.2 0.2 0.4 0.2 0.3 0.4\n"
        (folder / "labels" / file.with_suffix(".txt").name).write_text(rows)
    (folder / "data.yaml").write_text("path: .\ntrain: images\nval: images\nnames:\n  0: cell\n  1: other\n")


def coco_data(folder: Path) -> None:
    files = pictures_of(folder)
    images = [{"id": i, "file_name": file.name, "width": 640, "height": 480} for i, file in enumerate(files)]
    box = {"iscrowd": 0, "area": 100.0, "bbox": [10, 10, 10, 10], "segmentation": [[10, 10, 20, 10, 20, 20]]}
    annotations = [{"id": i, "image_id": i % 3, "category_id": 1 + i % 2, **box} for i in range(6)]
    content = {
        "images": images,
        "annotations": annotations,
        "categories": [{"id": 1, "name": "a"}, {"id": 2, "name": "b"}],
    }
    (folder / "coco.json").write_text(json.dumps(content))
    (folder / "data.yaml").write_text("val: {images: images, annotations: coco.json}\nnames: [a, b]\n")


def open_data(folder: Path) -> object:
    from edge_yolov9.data import read_data

    split = read_data(folder / "data.yaml", ["val"]).splits["val"]
    return [(record.size, record.objects) for record in split.images]


def open_bundle(folder: Path) -> object:
    import numpy as np

    from edge_yolov9 import Detector

    with Detector(folder / "bundle") as detect:
        return detect(np.full((240, 320, 3), 114, np.uint8))


def seal_again(folder: Path) -> None:
    """A stranger's bundle: its digests are those of the changed files."""
    from edge_yolov9.bundle import read, seal

    seal(folder / "bundle", read(folder / "bundle", verify=False).manifest)


def open_recipe(folder: Path) -> object:
    from edge_yolov9.compiler.calibration import recipe

    return recipe.read(folder / "recipe.toml")


def open_picture(folder: Path) -> object:
    from edge_yolov9.images import image_size, read_image

    (file,) = folder.iterdir()
    return image_size(file), read_image(file)


def encoded(suffix: str) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        import cv2

        cv2.imwrite(str(folder / f"picture{suffix}"), cv2.imread(str(min(PICTURES.glob("*.jpg")))))

    return make


def film(suffix: str, fourcc: str) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        import cv2

        picture = cv2.resize(cv2.imread(str(min(PICTURES.glob("*.jpg")))), (160, 120))
        writer = cv2.VideoWriter(str(folder / f"film{suffix}"), cv2.VideoWriter.fourcc(*fourcc), 10, (160, 120))
        for _ in range(12):
            writer.write(picture)
        writer.release()

    return make


def open_film(folder: Path) -> object:
    from edge_yolov9 import open_source

    (file,) = folder.iterdir()
    with open_source(file) as source:
        return sum(1 for _ in source)


def open_report(folder: Path) -> object:
    from click.testing import CliRunner

    from edge_yolov9.cli import main

    result = CliRunner().invoke(main, ["report", str(folder / "this-machine.json"), "-o", str(folder / "out")])
    if result.exit_code and not isinstance(result.exception, SystemExit):
        raise result.exception or AssertionError(result.output)
    if result.exit_code and any((folder / "out").glob("report.*")):
        raise AssertionError("a page was left behind an error")
    if result.exit_code:
        raise EdgeYoloError(result.stderr.strip())
    return result


def run_folder(folder: Path) -> None:
    import torch

    from edge_yolov9.train.state import STATE, Position, write_state

    tensors = {f"model.{i}.weight": torch.full((8, 8), 0.5) for i in range(4)}
    write_state(folder / STATE, tensors, Position(1, 2, 3), {"settings": {"epochs": 3}, "data": "digest"})


def open_run(folder: Path) -> object:
    from edge_yolov9.train.folder import Folder

    return Folder(folder).read()


def answers(folder: Path) -> None:
    """What an MJPEG camera sends."""
    jpeg = min(PICTURES.glob("*.jpg")).read_bytes()
    part = b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n%s\r\n" % (len(jpeg), jpeg)
    head = b"HTTP/1.1 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=frame\r\n\r\n"
    (folder / "answer.bin").write_bytes(head + part * 4)


def open_answer(folder: Path) -> object:
    import socket
    import threading

    from edge_yolov9 import open_source

    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(4096)
                connection.sendall((folder / "answer.bin").read_bytes())

        def lost(status: object) -> None:
            raise EdgeYoloError("lost")  # a live source would be opened again for ever

        threading.Thread(target=answer, daemon=True).start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}/stream"
        with open_source(url, latest=False, status=lost) as source:
            return [next(source) for _ in range(2)]


FIXTURES = ROOT / "tests" / "fixtures"
KINDS = {
    "checkpoint-ours": Kind(copy(DEMO), (DEMO.name,), open_checkpoint),
    "checkpoint-published": Kind(published, ("best.pt",), open_checkpoint),
    "checkpoint-ultralytics": Kind(ultralytics, ("best.pt",), open_checkpoint),
    "manifest-tflite": Kind(compiled("tflite"), ("bundle/manifest.json",), open_bundle),
    "manifest-onnx": Kind(compiled("onnx"), ("bundle/manifest.json",), open_bundle),
    "manifest-openvino": Kind(compiled("openvino"), ("bundle/manifest.json",), open_bundle),
    "model-tflite": Kind(compiled("tflite"), ("bundle/model.tflite",), open_bundle, seal_again),
    "model-onnx": Kind(compiled("onnx"), ("bundle/model.onnx",), open_bundle, seal_again),
    "model-openvino": Kind(compiled("openvino"), ("bundle/model.xml", "bundle/model.bin"), open_bundle, seal_again),
    "data-yaml": Kind(yolo_data, ("data.yaml",), open_data),
    "labels": Kind(yolo_data, ("labels/*.txt",), open_data),
    "coco": Kind(coco_data, ("coco.json", "data.yaml"), open_data),
    "recipe": Kind(copy(FIXTURES / "training-1757f0c" / "recipe.toml"), ("recipe.toml",), open_recipe),
    "picture-jpeg": Kind(encoded(".jpg"), ("picture.jpg",), open_picture),
    "picture-png": Kind(encoded(".png"), ("picture.png",), open_picture),
    "film-avi": Kind(film(".avi", "MJPG"), ("film.avi",), open_film),
    "film-mp4": Kind(film(".mp4", "mp4v"), ("film.mp4",), open_film),
    "report": Kind(copy(FIXTURES / "report-1757f0c" / "this-machine.json"), ("this-machine.json",), open_report),
    "run-folder": Kind(run_folder, ("*",), open_run),
    "mjpeg": Kind(answers, ("answer.bin",), open_answer),
}


def run(name: str, first: int, count: int, seed: int, folder: Path) -> None:
    """Open inputs ``first`` to ``count`` of a kind; print each one that begins, and each finding."""
    kind = KINDS[name]
    whole = folder / "whole"
    whole.mkdir(exist_ok=True)
    if not any(whole.iterdir()):
        kind.make(whole)
    kind.use(Path(shutil.copytree(whole, folder / f"first-{first}")))  # the whole input opens
    usual = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for number in range(first, count):
        dice = random.Random(f"{name} {seed} {number}")
        place = folder / f"{number}"
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(whole, place)
        changed(dice.choice(sorted(file for victim in kind.victims for file in place.glob(victim))), dice)
        print(f"begin {number}", flush=True)
        try:
            kind.before(place)
            kind.use(place)
        except EdgeYoloError as error:
            if len(str(error)) > LONGEST_LINE or not str(error).isprintable():
                print(f"finding {number} a line of {len(str(error))} letters: {str(error)[:200]!r}", flush=True)
                continue
        except BaseException as error:
            where = traceback.extract_tb(error.__traceback__)[-1]
            print(
                f"finding {number} {type(error).__name__}: {str(error)[:200]!r} {where.filename}:{where.lineno}",
                flush=True,
            )
            continue
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - usual
        if 1024 * grown > MOST_GROWTH:
            print(f"finding {number} {grown >> 10} MB more memory", flush=True)
            return
        shutil.rmtree(place)


def campaign(name: str, count: int, seed: int, folder: Path) -> list[str]:
    """Findings of one kind. A process that crashes or hangs is one, and the next process goes on behind it."""
    folder.mkdir(parents=True)
    findings, number = [], 0
    while number < count:
        words = [name, "--count", str(count), "--seed", str(seed), "--first", str(number), "--folder", str(folder)]
        errors = folder / "errors.txt"
        command = [sys.executable, "-m", MODULE, *words]
        with (
            errors.open("w") as log,
            subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=log, text=True) as child,
        ):
            assert child.stdout is not None
            begun, end = number - 1, "ended"
            while True:
                patience = MOST_SECONDS if begun >= number else 600  # the whole input may have to be compiled
                if not select.select([child.stdout], [], [], patience)[0]:
                    child.kill()
                    end = f"no answer in {patience} s"
                    break
                line = child.stdout.readline()
                if not line:
                    break
                report = re.match(r"(begin|finding) (\d+) ?(.*)", line)
                if report is None:
                    continue  # a runtime that prints
                begun = int(report[2])
                if report[1] == "finding":
                    findings.append(f"{name} {begun}: {report[3]} ({folder / report[2]})")
        if child.returncode and begun < number:
            raise RuntimeError(f"{name}: the whole input does not open: {errors.read_text()[-2000:]}")
        if child.returncode:
            findings.append(f"{name} {begun}: {end}, exit code {child.returncode} ({folder / str(begun)})")
        number = begun + 1
    return findings


def main(words: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kinds", nargs="*", metavar="KIND", help=", ".join(KINDS))
    parser.add_argument("--count", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, default=None)
    given = parser.parse_args(words)
    if given.first is not None:
        run(given.kinds[0], given.first, given.count, given.seed, given.folder)
        return 0
    folder = given.folder or Path(tempfile.mkdtemp(prefix="mutations-"))
    total = 0
    for name in given.kinds or KINDS:
        findings = campaign(name, given.count, given.seed, folder / name)
        print(f"{name}: {given.count} inputs, {len(findings)} findings", *findings, sep="\n  ", flush=True)
        total += len(findings)
    return 1 if total else 0


if __name__ == "__main__":
    sys.exit(main())
