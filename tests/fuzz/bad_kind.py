"""A kind of input whose opening fails in each way that the campaign must see; run by test_fuzz."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

from edge_yolov9.errors import EdgeYoloError
from tests.fuzz import mutations


def make(folder: Path) -> None:
    (folder / "a").write_text("a")


def use(folder: Path) -> None:
    match folder.name:
        case "1":
            os.abort()
        case "2":
            time.sleep(60)
        case "3":
            print(1 / 0)
        case "4":
            raise EdgeYoloError("x" * 5000)


if __name__ == "__main__":
    mutations.KINDS["bad"] = mutations.Kind(make, ("a",), use)
    sys.exit(mutations.main())
