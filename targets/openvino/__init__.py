"""Intel CPU, GPU and NPU by OpenVINO: an IR that takes BGR bytes as a camera gives them."""
