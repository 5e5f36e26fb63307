"""The row of the target ``cvdnn``. It is read for lists, so that nothing heavy is imported here."""

from __future__ import annotations

from edge_yolov9.registry import Option, Target

TARGET = Target(
    "cvdnn",
    "any CPU by OpenCV's dnn module",
    runtimes=("cv2",),
    installed_by="run: pip install opencv-python",
    options=(Option("no_winograd", "compute convolutions the plain way.", "flag"),),
)
