"""What a little noise costs a float checkpoint: how much of an INT8 loss is the peak that the checkpoint was chosen on.

    python -m tests.bench.noise CHECKPOINT DATA

Gaussian noise of 1 % of each raw map's root mean square; AP points lost on the val split, one figure per draw.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from torch import Tensor

from edge_yolov9.checkpoint import load
from edge_yolov9.compiler.fold import fold
from edge_yolov9.compiler.gate import Gate
from edge_yolov9.compiler.prune import prune
from edge_yolov9.model import RawHeads
from edge_yolov9.scoring.accuracy import labelled_split

NOISE, DRAWS = 0.01, 5


def main(checkpoint: Path, data: Path) -> None:
    """Print float AP and the losses."""
    found = load(checkpoint)
    heads = RawHeads(fold(prune(found.model))).eval()
    gate = Gate(heads, found.names, found.input_size, data, labelled_split(data, "val"), 100.0)
    lost = []
    for seed in range(DRAWS):
        random = torch.Generator().manual_seed(seed)

        def noisy(images: Tensor, random: torch.Generator = random) -> list[Tensor]:
            return [
                item + NOISE * (item**2).mean().sqrt() * torch.randn(item.shape, generator=random)
                for item in heads(images)
            ]

        lost.append(gate.drop(gate.simulate(noisy)))
    print(f"float AP {100 * gate.before.ap:.2f}; lost {', '.join(f'{points:.2f}' for points in lost)}")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
