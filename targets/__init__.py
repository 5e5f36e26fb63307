"""One folder per target; installed as ``edge_yolov9.targets``."""
