"""One row per target: everything that generic code asks about it.

Nothing of a target is imported for its row. Packages that are installed beside this one bring rows of their own, see
:mod:`edge_yolov9.registry.plugins`.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from edge_yolov9.errors import TargetError

OWN = "edge-yolov9"
"""The distribution that brings the built-in targets."""


@dataclass(frozen=True)
class Option:
    """What the compilation for one target can be asked for beyond the options of every target."""

    name: str
    """``camera`` is ``--camera`` at the command line, and the key in ``CompileOptions.target_options``."""
    help: str
    """The help text of the command line, without the target's name."""
    kind: Literal["flag", "size", "whole", "text"] = "text"
    """Type of the value: True, (height, width) in pixels, an int, or a str."""

    @property
    def flag(self) -> str:
        """How the command line spells the option."""
        return "--" + self.name.replace("_", "-")

    def accepts(self, value: object) -> bool:
        """Whether ``value`` is of the option's kind."""
        return _ACCEPTS[self.kind](value)


@dataclass(frozen=True)
class Target:
    """A way to run a model."""

    name: str
    """What ``--target`` and a bundle's manifest call the target."""
    title: str
    """What the target is, in a few words."""
    runtimes: tuple[str, ...]
    """Vendor modules, any one of which is enough to run a bundle."""
    extra: str = ""
    """The extra of edge-yolov9 that installs the runtime; "" where there is none."""
    installed_by: str = ""
    """How to install a runtime that no extra brings, as the end of an error message."""
    stand_in: str | None = None
    """The target whose runtime checks artifacts while compiling, and measures AP where the own one is absent; None
    where the own runtime does."""
    opens: tuple[str, ...] = ()
    """Other targets whose bundles this target's session runs."""
    sessions: int | None = None
    """How many sessions keep the device busy; None on a CPU: one per thread."""
    presets: tuple[str, ...] = ()
    """What the target writes for other programs beside its model: modules with ``write(folder, manifest)``."""
    options: tuple[Option, ...] = ()
    """What a compilation for this target alone can be asked for."""
    package: str = ""
    """The package that holds ``session.py``, ``emit.py`` and ``target.toml``; "" for ``edge_yolov9.targets.<name>``."""
    distribution: str = OWN
    """Name and version of the installed distribution that brings the target."""

    @property
    def runtime(self) -> str | None:
        """The vendor module that is importable here, or None."""
        return next((name for name in self.runtimes if importable(name)), None)

    @property
    def home(self) -> str:
        """The name of the target's package."""
        return self.package or f"edge_yolov9.targets.{self.name}"

    @property
    def built_in(self) -> bool:
        """Whether edge-yolov9 itself brings the target."""
        return self.distribution == OWN

    @property
    def how_to_install(self) -> str:
        """How to get the runtime, as the end of an error message."""
        return self.installed_by or f'run: pip install "{OWN}[{self.extra}]"'

    def check_options(self, given: Mapping[str, object]) -> None:
        """Hold ``given``, {name: value}, against ``options``.

        Raises:
            TargetError: the target has no option of a name, or a value is of another kind.
        """
        known = {option.name: option for option in self.options}
        for name, value in given.items():
            if name not in known:
                raise TargetError(_foreign(name, self.name))
            if not known[name].accepts(value):
                raise TargetError(f"{known[name].flag} takes a {known[name].kind}, got {str(value)[:100]!r}")


def importable(name: str) -> bool:
    """Whether a module of this name is installed; it is not imported."""
    try:
        return importlib.util.find_spec(name) is not None
    except Exception:  # whatever a parent package raises, or a loaded module without a spec
        return False


def _foreign(name: str, target: str) -> str:
    owner = next((row.name for row in TARGETS.values() if name in {option.name for option in row.options}), None)
    flag = Option(name, "").flag
    if owner is None:
        return f"{target} has no option {flag}; leave it out"
    return f"{flag} belongs to --target {owner}, not to {target}; leave it out"


def _is_size(value: object) -> bool:
    return isinstance(value, tuple) and len(value) == 2 and all(type(side) is int and side > 0 for side in value)


_ACCEPTS: dict[str, Callable[[object], bool]] = {
    "flag": lambda value: isinstance(value, bool),
    "size": _is_size,
    "whole": lambda value: type(value) is int,
    "text": lambda value: isinstance(value, str),
}

_ROWS = (
    Target("openvino", "Intel CPU, GPU and NPU by OpenVINO", ("openvino",), "openvino"),
    Target("tflite", "Arm and x86 CPUs by LiteRT", ("ai_edge_litert", "tflite_runtime"), "tflite"),
    Target(
        "jetson",
        "NVIDIA Jetson by TensorRT",
        ("tensorrt",),
        "jetson",
        installed_by="JetPack brings it: sudo apt install nvidia-jetpack, and python3 -m venv --system-site-packages "
        "to see it",
        stand_in="onnx",  # also where TensorRT is installed: engines are the device's own, and take minutes to build
        sessions=2,  # one frame is prepared while the other is computed
        options=(
            Option("camera", "frames of 720x1280 (height x width) are letterboxed on the GPU.", "size"),
            Option("dla", "mark what runs on the DLA; untested on hardware.", "flag"),
        ),
    ),
    Target("onnx", "any CPU by ONNX Runtime", ("onnxruntime",), "onnx", opens=("jetson",), presets=("frigate",)),
)

TARGETS: dict[str, Target] = {row.name: row for row in _ROWS}
"""The built-in targets. One is a folder ``targets/<name>/`` and a row here."""
