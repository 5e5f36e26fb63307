"""What a board's table in ``target.toml`` says of a Jetson alone, and what a compilation for one can be asked for."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class JetsonBoard:
    """Facts and advice beside those of every :class:`edge_yolov9.registry.Board`; sources are in ``target.toml``."""

    compute_capability: str
    """Compute capability of the GPU, e.g. "8.7"."""
    jetpack: tuple[str, ...]
    """JetPack releases for the board: keys of the table ``releases``."""
    memory_gb: float
    bandwidth_gbs: float
    """Memory bandwidth, GB per second."""
    fp16_tflops: float
    """Dense FP16 rate, 10^12 operations per second."""
    int8_tops: float | None = None
    """Dense INT8 rate of the GPU, 10^12 operations per second; None where none is published."""
    dla_cores: int = 0
    """Deep learning accelerators that TensorRT supports."""
    workspace_mib: int | None = None
    """Memory that TensorRT may take for its kernels, MiB; goes into the bundle."""


@dataclass(frozen=True)
class JetsonOptions:
    """The target's own compile options, as the row in :mod:`edge_yolov9.registry.rows` offers them."""

    camera: tuple[int, int] | None = None
    """(height, width) of frames that the GPU letterboxes, pixels."""
    dla: bool = False
    """Whether layers are marked for the DLA."""
