"""What the compiler does to the graph for TensorRT: half precision, DLA limits, a letterbox of its own, files for
trtexec and DeepStream.

Nothing here imports the device's runtime.
"""
