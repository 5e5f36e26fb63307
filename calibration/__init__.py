"""Calibration recipes that are shipped: TOML files that name images by id and sha256, and the rule that chose them.

No pictures. ``edge_yolov9.compiler.calibration.recipe`` reads them; ``--calibration coco=FOLDER`` uses ``coco.toml``.
"""
