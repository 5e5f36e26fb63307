"""Why a package that is needed does not load, as one line: it is missing, or installed and broken."""

from __future__ import annotations

import contextlib
import importlib
import io
from collections.abc import Iterator
from types import ModuleType

from edge_yolov9.errors import EdgeYoloError, RuntimeNotInstalled

OWN = "edge_yolov9"
EXTRAS: dict[str, tuple[str, ...]] = {
    "sign": ("cryptography",),
    "val": ("pycocotools", "yaml"),
    "train": ("torch", "safetensors", "matplotlib", "tensorboard"),
    "compile": (
        *("onnx", "onnxsim", "litert_torch", "ai_edge_quantizer", "onnxruntime", "tomli", "openvino", "ai_edge_litert"),
    ),
}
"""Which extra of edge-yolov9 brings a module."""


@contextlib.contextmanager
def explained(module: str = "") -> Iterator[None]:
    """What a foreign package raises while it is imported in here is one line.

    Args:
        module: the package, where the caller knows it.

    Raises:
        RuntimeNotInstalled: it is missing, or installed and does not load; the message says why and what to do.
    """
    try:
        with contextlib.redirect_stderr(io.StringIO()):  # numpy writes a page there before the error
            yield
    except EdgeYoloError:
        raise
    except Exception as error:  # whatever a library, numpy or pybind11 raises while it loads
        line = import_fault(error, module)
        if not line:
            raise
        raise RuntimeNotInstalled(line) from error


def load(name: str) -> ModuleType:
    """Import a module of a foreign package; errors as for :func:`explained`."""
    with explained(name.partition(".")[0]):
        return importlib.import_module(name)


def import_fault(error: BaseException, module: str = "") -> str:
    """The line for an exception that came while a foreign package was imported; "" for any other exception.

    Args:
        error: what was raised.
        module: what was imported, where the caller knows it.
    """
    module = module or _importing(error)
    if isinstance(error, ModuleNotFoundError) and module in ("", (error.name or "").partition(".")[0]):
        return _missing((error.name or "").partition(".")[0])
    if not module and isinstance(error, ImportError):
        module = (error.name or "").partition(".")[0]
    return _broken(module, error) if module not in ("", OWN) else ""


def _importing(error: BaseException) -> str:
    """The package whose modules were being executed, the first outside edge-yolov9; "" where none was."""
    trace = error.__traceback__
    while trace is not None:
        package = str(trace.tb_frame.f_globals.get("__name__", "")).partition(".")[0]
        if trace.tb_frame.f_code.co_name == "<module>" and package not in ("", OWN, "__main__"):
            return package
        trace = trace.tb_next
    return ""


def _missing(package: str) -> str:
    """Name the extra that brings a missing package."""
    for extra, packages in EXTRAS.items():
        if package in packages:
            return f'this needs {package}, which is not installed; run: pip install "edge-yolov9[{extra}]"'
    if package == "cv2":
        return "this needs cv2, which is not installed; run: pip install opencv-python-headless (or opencv-python)"
    return f"the Python module {package} is missing; reinstall edge-yolov9"


def _broken(module: str, error: BaseException) -> str:
    """Version, reason and remedy of a package that is installed and does not load."""
    from importlib import metadata  # takes 15 ms, which a device that works does without

    names = metadata.packages_distributions().get(module, [])
    known = {name: metadata.version(name) for name in names}
    title = ", ".join(f"{name} {version}" for name, version in known.items()) or module
    reason = (" ".join(str(error).split()) or type(error).__name__)[:200]
    again = " ".join(f"{name}=={version}" for name, version in known.items()) or module
    remedy = f"run: pip install --force-reinstall {again}"
    if module == "cv2" and ".so" in reason:
        remedy = (
            "this system has no desktop; run: pip uninstall -y opencv-python opencv-python-headless && "
            "pip install opencv-python-headless (the same cv2 without windows)"
        )
    elif "numpy" in reason.lower() or "_ARRAY_API" in reason or reason == "ImportError":
        remedy = f"it may be made for another numpy; run: pip install --upgrade {' '.join(known) or module}"
    elif "cannot open shared object" in reason:
        library = reason.partition(":")[0]
        remedy = f"install the system package with {library}, or run: pip install --force-reinstall {again}"
    return f"{title} is installed, but does not load ({reason}); {remedy}"
