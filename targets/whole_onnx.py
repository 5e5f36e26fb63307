"""ONNX files of a bundle that hold all there is of the model."""

from __future__ import annotations

from edge_yolov9.bundle import Bundle
from edge_yolov9.errors import BundleError
from edge_yolov9.text import shown

OUTSIDE = b"location"
"""Key of every tensor that lies in another file, which no digest covers: the runtimes look for such a file in the
current folder. Nothing that the compiler writes holds the word."""

OTHER_FORMAT = b"ORTM"
"""Mark of ONNX Runtime's own format, which it takes as well, and reads with less care."""


def read_onnx(bundle: Bundle, name: object) -> bytes:
    """The content of an ONNX file that the manifest lists.

    Raises:
        BundleError: it is not listed, missing or changed, or reads other files.
    """
    if not isinstance(name, str):
        raise BundleError(f"{bundle.path}: expected the name of an ONNX file, got {shown(name)}; compile it again")
    data = bundle.content(name)
    if OUTSIDE in data or data[4:8] == OTHER_FORMAT:
        raise BundleError(f"{bundle.path}: {name} reads other files, or is no ONNX; compile the bundle again")
    return data
