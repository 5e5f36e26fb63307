"""Intel CPU, GPU and NPU by OpenVINO: an IR that takes BGR bytes as a camera gives them.

``emit.py`` writes it, ``session.py`` compiles it for the machine's device and runs it.
"""
