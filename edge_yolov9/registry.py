"""Which targets exist, and which work on this machine.

One folder under ``targets/`` per target: ``session.py`` for the device, ``emit.py`` for the compiler, ``target.toml``
for the boards. Adding a target is adding a folder and a row here; adding a board is adding a table to the TOML.
"""

from __future__ import annotations

import importlib
import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from edge_yolov9.cpu import cores
from edge_yolov9.errors import BundleError, RuntimeNotInstalled, TargetError
from edge_yolov9.files import read_toml

if TYPE_CHECKING:
    from edge_yolov9.bundle import Bundle

PRECISIONS = ("fp32", "fp16", "int8")


class Session(Protocol):
    """A model loaded in one vendor runtime. One thread at a time."""

    def infer(self, image: NDArray[np.uint8]) -> list[NDArray[Any]]:
        """Run one letterboxed frame.

        Args:
            image: (height, width, 3) uint8 BGR, C-contiguous, of the bundle's input size.

        Returns:
            The six raw tensors in the order of ``manifest.outputs``, each as a 2-D view (channels, cells) with cells
            in row order, in the dtype that the manifest states. Valid until the next call.

        Raises:
            InferenceError: the runtime failed.
        """
        ...

    def close(self) -> None:
        """Free what the runtime holds. Calling it twice does no harm."""
        ...


@dataclass(frozen=True)
class Target:
    """A way to run a model. ``runtimes`` are importable modules, any one of which is enough."""

    name: str
    title: str
    extra: str
    runtimes: tuple[str, ...]

    @property
    def runtime(self) -> str | None:
        """The vendor module that is importable here, or None."""
        return next((name for name in self.runtimes if _importable(name)), None)


TARGETS: dict[str, Target] = {
    "openvino": Target("openvino", "Intel CPU, GPU and NPU by OpenVINO", "openvino", ("openvino",)),
    "tflite": Target("tflite", "Arm and x86 CPUs by LiteRT", "tflite", ("ai_edge_litert", "tflite_runtime")),
    "jetson": Target("jetson", "NVIDIA Jetson by TensorRT", "jetson", ("tensorrt",)),
    "onnx": Target("onnx", "any CPU by ONNX Runtime", "onnx", ("onnxruntime",)),
}

PRESETS = {"frigate": "onnx"}
"""What a target writes for another program, beside its own model: ``targets/<target>/<preset>.py``."""


INSTALLED_BY = {
    "jetson": "JetPack brings it: sudo apt install nvidia-jetpack, and python3 -m venv --system-site-packages to see it"
}
"""Runtimes that no package registry has."""


def target(name: str) -> Target:
    """Look a target up.

    Raises:
        TargetError: there is none of that name.
    """
    try:
        return TARGETS[name]
    except KeyError:
        raise TargetError(f"unknown target {name!r}; expected one of {', '.join(TARGETS)}") from None


def open_session(bundle: Bundle, runtime: str | None = None, threads: int | None = None) -> Session:
    """Load a bundle's model; see :func:`open_sessions`."""
    return open_sessions(bundle, runtime, threads, 1)[0]


def open_sessions(bundle: Bundle, runtime: str | None, threads: int | None, count: int) -> list[Session]:
    """Load a bundle's model for ``count`` inferences at the same time, each by a thread of its own.

    Args:
        bundle: a checked bundle.
        runtime: the target whose session opens it; its own by default. ``"onnx"`` runs the portable ONNX graph of a
            jetson bundle in ONNX Runtime, to check it where there is no Jetson.
        threads: CPU threads of all sessions together; the runtime's sensible default when None.
        count: how many sessions. They share what the runtime lets them share.

    Raises:
        RuntimeNotInstalled: the vendor runtime is absent; the message names the extra.
        TargetError: the runtime cannot open a bundle of this target.
        BundleError: the runtime does not accept the model file, or its path.
    """
    own = bundle.manifest.target
    wanted = target(runtime or own)
    if wanted.name != own and (own, wanted.name) != ("jetson", "onnx"):
        raise TargetError(f"a bundle for {own} cannot be run by {wanted.name}; compile it with --target {wanted.name}")
    if wanted.runtime is None:
        raise RuntimeNotInstalled(
            f"this bundle needs the {wanted.name} runtime ({' or '.join(wanted.runtimes)}), which is not installed; "
            f"{INSTALLED_BY.get(wanted.name, _by_pip(wanted))}"
        )
    try:
        sessions: list[Session] = module(wanted.name, "session").open_sessions(bundle, threads, count)
    except TypeError as error:  # the native part takes UTF-8 alone
        if str(bundle.path).isprintable():
            raise
        raise BundleError(
            f"{wanted.name} cannot open {bundle.path}: the name is not UTF-8 in this locale; rename it, or set "
            "LC_ALL=C.UTF-8"
        ) from error
    return sessions


def stand_in(name: str) -> str | None:
    """The runtime that checks a target's artifacts while compiling; None for its own.

    A jetson bundle is checked by its graph even where TensorRT is installed: engines are the device's and take minutes.
    """
    return "onnx" if name == "jetson" else None


def module(name: str, part: str) -> Any:
    """``edge_yolov9.targets.<name>.<part>``, imported on demand."""
    return importlib.import_module(f"edge_yolov9.targets.{target(name).name}.{part}")


def check_preset(name: str | None, target_name: str) -> None:
    """None always passes.

    Raises:
        TargetError: there is no such preset, or it is another target's.
    """
    if name is not None and name not in PRESETS:
        raise TargetError(f"unknown preset {name!r}; expected one of {', '.join(PRESETS)}")
    if name is not None and PRESETS[name] != target_name:
        raise TargetError(f"the preset {name} belongs to --target {PRESETS[name]}, not to {target_name}")


def boards(name: str) -> dict[str, dict[str, Any]]:
    """The device profiles of a target: ``{board: settings}``; errors as for :func:`profiles`."""
    found: dict[str, dict[str, Any]] = profiles(name)["boards"]
    return found


def board(target_name: str, name: str | None = None) -> tuple[str, dict[str, Any]]:
    """Name and profile of a target's board, the first when None.

    Raises:
        TargetError: the target has no board of this name; see :func:`profiles` too.
    """
    known = boards(target_name)
    chosen = name or next(iter(known))
    if chosen not in known:
        raise TargetError(f"unknown board {chosen!r} for {target_name}; expected one of {', '.join(known)}")
    return chosen, known[chosen]


def profiles(name: str) -> dict[str, Any]:
    """A target's ``target.toml``: ``boards``, and ``releases`` of the system software where a target has such.

    Raises:
        TargetError: this Python reads no TOML (3.10 without ``tomli``).
    """
    package = Path(importlib.import_module("edge_yolov9.targets").__path__[0])
    return read_toml(package / target(name).name / "target.toml")


def concurrency(runtime: str, threads: int | None = None) -> int:
    """How many sessions keep a runtime (a target's name) busy: one per CPU thread, every core when None.

    On a GPU a pair: one frame is prepared while the other is computed.
    """
    return 2 if runtime == "jetson" else threads or cores()


def _by_pip(wanted: Target) -> str:
    return f'run: pip install "edge-yolov9[{wanted.extra}]"'


def _importable(name: str) -> bool:
    return importlib.util.find_spec(name) is not None
