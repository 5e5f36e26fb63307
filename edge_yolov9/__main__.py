"""``python -m edge_yolov9``."""

from edge_yolov9.cli import main

if __name__ == "__main__":
    main(prog_name="edge-yolov9")
