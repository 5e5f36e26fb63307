"""Files that are whole or absent, and JSON that is what its dataclass says."""

from __future__ import annotations

import json
import os
import stat
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest

from edge_yolov9 import files
from edge_yolov9.files import from_json, read_toml, write_json, write_whole


@contextmanager
def umask(mask: int) -> Iterator[None]:
    old = os.umask(mask)
    try:
        yield
    finally:
        os.umask(old)


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_link_is_replaced_and_what_it_points_to_stays(tmp_path: Path) -> None:
    (tmp_path / "victim").write_text("secret")
    (tmp_path / "link").symlink_to("victim")
    (tmp_path / "dangling").symlink_to("nowhere")
    for name in ("link", "dangling"):
        write_whole(tmp_path / name, b"new")
        assert not (tmp_path / name).is_symlink()
        assert (tmp_path / name).read_bytes() == b"new"
    assert (tmp_path / "victim").read_text() == "secret"
    assert names(tmp_path) == ["dangling", "link", "victim"]


def test_what_is_no_file_is_not_replaced(tmp_path: Path) -> None:
    """Root could: its /dev/null would be a file from then on."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("pipe")
    for name in ("pipe", "link"):
        with pytest.raises(OSError, match="pipe, device or socket"):
            write_whole(tmp_path / name, b"new")
    assert stat.S_ISFIFO((tmp_path / "pipe").lstat().st_mode)
    assert names(tmp_path) == ["link", "pipe"]


def test_other_names_of_the_replaced_file_keep_the_old_content(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("old")
    os.link(tmp_path / "a", tmp_path / "b")
    write_whole(tmp_path / "a", b"new")
    assert (tmp_path / "b").read_text() == "old"


@pytest.mark.parametrize("planted", [".x.partial", ".x.edge-yolov9-0000000000000000"])
def test_nothing_is_written_through_a_planted_link(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, planted: str
) -> None:
    (tmp_path / "victim").write_text("secret")
    (tmp_path / planted).symlink_to("victim")
    monkeypatch.setattr(files.secrets, "token_hex", lambda size: "0" * 2 * size)
    if planted.endswith("0"):
        with pytest.raises(FileExistsError):
            write_whole(tmp_path / "x", b"new")
    else:
        write_whole(tmp_path / "x", b"new")
    assert (tmp_path / "victim").read_text() == "secret"
    assert (tmp_path / planted).is_symlink()


@pytest.mark.parametrize("mask", [0o077, 0o002, 0o022])
def test_new_files_honour_the_umask_and_old_ones_keep_their_mode(tmp_path: Path, mask: int) -> None:
    kept = tmp_path / "kept"
    kept.write_text("old")
    kept.chmod(0o640)
    with umask(mask):
        write_whole(tmp_path / "new", b"")
        write_whole(kept, b"new")
        write_whole(tmp_path / "asked", b"", mode=0o644)
    assert mode(tmp_path / "new") == 0o666 & ~mask
    assert mode(kept) == 0o640
    assert mode(tmp_path / "asked") == 0o644


def test_a_name_of_255_bytes_can_be_written(tmp_path: Path) -> None:
    name = "é" * 127 + "x"
    write_whole(tmp_path / name, b"new")
    assert names(tmp_path) == [name]


def test_a_failed_write_leaves_the_old_file_and_no_litter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "x").write_text("old")

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_whole(tmp_path / "x", b"new")
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError, match=r"space|directory"):
        write_whole(tmp_path / "folder", b"new")
    assert names(tmp_path) == ["folder", "x"]
    assert (tmp_path / "x").read_text() == "old"


def test_of_two_writers_one_wins_whole(tmp_path: Path) -> None:
    contents = [bytes([letter]) * 100_000 for letter in b"ab"]
    threads = [
        threading.Thread(target=lambda data=data: [write_whole(tmp_path / "x", data) for _ in range(20)])  # type: ignore[misc]
        for data in contents
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (tmp_path / "x").read_bytes() in contents
    assert names(tmp_path) == ["x"]


def test_what_is_taken_for_litter_before_it_is_held_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken: list[str] = []
    real = files.lock

    def lock(handle: int) -> bool:
        if not taken:
            taken.extend(names(tmp_path))
            (tmp_path / taken[0]).unlink()
        return real(handle)

    monkeypatch.setattr(files, "lock", lock)
    write_whole(tmp_path / "x", b"new")
    assert files.PARTIAL.fullmatch(taken[0])
    assert names(tmp_path) == ["x"]


def test_json_holds_null_where_a_number_is_not_finite(tmp_path: Path) -> None:
    write_json(tmp_path / "x", {"a": [float("nan"), 1.5], 2: float("-inf"), "name": "Zelle é \udcff"})
    read = json.loads((tmp_path / "x").read_text(encoding="utf-8"))
    assert read == {"a": [None, 1.5], "2": None, "name": "Zelle é \udcff"}


@dataclass(frozen=True)
class Inner:
    size: tuple[int, int]
    scale: float | None = None


@dataclass(frozen=True)
class Outer:
    name: str
    inner: Inner
    sides: tuple[float, ...] = ()
    order: Literal["RGB", "BGR"] = "RGB"
    parts: tuple[Inner, ...] = ()
    digests: Mapping[str, str] = field(default_factory=dict)
    facts: dict[str, Any] | None = None
    flag: bool = False
    either: int | str = 0


def test_a_dataclass_comes_back_from_its_json() -> None:
    data = {
        "name": "a",
        "inner": {"size": [1, 2], "scale": 1, "later": "ignored"},
        "sides": [1, 2.5],
        "order": "BGR",
        "parts": [{"size": [3, 4]}],
        "digests": {"x": "y"},
        "facts": {"any": [None, {}]},
        "flag": True,
        "either": "text",
        "of a later version": 1,
    }
    expected = Outer(
        "a", Inner((1, 2), 1.0), (1.0, 2.5), "BGR", (Inner((3, 4)),), {"x": "y"}, {"any": [None, {}]}, True, "text"
    )
    assert from_json(Outer, data, "x.json") == expected
    assert from_json(Outer, {"name": "a", "inner": {"size": [1, 2]}}, "x.json") == Outer("a", Inner((1, 2)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"name": 1}, "x.json: name must be a text, got 1"),
        ({"name": None}, "x.json: name must be a text, got None"),
        ({"inner": []}, "x.json: inner must be an object, got []"),
        ({"inner": {}}, "x.json: inner.size is missing"),
        ({"inner": {"size": [1]}}, "x.json: inner.size must be a list of 2, got [1]"),
        ({"inner": {"size": [1, True]}}, "x.json: inner.size[1] must be an integer, got True"),
        ({"inner": {"size": [1, 2.0]}}, "x.json: inner.size[1] must be an integer, got 2.0"),
        ({"inner": {"size": "12"}}, "x.json: inner.size must be a list, got '12'"),
        ({"inner": {"size": [1, 2], "scale": float("nan")}}, "inner.scale must be a finite number, got nan"),
        ({"inner": {"size": [1, 2], "scale": 10**400}}, "inner.scale must be a finite number, got an integer of 1329"),
        ({"sides": [1, float("inf")]}, "sides[1] must be a finite number, got inf"),
        ({"order": "XYZ"}, "order must be one of 'RGB', 'BGR', got 'XYZ'"),
        ({"order": ["RGB"]}, "order must be one of"),
        ({"parts": [{"size": [1, 2]}, 3]}, "parts[1] must be an object, got 3"),
        ({"digests": {"x": 1}}, "digests['x'] must be a text, got 1"),
        ({"digests": ["x"]}, "digests must be an object"),
        ({"facts": 1}, "facts must be an object, got 1"),
        ({"flag": 1}, "flag must be true or false, got 1"),
        ({"either": 1.5}, "either must be an integer or a text, got 1.5"),
    ],
)
def test_what_does_not_fit_is_named(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=r"x\.json") as raised:
        from_json(Outer, {"name": "a", "inner": {"size": [1, 2]}, **change}, "x.json")
    assert message in str(raised.value)


def test_a_message_stays_short_and_printable_whatever_was_given() -> None:
    deep: Any = "end"
    for _ in range(500):
        deep = [deep] * 9
    for value in ("x" * 10**6, 10**5000, [["y" * 999] * 999] * 999, deep, "\x1b]0;\x07\u202e\ud800", {"k" * 999: 1}):
        changes: list[dict[str, Any]] = [{"name": [value]}, {"parts": value}]
        changes += [{"digests": {value: 1}}] if isinstance(value, str) else []
        for change in changes:
            with pytest.raises(ValueError, match=r"x\.json") as raised:
                from_json(Outer, {"name": "a", "inner": {"size": [1, 2]}, **change}, "x.json")
            assert len(str(raised.value)) < 350
            assert str(raised.value).isprintable()


def test_no_object_is_one_line() -> None:
    with pytest.raises(ValueError, match=r"x\.json: it must be an object, got None"):
        from_json(Outer, None, "x.json")


def test_a_toml_file_that_is_nested_or_large_without_end_is_an_error(tmp_path: Path) -> None:
    pytest.importorskip("tomllib" if sys.version_info >= (3, 11) else "tomli")
    file = tmp_path / "recipe.toml"
    file.write_text(f"a = {'[' * 100_000}")
    with pytest.raises(ValueError, match="nested"):
        read_toml(file)
    os.truncate(file, 1 << 36)  # sparse
    with pytest.raises(OSError, match="expected"):
        read_toml(file)
