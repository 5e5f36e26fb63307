"""Arm and x86 CPUs by LiteRT, Arm Ethos-U by vela, Coral: one ``.tflite`` with INT8 weights per channel.

``emit.py`` goes through ``lower.py`` (torch to LiteRT), ``match.py`` and ``quantize.py`` (INT8 by our plan), then
``vela.py`` or ``edgetpu.py`` for an NPU; ``session.py`` runs the file.
"""
