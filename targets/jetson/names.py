"""Names that the compile side writes and the device side reads. Imports neither."""

from __future__ import annotations

FRAME = "frame"
"""Input tensor of the letterbox engine: (H, W, 3) uint8 BGR."""
