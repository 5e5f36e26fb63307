"""The float model behind the interface of a Detector: what every artifact is compared with."""

from __future__ import annotations

from edge_yolov9.checkpoint import Checkpoint
from edge_yolov9.compiler.prune import prune
from edge_yolov9.decode import EVALUATION, DecodeOptions
from edge_yolov9.errors import InputError
from edge_yolov9.lane import Lane, Postprocess
from edge_yolov9.model import RawHeads
from edge_yolov9.model.session import TorchSession
from edge_yolov9.registry import Session
from edge_yolov9.scoring.accuracy import Detect

LARGEST = 8192
"""Pixels; the activations of larger images fit no memory."""


def checked_input_size(size: tuple[int, int]) -> tuple[int, int]:
    """(height, width), each a multiple of 32 up to LARGEST.

    Raises:
        InputError: it is not.
    """
    for side in size:
        if side < 32 or side % 32:
            near = max(32, round(side / 32) * 32)
            raise InputError(f"the image size must be a multiple of 32, got {side}; use {near}")
        if side > LARGEST:
            raise InputError(f"the image size must be at most {LARGEST}, got {side}")
    return size


def session_detector(
    session: Session, names: tuple[str, ...], input_size: tuple[int, int], options: DecodeOptions = EVALUATION
) -> Detect:
    """A float session with the letterbox and the decoder of :class:`edge_yolov9.Detector`.

    Args:
        session: gives six float32 raw tensors.
        names: the model's classes.
        input_size: (height, width), pixels.
        options: thresholds.

    Returns:
        A function from one frame (H, W, 3) uint8 BGR to its Detections, in pixels of the frame.
    """
    lane = Lane(session, Postprocess(names, input_size))
    return lambda frame: lane.detect(frame, options)


def checkpoint_detector(
    checkpoint: Checkpoint, input_size: tuple[int, int] | None = None, options: DecodeOptions = EVALUATION
) -> Detect:
    """The deployed part of a checkpoint as a detector; ``input_size`` (height, width) is its own when None.

    Raises:
        InputError: a side is not a multiple of 32.
    """
    size = checked_input_size(input_size or checkpoint.input_size)
    session = TorchSession(RawHeads(prune(checkpoint.model)).eval())
    return session_detector(session, checkpoint.names, size, options)
