"""``python -m edge_yolov9``."""

from edge_yolov9.cli import main

main(prog_name="edge-yolov9")
