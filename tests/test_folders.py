"""Folders that are whole or absent, what may be replaced, and what killed runs leave."""

from __future__ import annotations

import json
import os
import shutil
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from edge_yolov9 import bundle as bundles
from edge_yolov9.bundle import MANIFEST, Manifest, read, seal, writing
from edge_yolov9.errors import BundleError, InputError
from edge_yolov9.files import PARTIAL, open_partial
from edge_yolov9.system import folders
from tests.test_bundle import PLAIN
from tests.test_files import names, umask


def make(destination: Path, content: bytes = b"weights", manifest: Manifest = PLAIN) -> Path:
    with writing(destination) as folder:
        (folder / "model.onnx").write_bytes(content)
        seal(folder, manifest)
    return destination


def snapshot(folder: Path) -> dict[str, bytes | str]:
    """Every entry below a folder with its content, or where it points."""
    return {
        str(path.relative_to(folder)): str(path.readlink()) if path.is_symlink() else path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_symlink() or path.is_file()
    }


def foreign_extension(folder: Path) -> None:
    (folder / MANIFEST).write_text('{"name": "My browser extension", "manifest_version": 3}')


def notes_beside(folder: Path) -> None:
    (folder / "notes.txt").write_text("precious")


def checkpoint_beside(folder: Path) -> None:
    (folder / "my.safetensors").write_bytes(b"precious")


def history_beside(folder: Path) -> None:
    (folder / ".git").mkdir()


def link_to_a_model(folder: Path) -> None:
    (folder / "model.onnx").rename(folder.parent / "model.onnx")
    (folder / "model.onnx").symlink_to("../model.onnx")


def linked_manifest(folder: Path) -> None:
    (folder / MANIFEST).rename(folder.parent / "other.json")
    (folder / MANIFEST).symlink_to("../other.json")


def another_model(folder: Path) -> None:
    (folder / "model.onnx").write_bytes(b"the user's own")


def listed_with_another_digest(folder: Path) -> None:
    (folder / "thesis.pdf").write_bytes(b"precious")
    data = json.loads((folder / MANIFEST).read_text())
    data["files"]["thesis.pdf"] = "0" * 64
    (folder / MANIFEST).write_text(json.dumps(data))


def newer_schema(folder: Path) -> None:
    data = json.loads((folder / MANIFEST).read_text())
    (folder / MANIFEST).write_text(json.dumps({**data, "schema_version": 999}))


def manifest_that_is_a_pipe(folder: Path) -> None:
    (folder / MANIFEST).unlink()
    os.mkfifo(folder / MANIFEST)


@pytest.mark.parametrize(
    "change",
    [
        foreign_extension,
        notes_beside,
        checkpoint_beside,
        history_beside,
        link_to_a_model,
        linked_manifest,
        another_model,
        listed_with_another_digest,
        newer_schema,
        manifest_that_is_a_pipe,
    ],
)
def test_a_folder_that_is_not_wholly_ours_is_never_replaced(tmp_path: Path, change) -> None:  # type: ignore[no-untyped-def]
    change(make(tmp_path / "bundle"))
    before = snapshot(tmp_path)
    with pytest.raises(BundleError, match="choose another -o") as raised:
        make(tmp_path / "bundle", b"newer")
    assert "\n" not in str(raised.value)
    assert snapshot(tmp_path) == before
    assert not [name for name in names(tmp_path) if PARTIAL.fullmatch(name)]


def test_a_file_that_comes_into_the_folder_meanwhile_is_not_lost(tmp_path: Path) -> None:
    def meanwhile() -> None:
        with writing(tmp_path / "bundle") as folder:
            (folder / "model.onnx").write_bytes(b"newer")
            seal(folder, PLAIN)
            notes_beside(tmp_path / "bundle")

    make(tmp_path / "bundle")
    with pytest.raises(BundleError, match=r"bundle holds 'notes\.txt'"):
        meanwhile()
    assert names(tmp_path) == ["bundle"]
    assert names(tmp_path / "bundle") == [MANIFEST, "model.onnx", "notes.txt"]


def test_a_link_to_a_folder_stays_and_the_folder_is_the_destination(tmp_path: Path) -> None:
    make(tmp_path / "disk" / "v1")
    (tmp_path / "current").symlink_to("disk/v1")
    make(tmp_path / "current", b"newer")
    assert (tmp_path / "current").is_symlink()
    assert (tmp_path / "disk" / "v1" / "model.onnx").read_bytes() == b"newer"
    assert names(tmp_path) == ["current", "disk"]
    assert names(tmp_path / "disk") == ["v1"]


@pytest.mark.parametrize("target", ["nowhere", "link"])
def test_a_link_that_leads_nowhere_is_one_line(tmp_path: Path, target: str) -> None:
    (tmp_path / "link").symlink_to(target)
    with pytest.raises(BundleError, match="link that leads nowhere"):
        make(tmp_path / "link")
    assert names(tmp_path) == ["link"]


def test_nothing_is_written_into_a_bundle(tmp_path: Path) -> None:
    make(tmp_path / "bundle")
    (tmp_path / "link").symlink_to("bundle")
    for inside in (tmp_path / "bundle" / "deeper" / "other", tmp_path / "link" / "other"):
        with pytest.raises(BundleError, match="lies in the bundle"):
            make(inside)
    assert bundles.enclosing(tmp_path / "link" / "x") == tmp_path / "bundle"
    assert bundles.enclosing(tmp_path / "other") is None
    assert len(names(tmp_path / "bundle")) == 2


@pytest.mark.parametrize("mask", [0o077, 0o002, 0o022])
def test_a_new_bundle_honours_the_umask(tmp_path: Path, mask: int) -> None:
    with umask(mask):
        make(tmp_path / "bundle")
    assert stat.S_IMODE((tmp_path / "bundle").stat().st_mode) == 0o777 & ~mask
    for name in (MANIFEST, "model.onnx"):
        assert stat.S_IMODE((tmp_path / "bundle" / name).stat().st_mode) == 0o666 & ~mask


def test_a_full_disk_is_one_line(tmp_path: Path) -> None:
    make(tmp_path / "bundle")
    full = shutil.Error([("a", "b", "[Errno 28] No space left on device: 'b'")])
    for error in (full, OSError(28, "No space left on device")):
        with (
            pytest.raises(BundleError, match=r"cannot write .*bundle: .*No space left") as raised,
            writing(tmp_path / "bundle"),
        ):
            raise error
        assert "[(" not in str(raised.value)
    assert names(tmp_path) == ["bundle"]
    assert read(tmp_path / "bundle").manifest.names == ("a", "b")


WRITER = """
import sys, time
from pathlib import Path
from edge_yolov9.system import folders
def check(path): pass
with folders.replacing(Path(sys.argv[1]), check) as new:
    (new / "half").write_text("half")
    if sys.argv[2] == "swapping":
        real = Path.rename
        def rename(self, other):
            done = real(self, other)
            if other.name == "old":
                print("ready", flush=True); time.sleep(60)
            return done
        Path.rename = rename
    else:
        print("ready", flush=True); time.sleep(60)
"""


@pytest.fixture(params=["filling", "swapping"])
def running(request: pytest.FixtureRequest, tmp_path: Path):  # type: ignore[no-untyped-def]
    """A process that is writing a folder whose old content is "old", and what it is just doing."""
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "file").write_text("old")
    process = subprocess.Popen([sys.executable, "-c", WRITER, str(tmp_path / "out"), request.param], stdout=-1)
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    yield process
    process.kill()
    process.wait()


def test_what_a_killed_run_left_is_cleaned_and_what_it_moved_comes_back(running, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    before = names(tmp_path)
    folders.tidy(tmp_path)
    assert names(tmp_path) == before  # it is alive
    running.send_signal(signal.SIGKILL)
    running.wait()
    folders.tidy(tmp_path)
    assert names(tmp_path) == ["out"]
    assert (tmp_path / "out" / "file").read_text() == "old"


def test_only_our_own_litter_is_cleaned(tmp_path: Path) -> None:
    token = "edge-yolov9-0123456789abcdef"
    (tmp_path / f".file.{token}").write_text("half")
    (tmp_path / f".work.{token}" / "new").mkdir(parents=True)
    (tmp_path / f".video.{token}.mp4").write_text("half")
    kept = [".b.partial", ".b.partial-abc12345", ".b.old-abc12345", f"b.{token}", f".b.{token}0", f".notes.{token}"]
    for name in kept:
        (tmp_path / name).mkdir()
        (tmp_path / name / "precious").write_text("x")
    (tmp_path / f".link.{token}").symlink_to(".b.partial")
    handle, held = open_partial(tmp_path / "x")
    folders.tidy(tmp_path)
    assert names(tmp_path) == sorted([*kept, f".link.{token}", held.name])
    os.close(handle)
    folders.tidy(tmp_path)
    assert names(tmp_path) == sorted([*kept, f".link.{token}"])


def test_without_locks_litter_is_what_is_a_day_old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folders, "lock", lambda handle: None)
    for name, age in ((".a.edge-yolov9-0123456789abcdef", 3600), (".b.edge-yolov9-0123456789abcdef", 25 * 3600)):
        (tmp_path / name).write_text("half")
        then = (tmp_path / name).stat().st_mtime - age
        os.utime(tmp_path / name, (then, then))
    folders.tidy(tmp_path)
    assert names(tmp_path) == [".a.edge-yolov9-0123456789abcdef"]


def test_two_that_write_the_same_folder_at_once_leave_one_whole(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from tests.test_folders import make\n"
        "for _ in range(25): make(Path(sys.argv[1]), sys.argv[2].encode() * 1000)"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "bundle")]
    root = Path(__file__).parents[1]
    runs = [subprocess.Popen([*command, letter], cwd=root, stderr=subprocess.PIPE) for letter in "ab"]
    errors = [run.communicate()[1].decode() for run in runs]
    assert [run.returncode for run in runs] == [0, 0], errors
    read(tmp_path / "bundle")
    assert names(tmp_path) == ["bundle"]


def test_scratch_is_private_and_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folders.tempfile, "tempdir", str(tmp_path))
    (tmp_path / ".scratch.edge-yolov9-0123456789abcdef" / "new").mkdir(parents=True)
    with folders.scratch() as scratch:
        (scratch / "x").write_text("x")
        assert len(names(tmp_path)) == 1
        assert stat.S_IMODE(scratch.parent.stat().st_mode) == 0o700
    assert names(tmp_path) == []


def test_one_process_at_a_time_has_a_folder(tmp_path: Path) -> None:
    with folders.turn(tmp_path) as first, folders.turn(tmp_path, patience_s=0) as second:
        assert (first, second) == (True, False)
    with folders.turn(tmp_path, patience_s=0) as third:
        assert third


def test_a_circle_of_links_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("link")
    with pytest.raises(InputError, match="leads nowhere"):
        folders.followed(tmp_path / "link")
