"""What a pickle in a checkpoint may name. A listed name is never imported: it becomes an inert record."""

from __future__ import annotations

import re

LAYER_MODULES = {"models.common", "models.experimental", "models.yolo", "torch.nn.parameter"}
"""Modules of which any name may stand in a checkpoint as a layer. They are never imported."""

LAYERS = re.compile(r"torch\.nn\.(?:modules|parallel)(?:\.[a-z_]+)+")
"""Modules of torch whose classes may stand in one."""

PROGRAMS = {"ultralytics", "omegaconf", "lightning", "pytorch_lightning", "libreyolo", "yolo", "torchvision", "timm"}
"""Packages of programs that write checkpoints, whose classes and functions may be named in one."""

CLASS = re.compile(r"(?:[A-Z]|v\d+[A-Z_a-z])[A-Za-z0-9_]*")
"""Name of a class, as torch and those programs have them."""

BOUND = {("builtins", "getattr"), ("__builtin__", "getattr")}
"""How pickle names a method of an object: a model whose BatchNorm is folded keeps its new ``forward`` so."""


def is_listed(module: str, name: str) -> bool:
    """Whether a pickle may name ``module.name``, which then becomes an inert record."""
    if (module, name) in VALUES | BOUND:
        return True
    if module in LAYER_MODULES:
        return name.isidentifier()
    if LAYERS.fullmatch(module):
        return CLASS.fullmatch(name) is not None
    return module.partition(".")[0] in PROGRAMS and name.isidentifier()


def is_called(module: str, name: str) -> bool:
    """Whether a pickle may "call" a listed name, which makes another inert record. Functions of programs are not."""
    return module.partition(".")[0] not in PROGRAMS or CLASS.fullmatch(name) is not None


STORAGES = {
    **{"HalfStorage": "float16", "BFloat16Storage": "bfloat16", "FloatStorage": "float32", "DoubleStorage": "float64"},
    **{"LongStorage": "int64", "IntStorage": "int32", "ShortStorage": "int16", "CharStorage": "int8"},
    **{"ByteStorage": "uint8", "BoolStorage": "bool"},
}
"""Storage class -> name of the torch dtype."""

BUILTINS = (
    *(
        "set",
        "frozenset",
        "dict",
        "list",
        "tuple",
        "int",
        "float",
        "str",
        "bool",
        "complex",
        "bytearray",
        "slice",
        "bytes",
    ),
    *("long", "unicode", "xrange", "range", "object"),  # what protocol 2 calls int, str and range
)

VALUES = {
    *(("torch", name) for name in ("Size", "device", *STORAGES, *STORAGES.values())),
    *(
        ("torch._utils", name)
        for name in ("_rebuild_tensor", "_rebuild_tensor_v2", "_rebuild_parameter", "_rebuild_parameter_with_state")
    ),
    *((module, name) for module in ("__builtin__", "builtins") for name in BUILTINS),
    *((f"numpy.{core}.multiarray", name) for core in ("core", "_core") for name in ("scalar", "_reconstruct")),
    *(("numpy", name) for name in ("dtype", "ndarray")),
    *(("pathlib", name) for name in ("PosixPath", "WindowsPath", "PurePosixPath", "PureWindowsPath", "Path")),
    ("collections", "OrderedDict"),
    ("collections", "defaultdict"),
    ("typing", "Any"),
    ("types", "SimpleNamespace"),
    ("torch.serialization", "_get_layout"),
    ("_codecs", "encode"),
    ("argparse", "Namespace"),
}
"""Everything else that training programs write beside the layers: tensors, numbers, paths."""
