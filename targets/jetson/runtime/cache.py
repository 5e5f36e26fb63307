"""Where engines are kept: under which name, vouched for by a digest, one builder at a time, and why one does not fit.

The name holds the bundle's digest, the TensorRT version, the GPU's name and compute capability, and the JetPack
release. Beside each file lies a JSON with its sha256 and all of that in the clear.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from edge_yolov9.bundle import enclosing
from edge_yolov9.errors import InferenceError
from edge_yolov9.files import from_json, write_whole
from edge_yolov9.system.folders import tidy
from edge_yolov9.text import logger

from .cuda import Device

log = logger("edge_yolov9.jetson")

RELEASE = Path("/etc/nv_tegra_release")

TITLES = {"tensorrt": "TensorRT", "gpu": "the GPU", "capability": "compute capability", "jetpack": "Jetson Linux"}


@dataclass(frozen=True)
class Place:
    """Where an engine is valid."""

    tensorrt: str
    gpu: str
    capability: str
    jetpack: str

    @classmethod
    def here(cls, trt: Any, device: Device) -> Place:
        """This machine."""
        try:
            release = RELEASE.read_text(encoding="utf-8", errors="replace").splitlines()[0].strip()
        except (OSError, IndexError):
            release = ""
        return cls(str(trt.__version__), device.name, device.capability, release)

    @property
    def version(self) -> tuple[int, int]:
        """TensorRT's, as far as anything depends on it."""
        return version(self.tensorrt) or (0, 0)

    def key(self, digest: str = "") -> str:
        """File stem for a bundle's engine; without a digest, for the kernel timings of this place."""
        text = json.dumps({"bundle": digest, **asdict(self)}, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:32]


@dataclass(frozen=True)
class Facts:
    """What stands beside a kept file; the places are those of :class:`Place`."""

    tensorrt: str = ""
    gpu: str = ""
    capability: str = ""
    jetpack: str = ""
    bundle: str = ""
    """Digest of the bundle that an engine was built from."""
    precision: str = ""
    """What an engine computes in."""
    why: str = ""
    """Why that is not the bundle's precision; "" where it is."""
    sha256: str = ""
    """Digest of the file, which vouches for it."""


def version(text: str) -> tuple[int, int] | None:
    """Major and minor of "10.3.0"; None where there is no such thing."""
    match = re.match(r"(\d+)\.(\d+)", text)
    return (int(match[1]), int(match[2])) if match else None


def folder() -> Path:
    """$EDGE_YOLOV9_CACHE, or edge-yolov9/engines in the user's cache folder.

    Raises:
        InferenceError: the user has no home, or the folder lies in a bundle.
    """
    if chosen := os.environ.get("EDGE_YOLOV9_CACHE"):
        if bundle := enclosing(Path(chosen)):
            raise InferenceError(
                f"EDGE_YOLOV9_CACHE lies in the bundle {bundle}, which is complete; set another folder"
            )
        return Path(chosen)
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "edge-yolov9" / "engines"
    except RuntimeError:
        raise InferenceError("this user has no home folder for engines; set EDGE_YOLOV9_CACHE to a folder") from None


def read(file: Path) -> tuple[bytes, Facts] | None:
    """A kept file and its facts when the digest is right, else None, with a message where there was something."""
    beside = file.with_name(file.name + ".json")
    try:
        if not beside.exists():  # it is written last
            return None
        data = file.read_bytes()
    except OSError as error:
        log.warning("the cached %s cannot be read (%s); it is made again", file, error.strerror or error)
        return None
    facts = _facts(beside)
    if hashlib.sha256(data).hexdigest() == facts.sha256:
        return data, facts
    log.warning("the cached %s is damaged; it is made again", file)
    return None


def keep(file: Path, data: bytes, facts: Facts) -> None:
    """Write a file and, last, the JSON that vouches for it. A cache that cannot be written costs time, not the run."""
    stated = asdict(replace(facts, sha256=hashlib.sha256(data).hexdigest()))
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        tidy(file.parent)
        write_whole(file, data, mode=0o644)  # whoever builds it, a service's user may read it
        write_whole(file.with_name(file.name + ".json"), json.dumps(stated, indent=2).encode(), mode=0o644)
    except OSError as error:
        log.warning("cannot keep %s (%s); it will be made again next time", file, error.strerror or error)


def changes(digest: str, place: Place) -> str:
    """What is different since this bundle's newest engine was built, in words; "" when there never was one."""
    try:
        files = sorted(folder().glob("*.engine.json"), key=_age)
    except OSError:
        files = []
    for facts in map(_facts, files):
        if facts.bundle == digest:
            before = asdict(facts)
            return ", ".join(
                f"{TITLES[name]} was {before[name]!r} and is {value!r}"
                for name, value in asdict(place).items()
                if before[name] != value
            )
    return ""


@contextmanager
def locked(file: Path) -> Iterator[None]:
    """One process at a time makes ``file``; the others wait, with a message. No folder to write in: no lock."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(file.with_name(file.name + ".lock"), os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW, 0o666)
    except OSError:
        yield
        return
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            log.warning("another process is building this engine; waiting for it")
            fcntl.flock(handle, fcntl.LOCK_EX)
        except OSError as error:
            log.info("engines are built without a lock, which this file system does not have: %s", error.strerror)
        yield
    finally:
        os.close(handle)


def _age(file: Path) -> float:
    try:
        return -file.stat().st_mtime
    except OSError:  # another process has just removed it
        return 0.0


def _facts(file: Path) -> Facts:
    try:
        return from_json(Facts, json.loads(file.read_text(encoding="utf-8")), str(file))
    except (OSError, ValueError):
        return Facts()
