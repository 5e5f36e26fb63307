"""What a pickle in a checkpoint may name. A listed name is never imported: it becomes an inert record."""

from __future__ import annotations

LAYER_MODULES = {
    "models.common",
    "models.experimental",
    "models.yolo",
    "torch.nn.modules.activation",
    "torch.nn.modules.batchnorm",
    "torch.nn.modules.container",
    "torch.nn.modules.conv",
    "torch.nn.modules.dropout",
    "torch.nn.modules.linear",
    "torch.nn.modules.pooling",
    "torch.nn.modules.upsampling",
}
"""Modules whose classes may stand in a checkpoint as layers. They are never imported."""

STORAGES = {
    **{"HalfStorage": "float16", "BFloat16Storage": "bfloat16", "FloatStorage": "float32", "DoubleStorage": "float64"},
    **{"LongStorage": "int64", "IntStorage": "int32", "ShortStorage": "int16", "CharStorage": "int8"},
    **{"ByteStorage": "uint8", "BoolStorage": "bool"},
}
"""Storage class -> name of the torch dtype."""

VALUES = {
    *(("torch", name) for name in ("Size", "device", *STORAGES, *STORAGES.values())),
    *(("torch._utils", name) for name in ("_rebuild_tensor", "_rebuild_tensor_v2", "_rebuild_parameter")),
    *((module, name) for module in ("__builtin__", "builtins") for name in ("set", "frozenset")),
    *((f"numpy.{core}.multiarray", name) for core in ("core", "_core") for name in ("scalar", "_reconstruct")),
    *(("numpy", name) for name in ("dtype", "ndarray")),
    *(("pathlib", name) for name in ("PosixPath", "WindowsPath", "PurePosixPath", "PureWindowsPath", "Path")),
    ("collections", "OrderedDict"),
    ("_codecs", "encode"),
    ("argparse", "Namespace"),
}
"""Everything else that training programs write beside the layers: tensors, numbers, paths."""
