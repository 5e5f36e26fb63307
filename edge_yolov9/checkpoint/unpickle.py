"""A pickle machine that builds tensors' descriptions and plain containers, and can call nothing.

It does not use Python's ``pickle`` at all: opcodes are decoded by ``pickletools`` and interpreted here. A global
is never looked up. It must be on the list below, and becomes an inert record of its name; "calling" it makes
another record. So the classes of the program that wrote a checkpoint are neither needed nor trusted.
"""

from __future__ import annotations

import pickletools
from collections.abc import Callable
from dataclasses import dataclass
from typing import IO, Any, TypeVar

from edge_yolov9.errors import CheckpointError, UnsafeCheckpointError

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


@dataclass(frozen=True, eq=False)
class Global:
    """The name of something importable. Nothing is imported."""

    module: str
    name: str


@dataclass(eq=False)
class Inert:
    """What "calling" a global gives: its name, the arguments, and later the state. It does nothing."""

    of: Global
    args: tuple[Any, ...]
    state: Any = None


@dataclass(frozen=True, eq=False)
class StorageRef:
    """A run of numbers elsewhere in the file; ``dtype`` is torch's name for it."""

    key: str
    dtype: str
    count: int


@dataclass(frozen=True, eq=False)
class TensorRef:
    """A tensor as the pickle describes it: a strided view (elements) of a storage. Not yet checked."""

    storage: StorageRef
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]


T = TypeVar("T")


class Mark:
    """Where a variable-length argument starts on the stack."""


def unpickle(stream: IO[bytes], what: str, storages: dict[str, StorageRef] | None = None) -> Any:
    """Interpret one pickle and leave ``stream`` behind its end. ``storages`` collects every storage it mentions.

    Returns:
        Plain Python containers, numbers and strings, TensorRef, Global and Inert.

    Raises:
        UnsafeCheckpointError: it names a global that is not on the list, or uses an opcode for other purposes.
        CheckpointError: truncated or malformed. ``what`` is the file in the message.
    """
    machine = Machine(what, {} if storages is None else storages)
    try:
        for opcode, argument, _ in pickletools.genops(stream):
            if opcode.name == "STOP":
                return machine.stack[-1]
            machine.step(opcode.name, argument)
    except (ValueError, TypeError, IndexError, KeyError, AttributeError, OverflowError, MemoryError) as error:
        raise CheckpointError(
            f"{what}: its pickle is truncated or malformed ({_short(error)}); fetch it again"
        ) from None
    raise CheckpointError(f"{what}: its pickle has no end; fetch it again")


class Machine:
    """The stack machine of the pickle format, without the part that imports and calls."""

    def __init__(self, what: str, storages: dict[str, StorageRef]) -> None:
        self.what = what
        self.storages = storages
        self.stack: list[Any] = []
        self.memo: dict[int, Any] = {}

    def step(self, name: str, argument: Any) -> None:
        """Interpret one opcode."""
        if name in LITERALS:
            self.stack.append(argument)
        elif name in CONSTANTS:
            self.stack.append(CONSTANTS[name]())
        elif name in ACTIONS:
            ACTIONS[name](self, argument)
        elif name not in ("PROTO", "FRAME"):
            raise UnsafeCheckpointError(
                f"{self.what}: the pickle uses opcode {name}, which no checkpoint needs; refused"
            )

    def pop_to_mark(self) -> list[Any]:
        """Everything above the topmost mark; the mark goes too."""
        for at in range(len(self.stack) - 1, -1, -1):
            if isinstance(self.stack[at], Mark):
                items = self.stack[at + 1 :]
                del self.stack[at:]
                return items
        raise ValueError("no mark on the stack")

    def find(self, module: Any, name: Any) -> Global:
        """The inert record of a listed global."""
        if not isinstance(module, str) or not isinstance(name, str):
            raise ValueError("a global without a name")
        if (module in LAYER_MODULES and name.isidentifier()) or (module, name) in VALUES:
            return Global(module, name)
        raise UnsafeCheckpointError(
            f"{self.what}: the pickle asks for {_short(f'{module}.{name}')}, which is neither a tensor nor a layer; "
            "refused, nothing was run. Do not use this file unless you know who made it"
        )

    def global_(self, argument: Any) -> None:
        module, _, name = str(argument).partition(" ")
        self.stack.append(self.find(module, name))

    def stack_global(self, _: Any) -> None:
        name, module = self.stack.pop(), self.stack.pop()
        self.stack.append(self.find(module, name))

    def call(self, _: Any) -> None:
        """REDUCE and NEWOBJ."""
        args, callee = self.stack.pop(), self.stack.pop()
        if not isinstance(callee, Global) or not isinstance(args, tuple):
            raise UnsafeCheckpointError(f"{self.what}: the pickle calls something that is no class; refused")
        self.stack.append(_make(callee, args))

    def build(self, _: Any) -> None:
        state, target = self.stack.pop(), self.stack[-1]
        if isinstance(target, Inert):
            target.state = state
        elif not isinstance(target, (dict, TensorRef)):  # what an OrderedDict or a parameter carries is of no use here
            raise UnsafeCheckpointError(f"{self.what}: the pickle sets the state of a {type(target).__name__}; refused")

    def persistent(self, _: Any) -> None:
        """("storage", class, key, device, number of elements[, view]), or ("module", class, ...) in old files."""
        kind, cls, *rest = self.stack.pop()
        _expect(Global, cls)
        if kind == "module":
            self.stack.append(cls)
            return
        key, _device, count, *view = rest
        if kind != "storage" or cls.module != "torch" or any(view) or _expect(int, count) < 0:
            raise ValueError("an unknown kind of storage")
        ref = StorageRef(str(key), STORAGES[cls.name], count)
        known = self.storages.setdefault(ref.key, ref)
        if (known.dtype, known.count) != (ref.dtype, ref.count):
            raise ValueError("one storage with two types")
        self.stack.append(known)

    def append(self, items: list[Any]) -> None:
        _expect(list, self.stack[-1]).extend(items)

    def set_items(self, items: list[Any]) -> None:
        _expect(dict, self.stack[-1]).update(_pairs(items))

    def add_items(self, items: list[Any]) -> None:
        _expect(set, self.stack[-1]).update(items)

    def take(self, count: int) -> list[Any]:
        """The topmost ``count`` items, removed."""
        if count > len(self.stack):
            raise ValueError("the stack is empty")
        items = self.stack[len(self.stack) - count :]
        del self.stack[len(self.stack) - count :]
        return items


def _make(callee: Global, args: tuple[Any, ...]) -> Any:
    """What a listed callable stands for."""
    match callee.module, callee.name:
        case "collections", "OrderedDict":
            return dict(args[0]) if args else {}
        case "torch", "Size":
            return tuple(args[0])
        case "torch._utils", "_rebuild_parameter":
            return args[0]
        case "torch._utils", "_rebuild_tensor" | "_rebuild_tensor_v2":
            storage, offset, size, stride, *_ = args
            return TensorRef(_expect(StorageRef, storage), offset, tuple(size), tuple(stride))
    return Inert(callee, args)


def _expect(kind: type[T], item: Any) -> T:
    if not isinstance(item, kind):
        raise ValueError(f"a {kind.__name__} is expected on the stack")
    return item


def _pairs(items: list[Any]) -> dict[Any, Any]:
    if len(items) % 2:
        raise ValueError("a key without a value")
    return dict(zip(items[::2], items[1::2], strict=True))


def _short(item: object) -> str:
    text = " ".join(str(item).split())
    return text if len(text) <= 80 else text[:77] + "..."


LITERALS = {
    *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"),
    *("STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8"),
    *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8"),
}
"""Opcodes that push their own argument."""

CONSTANTS: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "MARK": Mark,
    "EMPTY_TUPLE": tuple,
    "EMPTY_LIST": list,
    "EMPTY_DICT": dict,
    "EMPTY_SET": set,
}
"""Opcodes that push something new."""


def _memoize(machine: Machine, _: Any) -> None:
    machine.memo[len(machine.memo)] = machine.stack[-1]


ACTIONS: dict[str, Callable[[Machine, Any], None]] = {
    "GLOBAL": Machine.global_,
    "STACK_GLOBAL": Machine.stack_global,
    "INST": Machine.global_,  # protocol 0, and never a listed class: this names what is refused
    "REDUCE": Machine.call,
    "NEWOBJ": Machine.call,
    "BUILD": Machine.build,
    "BINPERSID": Machine.persistent,
    "APPEND": lambda machine, _: machine.append(machine.take(1)),
    "APPENDS": lambda machine, _: machine.append(machine.pop_to_mark()),
    "SETITEM": lambda machine, _: machine.set_items(machine.take(2)),
    "SETITEMS": lambda machine, _: machine.set_items(machine.pop_to_mark()),
    "ADDITEMS": lambda machine, _: machine.add_items(machine.pop_to_mark()),
    "TUPLE": lambda machine, _: machine.stack.append(tuple(machine.pop_to_mark())),
    "TUPLE1": lambda machine, _: machine.stack.append(tuple(machine.take(1))),
    "TUPLE2": lambda machine, _: machine.stack.append(tuple(machine.take(2))),
    "TUPLE3": lambda machine, _: machine.stack.append(tuple(machine.take(3))),
    "LIST": lambda machine, _: machine.stack.append(machine.pop_to_mark()),
    "DICT": lambda machine, _: machine.stack.append(_pairs(machine.pop_to_mark())),
    "MEMOIZE": _memoize,
    **dict.fromkeys(("PUT", "BINPUT", "LONG_BINPUT"), lambda machine, at: machine.memo.update({at: machine.stack[-1]})),
    **dict.fromkeys(("GET", "BINGET", "LONG_BINGET"), lambda machine, at: machine.stack.append(machine.memo[at])),
}
"""Opcodes that do something. Any other is refused."""
