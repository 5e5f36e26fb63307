"""A pickle machine that builds tensors' descriptions and plain containers, and can call nothing.

It does not use Python's ``pickle`` at all: opcodes are decoded by ``pickletools`` and interpreted here. A global
is never looked up. It must be on the list below, and becomes an inert record of its name; "calling" it makes
another record. So the classes of the program that wrote a checkpoint are neither needed nor trusted.

Time and memory are bounded by the size of the pickle: opcodes and copied items are counted, and nothing that the
file chose is hashed but text, whose hash differs from process to process.
"""

from __future__ import annotations

import io
import pickletools
from collections.abc import Callable, Sequence
from typing import IO, Any, TypeVar

from edge_yolov9.checkpoint.allowlist import BOUND, STORAGES, is_called, is_listed
from edge_yolov9.checkpoint.records import Global, Inert, Key, StorageRef, TensorRef
from edge_yolov9.errors import CheckpointError, UnsafeCheckpointError
from edge_yolov9.text import short

MAX_BYTES = 16 << 20
"""Longest pickle, tensors apart. A training checkpoint of yolov9-t with its optimizer has 1 MB."""

MAX_STEPS = 2_000_000
"""Most opcodes of a pickle, and items copied by them. That checkpoint has 400,000."""

MAX_DIMENSIONS = 8
"""Most dimensions of a tensor."""

T = TypeVar("T")


class Mark:
    """Where a variable-length argument starts on the stack."""


def unpickle(stream: IO[bytes], what: str, storages: dict[str, StorageRef] | None = None) -> Any:
    """Interpret one pickle and leave ``stream`` behind its end. ``storages`` collects every storage it mentions.

    Returns:
        Plain Python containers, numbers and strings, TensorRef, Global, Inert and, where a dict or set has one, Key.

    Raises:
        UnsafeCheckpointError: it names a global that is not on the list, or uses an opcode for other purposes.
        CheckpointError: truncated, malformed, or larger than any checkpoint. ``what`` is the file in the message.
    """
    start = stream.tell()
    data = io.BytesIO(stream.read(MAX_BYTES))  # a length in the pickle cannot ask for more than is there
    machine = Machine(what, {} if storages is None else storages)
    try:
        for opcode, argument, _ in pickletools.genops(data):
            if opcode.name == "STOP":
                stream.seek(start + data.tell())
                return machine.stack[-1]
            machine.step(opcode.name, argument)
    except (ValueError, TypeError, IndexError, KeyError, AttributeError, OverflowError) as error:
        raise CheckpointError(
            f"{what}: its pickle is truncated or malformed ({short(error)}); fetch it again"
        ) from None
    raise CheckpointError(f"{what}: its pickle has no end; fetch it again")


class Machine:
    """The stack machine of the pickle format, without the part that imports and calls.

    Opcodes that act are methods of their name in lower case; each takes the opcode's argument, which is None for most.
    """

    def __init__(self, what: str, storages: dict[str, StorageRef]) -> None:
        self.what = what
        self.storages = storages
        self.stack: list[Any] = []
        self.memo: list[Any] = []
        self.steps = 0

    def step(self, name: str, argument: Any) -> None:
        """Interpret one opcode."""
        self.spend(1)
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

    def spend(self, steps: int) -> None:
        """Count work. What costs more than one step says how much before it does it."""
        self.steps += steps
        if self.steps > MAX_STEPS:
            raise CheckpointError(f"{self.what}: its pickle has over {MAX_STEPS:,} steps, no checkpoint has; refused")

    def pop_to_mark(self) -> list[Any]:
        """Everything above the topmost mark; the mark goes too."""
        for at in range(len(self.stack) - 1, -1, -1):
            if isinstance(self.stack[at], Mark):
                items = self.stack[at + 1 :]
                del self.stack[at:]
                return items
        raise ValueError("no mark on the stack")

    def take(self, count: int) -> list[Any]:
        """The topmost ``count`` items, removed."""
        if count > len(self.stack):
            raise ValueError("the stack is empty")
        items = self.stack[len(self.stack) - count :]
        del self.stack[len(self.stack) - count :]
        return items

    def listed(self, module: Any, name: Any) -> Global:
        """The inert record of a global on the list."""
        if not isinstance(module, str) or not isinstance(name, str):
            raise ValueError("a global without a name")
        if is_listed(module, name):
            return Global(module, name)
        raise self.unsafe(f"{module}.{name}")

    def unsafe(self, name: str) -> UnsafeCheckpointError:
        """The refusal of a name, with the ``getattr`` that waits for it, if one does."""
        waiting = [one for one in self.stack if isinstance(one, Global) and (one.module, one.name) in BOUND]
        asked = "".join(f"{one.module}.{one.name} of " for one in waiting[:1]) + short(name)
        return UnsafeCheckpointError(
            f"{self.what}: the pickle asks for {asked}, which is neither a tensor nor a layer; "
            "refused, nothing was run. Do not use this file unless you know who made it"
        )

    def global_(self, argument: Any) -> None:
        """GLOBAL, and INST of protocol 0, which is never a listed class: this names what is refused."""
        module, _, name = str(argument).partition(" ")
        self.stack.append(self.listed(module, name))

    def stack_global(self, _: Any) -> None:
        name, module = self.stack.pop(), self.stack.pop()
        self.stack.append(self.listed(module, name))

    def call(self, _: Any) -> None:
        """REDUCE and NEWOBJ."""
        args, callee = self.stack.pop(), self.stack.pop()
        if not isinstance(callee, Global) or not isinstance(args, tuple):
            raise UnsafeCheckpointError(f"{self.what}: the pickle calls something that is no class; refused")
        if not is_called(callee.module, callee.name) or (
            (callee.module, callee.name) in BOUND and not _is_method(args)
        ):
            raise self.unsafe(f"{callee.module}.{callee.name}")
        self.stack.append(self.made(callee, args))

    def made(self, callee: Global, args: tuple[Any, ...]) -> Any:
        """What calling a listed global stands for."""
        match callee.module, callee.name:
            case "collections", "defaultdict":
                return {}
            case "collections", "OrderedDict":
                return self.ordered(args[0]) if args else {}
            case "torch", "Size":
                return self.dimensions(args[0])
            case "torch._utils", "_rebuild_parameter" | "_rebuild_parameter_with_state":
                return args[0]
            case "torch._utils", "_rebuild_tensor" | "_rebuild_tensor_v2":
                storage, offset, size, stride, *_ = args
                storage, size, stride = _expect(StorageRef, storage), self.dimensions(size), self.dimensions(stride)
                return TensorRef(storage, offset, size, stride)
        return Inert(callee, args)

    def ordered(self, items: Any) -> dict[Any, Any]:
        """A copy of a dict, or of what Python 2 wrote for one: a list of pairs."""
        pairs = list(items.items()) if isinstance(items, dict) else _expect(list, items)
        self.spend(len(pairs))
        copy: dict[Any, Any] = {}
        for pair in pairs:
            key, value = pair if isinstance(pair, (tuple, list)) and len(pair) == 2 else (pair, None)
            copy[_key(key, len(pairs))] = value
        return copy

    def dimensions(self, sizes: Any) -> tuple[Any, ...]:
        """The sizes or strides of a tensor; whether they are sound is checked when it is read."""
        if not isinstance(sizes, (tuple, list)) or len(sizes) > MAX_DIMENSIONS:
            raise ValueError(f"a tensor of more than {MAX_DIMENSIONS} dimensions")
        return tuple(sizes)

    def build(self, _: Any) -> None:
        state, target = self.stack.pop(), self.stack[-1]
        if isinstance(target, Inert):
            target.state = state
        elif not isinstance(target, (dict, TensorRef)):  # what an OrderedDict or a parameter carries is of no use here
            raise UnsafeCheckpointError(f"{self.what}: the pickle sets the state of a {type(target).__name__}; refused")

    def binpersid(self, _: Any) -> None:
        """("storage", class, key, device, number of elements[, view]), or ("module", class, ...) in old files."""
        kind, cls, *rest = _expect(tuple, self.stack.pop())
        _expect(Global, cls)
        if kind == "module":
            self.stack.append(cls)
            return
        key, _device, count, *view = rest
        if kind != "storage" or cls.module != "torch" or any(view) or _expect(int, count) < 0:
            raise ValueError("an unknown kind of storage")
        ref = StorageRef(_expect(str, key), STORAGES[cls.name], count)
        known = self.storages.setdefault(ref.key, ref)
        if (known.dtype, known.count) != (ref.dtype, ref.count):
            raise ValueError("one storage with two types")
        self.stack.append(known)

    def append(self, _: Any) -> None:
        self.extend(self.take(1))

    def appends(self, _: Any) -> None:
        self.extend(self.pop_to_mark())

    def extend(self, items: list[Any]) -> None:
        if not isinstance(self.stack[-1], Inert):  # the items of a list of some class are of no use here
            _expect(list, self.stack[-1]).extend(items)

    def setitem(self, _: Any) -> None:
        self.update(self.take(2))

    def setitems(self, _: Any) -> None:
        self.update(self.pop_to_mark())

    def update(self, items: Sequence[Any]) -> None:
        """Put keys and values, in turn, into the dict on top."""
        if len(items) % 2:
            raise ValueError("a key without a value")
        if isinstance(self.stack[-1], Inert):  # nor are those of a dict
            return
        target = _expect(dict, self.stack[-1])
        size = len(target) + len(items) // 2
        target.update((_key(key, size), value) for key, value in zip(items[::2], items[1::2], strict=True))

    def additems(self, _: Any) -> None:
        items = self.pop_to_mark()
        target = _expect(set, self.stack[-1])
        size = len(target) + len(items)
        target.update(_key(item, size) for item in items)

    def tuple_(self, _: Any) -> None:
        self.stack.append(tuple(self.pop_to_mark()))

    def tuple1(self, _: Any) -> None:
        self.stack.append(tuple(self.take(1)))

    def tuple2(self, _: Any) -> None:
        self.stack.append(tuple(self.take(2)))

    def tuple3(self, _: Any) -> None:
        self.stack.append(tuple(self.take(3)))

    def list_(self, _: Any) -> None:
        self.stack.append(self.pop_to_mark())

    def dict_(self, _: Any) -> None:
        items = self.pop_to_mark()
        self.stack.append({})
        self.update(items)

    def memoize(self, _: Any) -> None:
        self.memo.append(self.stack[-1])

    def put(self, at: int) -> None:
        """PUT and its kin; picklers number what they remember from 0, so hardly a number is above that of the steps."""
        if not 0 <= at <= self.steps + 256:
            raise ValueError("a memo out of order")
        self.memo.extend([Mark] * (at + 1 - len(self.memo)))
        self.memo[at] = self.stack[-1]

    def get(self, at: int) -> None:
        """GET and its kin."""
        if at < 0 or self.memo[at] is Mark:
            raise ValueError("nothing was remembered under that number")
        self.stack.append(self.memo[at])


def _is_method(args: tuple[Any, ...]) -> bool:
    """Whether ``args`` of ``getattr`` are a layer and the name of a way to run it, which nothing here ever does."""
    return len(args) == 2 and isinstance(args[0], Inert) and isinstance(args[1], str) and args[1].startswith("forward")


def _key(item: Any, size: int) -> Any:
    """``item`` as a key of a dict or set of ``size`` entries, such that no choice of items makes their hashes collide.

    The hash of text is salted. Python hashes a number to itself, so numbers below the size have a place each. Of
    everything else the hash could be chosen, or cost without end (nested and shared tuples): that stands as a Key.
    """
    if type(item) in (str, bytes) or (type(item) is int and 0 <= item < size + 64):
        return item
    return Key(item)


def _expect(kind: type[T], item: Any) -> T:
    if not isinstance(item, kind):
        raise ValueError(f"a {kind.__name__} is expected on the stack")
    return item


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

ACTIONS: dict[str, Callable[[Machine, Any], None]] = {
    "GLOBAL": Machine.global_,
    "STACK_GLOBAL": Machine.stack_global,
    "INST": Machine.global_,
    "REDUCE": Machine.call,
    "NEWOBJ": Machine.call,
    "BUILD": Machine.build,
    "BINPERSID": Machine.binpersid,
    "APPEND": Machine.append,
    "APPENDS": Machine.appends,
    "SETITEM": Machine.setitem,
    "SETITEMS": Machine.setitems,
    "ADDITEMS": Machine.additems,
    "TUPLE": Machine.tuple_,
    "TUPLE1": Machine.tuple1,
    "TUPLE2": Machine.tuple2,
    "TUPLE3": Machine.tuple3,
    "LIST": Machine.list_,
    "DICT": Machine.dict_,
    "MEMOIZE": Machine.memoize,
    **dict.fromkeys(("PUT", "BINPUT", "LONG_BINPUT"), Machine.put),
    **dict.fromkeys(("GET", "BINGET", "LONG_BINGET"), Machine.get),
}
"""Opcodes that do something. Any other is refused."""
