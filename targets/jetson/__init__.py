"""NVIDIA Jetson by TensorRT: explicit Q/DQ ONNX in the bundle, an engine that the board builds once and keeps.

``emit.py`` and ``graphs/`` belong to the compiler, ``session.py`` and ``runtime/`` to the board; ``names.py`` to both.
"""
