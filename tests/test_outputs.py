"""Where a command may write: never over an input, by whatever name, and never into a bundle."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from edge_yolov9.cli import main
from edge_yolov9.cli.common.output import JsonLines, check_writable, write_json
from edge_yolov9.cli.common.saving import Saver
from edge_yolov9.data.inputs import files_of
from edge_yolov9.errors import InputError
from edge_yolov9.outputs import CHECKPOINT, JSON, RECIPE, RECORD, Kind, OwnFiles, check_file, make_folder
from edge_yolov9.video.frames import Iterated
from edge_yolov9.video.source import Source
from tests.test_bundle import PLAIN
from tests.test_files import names
from tests.test_folders import make, snapshot


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A DATA file with a split of each form."""
    for split in ("train", "val", "test"):
        (tmp_path / "images" / split).mkdir(parents=True)
        (tmp_path / "labels" / split).mkdir(parents=True)
        (tmp_path / "images" / split / "1.jpg").write_bytes(b"picture")
        (tmp_path / "labels" / split / "1.txt").write_text("0 .5 .5 .1 .1")
    (tmp_path / "coco.json").write_text("{}")
    (tmp_path / "list.txt").write_text("images/test/1.jpg\n")
    text = "train: images/train\nval: {images: images/val, annotations: coco.json}\ntest: list.txt\nnames: [a]\n"
    (tmp_path / "data.yaml").write_text(text)
    return tmp_path / "data.yaml"


INPUTS = (
    "data.yaml",
    "coco.json",
    "list.txt",
    "images/train/1.jpg",
    "labels/train/1.txt",
    "images/val/1.jpg",
    "images/test/1.jpg",
    "labels/test/1.txt",
)


@pytest.mark.parametrize("name", INPUTS)
@pytest.mark.parametrize("way", ["plain", "dots", "link", "hard", "folder"])
def test_no_file_that_a_data_file_stands_for_is_replaced(data: Path, name: str, way: str) -> None:
    pytest.importorskip("yaml")
    file = data.parent / name
    given = {"plain": file, "dots": data.parent / "images" / ".." / name}.get(way, data.parent / "alias")
    if way == "link":
        given.symlink_to(file)
    elif way == "hard":
        os.link(file, given)
    elif way == "folder":
        given.symlink_to(file.parent)
        given /= file.name
    before = snapshot(data.parent)
    with pytest.raises(InputError, match="would replace the input"):
        check_file("--json", given, lambda: files_of(data))
    assert snapshot(data.parent) == before
    check_file("--json", data.parent / "images" / "train" / "figures.json", lambda: files_of(data))


def test_a_result_of_an_earlier_run_beside_the_images_is_replaced(tmp_path: Path) -> None:
    for name in ("1.jpg", "2.jpg", "found.json"):
        (tmp_path / name).write_text("{}")
    check_file("--json", tmp_path / "found.json", lambda: [tmp_path])
    with pytest.raises(InputError, match=r"the input .*1\.jpg"):
        check_file("--json", tmp_path / "1.jpg", lambda: [tmp_path])


def test_a_recipe_and_its_images_are_inputs(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text("x")
    (tmp_path / "1.jpg").write_text("x")
    for name in ("mine.toml", "1.jpg"):
        with pytest.raises(InputError, match="would replace the input"):
            check_file("-o", tmp_path / name, lambda: files_of(f"{tmp_path}/mine.toml={tmp_path}"))


def test_nothing_goes_into_a_bundle(tmp_path: Path) -> None:
    bundle = make(tmp_path / "bundle")
    (tmp_path / "alias").symlink_to("bundle")
    os.link(bundle / "model.onnx", tmp_path / "hard.json")
    for inside in (bundle / "manifest.json", bundle / "new.json", tmp_path / "alias" / "new.json"):
        with pytest.raises(InputError, match="lies in the bundle"):
            check_file("--json", inside)
    with pytest.raises(InputError, match="would replace the input"):
        check_file("--json", tmp_path / "hard.json", lambda: [bundle])
    for folder in (bundle, bundle / "report", tmp_path / "alias" / "a" / "b"):
        with pytest.raises(InputError, match="lies in the bundle"):
            make_folder("-o", folder)
    for inside in (tmp_path / "made" / "x.json", tmp_path / "alias" / ".." / "made" / "x.json"):
        with pytest.raises(InputError, match="lies in the bundle that is written"):
            check_file("--json", inside, new_bundle=tmp_path / "made")
    assert names(bundle) == ["manifest.json", "model.onnx"]


def test_what_cannot_be_written_is_one_line_and_makes_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    (tmp_path / "dangling").symlink_to("nowhere")
    (tmp_path / "circle").symlink_to("circle")
    for parent in ("file", "dangling", "circle", "n" * 5000, "a\0b"):
        for check in (check_file, make_folder):
            with pytest.raises(InputError) as raised:
                check("-o", tmp_path / parent / "out")
            assert "\n" not in str(raised.value)
    for folder in ("file", "dangling", "circle"):
        with pytest.raises(InputError):
            make_folder("-o", tmp_path / folder)
    check_file("--json", tmp_path / "new" / "folder" / "out.json")
    assert names(tmp_path) == ["circle", "dangling", "file"]


def test_pictures_into_a_circle_of_links_are_refused_in_a_line(tmp_path: Path) -> None:
    (tmp_path / "circle").symlink_to("circle")
    with pytest.raises(InputError, match="circle"):
        Saver(tmp_path / "circle", Source("a/film.avi", "video", Iterated(iter(()))))


def test_a_link_to_a_folder_is_followed(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "out").symlink_to("disk")
    make_folder("-o", tmp_path / "out" / "report")
    make_folder("-o", tmp_path / "out")
    assert (tmp_path / "out").is_symlink()
    assert names(tmp_path / "disk") == ["report"]


@pytest.mark.parametrize("foreign", ["text", "edited", "link", "folder", "empty", "pipe"])
def test_a_file_of_the_same_name_that_is_not_ours_is_not_replaced(tmp_path: Path, foreign: str) -> None:
    file = tmp_path / "figures" / "page.html"
    file.parent.mkdir()
    if foreign == "edited":
        OwnFiles("-o", tmp_path).write("figures/page.html", b"page")
        file.write_bytes(b"page and a word of mine")
    elif foreign in ("text", "empty"):
        file.write_bytes(b"mine" if foreign == "text" else b"")
    elif foreign == "link":
        (tmp_path / "victim").write_bytes(b"mine")
        file.symlink_to(tmp_path / "victim")
    else:
        (os.mkfifo if foreign == "pipe" else Path.mkdir)(file)
    before = snapshot(tmp_path)
    for attempt in (
        lambda: make_folder("-o", tmp_path, ["figures/page.html"]),
        lambda: OwnFiles("-o", tmp_path).write("figures/page.html", b"new"),
    ):
        with pytest.raises(InputError) as raised:
            attempt()
        assert f"mv -- {file} {file}.old" in str(raised.value)
        assert "\n" not in str(raised.value)
    assert snapshot(tmp_path) == before


def test_what_we_wrote_is_replaced_also_in_a_copy_of_the_folder(tmp_path: Path) -> None:
    first = tmp_path / "first"
    for data in (b"one", b"two", b"one", b"three"):
        OwnFiles("-o", first).write("page.html", data)
    os.umask(mask := os.umask(0))
    assert (first / RECORD).stat().st_mode & 0o777 == 0o666 & ~mask
    copy = Path(shutil.copytree(first, tmp_path / "copy"))
    make_folder("-o", copy, ["page.html"])
    OwnFiles("-o", copy).write("page.html", b"four")
    assert (copy / "page.html").read_bytes() == b"four"
    assert names(copy) == [RECORD, "page.html"]


def test_two_runs_that_write_to_one_folder_know_each_other(tmp_path: Path) -> None:
    one, two = OwnFiles("-o", tmp_path), OwnFiles("-o", tmp_path)
    for index in range(4):
        for run in (one, two):
            run.write("page.html", f"{index} {run is one}".encode())


@pytest.mark.parametrize("planted", ["link", "dangling", "pipe", "text", "folder"])
def test_a_record_that_is_not_ours_is_not_written_to(tmp_path: Path, planted: str) -> None:
    (tmp_path / "victim").write_text("mine\n")
    out = tmp_path / "out"
    out.mkdir()
    if planted in ("link", "dangling"):
        (out / RECORD).symlink_to(tmp_path / ("victim" if planted == "link" else "nothing"))
    elif planted == "text":
        (out / RECORD).write_text("mine\n")
    else:
        (os.mkfifo if planted == "pipe" else Path.mkdir)(out / RECORD)
    before = snapshot(tmp_path)
    with pytest.raises((InputError, OSError)):
        OwnFiles("-o", out).write("page.html", b"new")
    assert snapshot(tmp_path) == before


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        (JSON, b' \n{"a": 1}', b"names: [a]"),
        (JSON, b"[1]", b"\x89PNG"),
        (CHECKPOINT, b'\x80\0\0\0\0\0\0\0{"__metadata__":{"format":"edge-yolov9 checkpoint"}}', b"PK\x03\x04"),
        (RECIPE, b"# Written by edge-yolov9 calibration select: ...", b"[tool.ruff]"),
    ],
)
def test_a_named_file_of_another_kind_is_not_replaced(tmp_path: Path, kind: Kind, good: bytes, bad: bytes) -> None:
    file = tmp_path / "a file"
    for content in (good, b""):
        file.write_bytes(content)
        check_file("-o", file, kind=kind)
    file.write_bytes(bad)
    with pytest.raises(InputError, match=f"is there and no {kind.name}; choose another name, or first: rm -- '"):
        check_file("-o", file, kind=kind)
    assert file.read_bytes() == bad


def test_the_next_run_cleans_what_a_killed_one_left(tmp_path: Path) -> None:
    litter = tmp_path / ".old.json.edge-yolov9-0123456789abcdef"
    litter.write_text("half")
    check_writable(tmp_path / "new.json")
    assert names(tmp_path) == []


@pytest.mark.parametrize("verb", ["info", "val", "jetson build", "detect"])
def test_json_over_an_input_is_refused_by_every_verb(tmp_path: Path, verb: str) -> None:
    bundle = make(tmp_path / "bundle", manifest=PLAIN)
    (tmp_path / "1.jpg").write_bytes(b"picture")
    (tmp_path / "data.yaml").write_text("names: [a]")
    words = [*verb.split(), str(bundle)]
    words += {"val": ["--data", str(tmp_path / "data.yaml")], "detect": [str(tmp_path / "1.jpg")]}.get(verb, [])
    before = snapshot(tmp_path)
    targets = [bundle / "manifest.json", bundle / "x.json"]
    targets += [tmp_path / "1.jpg"] if verb == "detect" else [tmp_path / "data.yaml"] if verb == "val" else []
    for target in targets:
        result = CliRunner().invoke(main, [*words, "--json", str(target)])
        assert result.exit_code == 1
        assert result.output.count("\n") == 1
        assert "lies in the bundle" in result.output or "would replace the input" in result.output
    assert snapshot(tmp_path) == before


def test_json_lines_do_not_follow_a_link(tmp_path: Path) -> None:
    (tmp_path / "victim").write_text("secret")
    (tmp_path / "frames.jsonl").symlink_to("victim")
    with JsonLines(tmp_path / "frames.jsonl") as lines:
        lines.write({"a": 1})
        assert (tmp_path / "frames.jsonl").read_text() == '{"a": 1}\n'  # there at once
    assert (tmp_path / "victim").read_text() == "secret"
    assert names(tmp_path) == ["frames.jsonl", "victim"]


def test_a_name_of_standard_output_is_standard_output(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for name in ("/dev/stdout", "/dev/fd/1", "/proc/self/fd/1"):
        if not Path(name).exists():
            pytest.skip(f"there is no {name} here")
        check_writable(name)
        write_json([1], name)
        assert capfd.readouterr().out == "[\n  1\n]\n"


def test_the_files_of_a_list_that_is_a_pipe_are_looked_for_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "list.txt")
    assert list(files_of(tmp_path / "list.txt")) == [tmp_path / "list.txt"]
