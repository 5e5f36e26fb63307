"""``python -m edge_yolov9``. Python puts the current folder first for ``-m``; nothing of it is loaded from here on."""

import os
import sys

if __name__ == "__main__":
    if sys.path[:1] == [os.getcwd()]:  # noqa: PTH109 (a pathlib could lie there)
        del sys.path[0]
    from edge_yolov9.cli import main

    main(prog_name="edge-yolov9")
