"""What runs on the board: CUDA by ctypes, engines that are built once and kept, frames that the GPU letterboxes.

Nothing here imports a compiler's tool.
"""
