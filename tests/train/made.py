"""A tiny data set of made images: coloured rectangles on noise."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

NAMES = ("red", "green")


def make_data(folder: Path, train: int = 12, val: int = 4, names: tuple[str, ...] = NAMES, side: int = 96) -> Path:
    """Write images and YOLO labels; the DATA file."""
    rng = np.random.default_rng(7)
    for split, count in (("train", train), ("val", val)):
        images, labels = folder / "images" / split, folder / "labels" / split
        images.mkdir(parents=True)
        labels.mkdir(parents=True)
        for i in range(count):
            image = rng.integers(60, 120, (side, side * 4 // 3, 3)).astype(np.uint8)
            rows = []
            for _ in range(3):
                cls = int(rng.integers(len(names)))
                w, h = rng.uniform(0.2, 0.4, 2)
                x, y = rng.uniform(w / 2, 1 - w / 2), rng.uniform(h / 2, 1 - h / 2)
                corner = int((x - w / 2) * image.shape[1]), int((y - h / 2) * side)
                other = int((x + w / 2) * image.shape[1]), int((y + h / 2) * side)
                cv2.rectangle(image, corner, other, ((0, 0, 255), (0, 255, 0))[cls % 2], -1)
                rows.append(f"{cls} {x:.6f} {y:.6f} {w:.6f} {h:.6f}")
            cv2.imwrite(str(images / f"{i:03}.png"), image)
            (labels / f"{i:03}.txt").write_text("\n".join(rows) + "\n")
    data = folder / "data.yaml"
    data.write_text(f"train: images/train\nval: images/val\nnames: [{', '.join(names)}]\n")
    return data
