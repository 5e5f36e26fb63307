"""Arm and x86 CPUs by LiteRT, Arm Ethos-U by vela, Coral: one ``.tflite`` with INT8 weights per channel."""
