"""AP of float against INT8 for several bundles of one checkpoint, as a Markdown table.

    python -m tests.bench.delta BUNDLE [BUNDLE...]

Figures are those that ``compile`` measured and put into the manifests.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from edge_yolov9.bundle import read
from edge_yolov9.scoring import delta


def table(bundles: Sequence[Path]) -> str:
    """One row per figure and class, one column per bundle: AP in points, difference to float in brackets."""
    opened = [read(path).manifest for path in bundles]
    measured = [delta.of_manifest(manifest.accuracy) for manifest in opened]  # of a bundle without --data: ValueError
    objects = {f"AP of {row.name}": str(row.objects) for row in measured[0].float.classes}
    lines = ["| | objects | float | " + " | ".join(manifest.target for manifest in opened) + " |"]
    lines.append("|---|---|---|" + "---|" * len(opened))
    for group in zip(*(list(one.rows()) for one in measured), strict=True):
        name, before, _ = group[0]
        if before is None:
            continue
        cells = [f"{100 * (after or 0):.2f} ({100 * ((after or 0) - before):+.2f})" for _, _, after in group]
        lines.append(f"| {name} | {objects.get(name, '')} | {100 * before:.2f} | {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(table([Path(word) for word in sys.argv[1:]]))
