"""Charts as SVG, and the heat map as PNG: no library, no script."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from edge_yolov9.errors import EdgeYoloError
from edge_yolov9.text import html, short

LINE, LEFT, WIDTH = 22, 190, 760
"""Height of a bar's row, place of the bars, width of the chart; pixels."""
COLOURS = ("#2f6f9f", "#d08a2e", "#6b9e4f")
MOST_BARS = 60
CELL = 12
"""Pixels of a cell of the heat map."""


def bars(rows: Sequence[tuple[str, Sequence[float]]], series: Sequence[str], unit: str = "") -> bytes:
    """Horizontal bars: of each row one for each of ``series``. The first ``MOST_BARS`` rows are drawn."""
    rows = rows[:MOST_BARS]
    most = max((value for _, values in rows for value in values), default=0) or 1
    step = LINE / max(1, len(series))
    parts = []
    for place, (name, values) in enumerate(rows):
        top = 30 + place * (LINE + 4)
        parts.append(f'<text x="{LEFT - 8}" y="{top + 15}" text-anchor="end">{html(short(name, 26))}</text>')
        for index, value in enumerate(values):
            width = (WIDTH - LEFT - 90) * value / most
            y = top + index * step
            parts.append(
                f'<rect x="{LEFT}" y="{y:.1f}" width="{width:.1f}" height="{max(1, step - 1):.1f}" '
                f'fill="{COLOURS[index % len(COLOURS)]}"/>'
                f'<text x="{LEFT + width + 5:.1f}" y="{y + step - 2:.1f}">{value:g}{html(unit)}</text>'
            )
    keys = "".join(
        f'<rect x="{LEFT + 120 * i}" y="6" width="10" height="10" fill="{COLOURS[i % len(COLOURS)]}"/>'
        f'<text x="{LEFT + 14 + 120 * i}" y="15">{html(short(name, 14))}</text>'
        for i, name in enumerate(series)
    )
    height = 36 + len(rows) * (LINE + 4)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
        f'font-family="sans-serif" font-size="12"><rect width="100%" height="100%" fill="#fff"/>{keys}'
        f"{''.join(parts)}</svg>"
    ).encode()


def heat_map(cells: Sequence[Sequence[int]]) -> bytes:
    """A PNG of how often each cell of the image is covered: white never, dark most often.

    Raises:
        EdgeYoloError: OpenCV cannot encode it.
    """
    counts = np.array(cells, np.float64)
    grey = np.uint8(255 * (1 - counts / max(1.0, float(counts.max()))))
    colour = cv2.applyColorMap(np.asarray(grey, np.uint8), cv2.COLORMAP_BONE)
    large = cv2.resize(colour, None, fx=CELL, fy=CELL, interpolation=cv2.INTER_NEAREST)
    done, data = cv2.imencode(".png", large)
    if not done:
        raise EdgeYoloError("the heat map cannot be encoded as PNG")
    return data.tobytes()
