"""Which targets exist, and which work on this machine.

One folder under ``targets/`` per target: ``session.py`` for the device, ``emit.py`` for the compiler, ``target.toml``
for the boards. Adding a target is adding a folder and a row in :mod:`.rows`, or installing a package that has both
(:mod:`.plugins`); adding a board is adding a table to the TOML. docs/adding-a-target.md goes through it.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

from edge_yolov9.errors import BundleError, EdgeYoloError, RuntimeNotInstalled, TargetError
from edge_yolov9.registry import plugins, tables
from edge_yolov9.registry.rows import TARGETS, Option, Target
from edge_yolov9.registry.session import Session
from edge_yolov9.registry.tables import PRECISIONS, Board, Profiles
from edge_yolov9.system.cpu import cores
from edge_yolov9.system.imports import explained, load
from edge_yolov9.text import shown

if TYPE_CHECKING:
    from edge_yolov9.bundle import Bundle

__all__ = [
    "PRECISIONS",
    "TARGETS",
    "Board",
    "Option",
    "Profiles",
    "Session",
    "Target",
    "board",
    "boards",
    "check_preset",
    "check_runtime",
    "collisions",
    "concurrency",
    "guarded",
    "module",
    "names",
    "open_session",
    "open_sessions",
    "profiles",
    "target",
]


def names() -> list[str]:
    """Every target's name: the built-in ones, then those that installed packages declare. Imports none of them."""
    return [*TARGETS, *plugins.names()]


def target(name: str) -> Target:
    """Look a target up.

    Raises:
        TargetError: there is none of that name, or the package that declares it cannot be used.
    """
    if name in TARGETS:
        return TARGETS[name]
    try:
        return plugins.row(name)
    except KeyError:
        raise TargetError(
            f"unknown target {shown(name)}; expected one of {', '.join(names())}, or install the package that has it"
        ) from None


def collisions() -> list[str]:
    """A line for each installed package whose target cannot be had, because its name is a built-in target's."""
    return plugins.collisions()


def open_session(bundle: Bundle, runtime: str | None = None, threads: int | None = None) -> Session:
    """Load a bundle's model; see :func:`open_sessions`."""
    return open_sessions(bundle, runtime, threads, 1)[0]


def open_sessions(bundle: Bundle, runtime: str | None, threads: int | None, count: int) -> list[Session]:
    """Load a bundle's model for ``count`` inferences at the same time, each by a thread of its own.

    Args:
        bundle: a checked bundle.
        runtime: the target whose session opens it, its own or one whose row ``opens`` it: to check a bundle where its
            own device is not. Its own when None.
        threads: CPU threads of all sessions together; the runtime's sensible default when None.
        count: how many sessions. They share what the runtime lets them share.

    Raises:
        RuntimeNotInstalled: the vendor runtime is absent; the message says how to install it.
        TargetError: the runtime cannot open a bundle of this target.
        BundleError: the runtime does not accept the model file, or its path.
    """
    own = bundle.manifest.target
    wanted = target(runtime or own)
    if wanted.name != own and own not in wanted.opens:
        raise TargetError(f"a bundle for {own} cannot be run by {wanted.name}; compile it with --target {wanted.name}")
    check_runtime(wanted, "this bundle")
    try:
        with guarded(wanted, f"cannot open {bundle.path}"):
            sessions: list[Session] = list(module(wanted.name, "session").open_sessions(bundle, threads, count))
    except TypeError as error:  # the native part takes UTF-8 alone
        if str(bundle.path).isprintable():
            raise
        raise BundleError(
            f"{wanted.name} cannot open {bundle.path}: the name is not UTF-8 in this locale; rename it, or set "
            "LC_ALL=C.UTF-8"
        ) from error
    if len(sessions) != count or not all(isinstance(session, Session) for session in sessions):
        raise TargetError(
            f"the target {wanted.name} of {wanted.distribution} gives {shown(sessions)}, expected {count} of "
            "edge_yolov9.registry.Session"
        )
    return sessions


def check_runtime(wanted: Target, needs_it: str) -> None:
    """Refuse to go on without a target's vendor runtime.

    Args:
        wanted: the target.
        needs_it: what needs the runtime, the beginning of the message.

    Raises:
        RuntimeNotInstalled: the runtime is absent, or does not load; the message says what to do.
    """
    if fault := runtime_fault(wanted):
        raise RuntimeNotInstalled(fault)
    if wanted.runtime is None:
        raise RuntimeNotInstalled(
            f"{needs_it} needs the {wanted.name} runtime ({' or '.join(wanted.runtimes)}), which is not installed; "
            f"{wanted.how_to_install}"
        )


def runtime_fault(wanted: Target) -> str:
    """Why a target's vendor runtime, which is installed, does not load; "" where it does, or where there is none.

    A runtime that no package registry has is left to the target's session, which knows the versions that it needs.
    """
    if wanted.runtime is None or wanted.installed_by:
        return ""
    try:
        module(wanted.name, "session")  # first: it keeps the runtime's telemetry out
        load(wanted.runtime)
    except RuntimeNotInstalled as error:
        return str(error)
    return ""


def module(name: str, part: str) -> Any:
    """The module ``part`` of a target's package ("session", "emit", or a preset), imported on demand.

    Raises:
        TargetError: there is no such target, or the module of an installed package does not load.
        RuntimeNotInstalled: the vendor's package is missing, or installed and does not load.
    """
    row = target(name)
    with guarded(row, f"does not load its {part}.py"), explained() if row.built_in else nullcontext():
        return importlib.import_module(f"{row.home}.{part}")


@contextmanager
def guarded(row: Target, fails: str) -> Iterator[None]:
    """What the target of an installed package raises in here is one line that names the package.

    Args:
        row: the target whose code runs.
        fails: what it fails to do: the line says "the target NAME of PACKAGE ``fails``".

    Raises:
        TargetError: something else than a deliberate error was raised.
    """
    if row.built_in:
        yield
        return
    with plugins.naming(f"the target {row.name} of {row.distribution} {fails}", passing=(EdgeYoloError,)):
        yield


def check_preset(name: str | None, target_name: str) -> None:
    """None always passes.

    Raises:
        TargetError: the target has no such preset.
    """
    if name is None or name in target(target_name).presets:
        return
    owner = next((row.name for row in TARGETS.values() if name in row.presets), None)
    if owner is not None:
        raise TargetError(f"the preset {name} belongs to --target {owner}, not to {target_name}")
    known = [preset for row in (*TARGETS.values(), target(target_name)) for preset in row.presets]
    raise TargetError(f"unknown preset {shown(name)}; expected one of {', '.join(dict.fromkeys(known))}")


def profiles(name: str) -> Profiles:
    """A target's boards and the releases of their system software.

    Raises:
        TargetError: its ``target.toml`` is missing or malformed, or this Python reads no TOML (3.10 without ``tomli``).
    """
    row = target(name)
    with guarded(row, "has no readable target.toml"):
        return tables.read(row)


def boards(name: str) -> dict[str, Board]:
    """The boards of a target by name; errors as for :func:`profiles`."""
    return dict(profiles(name).boards)


def board(target_name: str, name: str | None = None) -> Board:
    """A target's board, the first when None.

    Raises:
        TargetError: the target has no board of this name; see :func:`profiles` too.
    """
    known = boards(target_name)
    chosen = name or next(iter(known))
    if chosen not in known:
        raise TargetError(f"unknown board {chosen!r} for {target_name}; expected one of {', '.join(known)}")
    return known[chosen]


def concurrency(runtime: str, threads: int | None = None) -> int:
    """How many sessions keep a runtime (a target's name) busy: as many as its row says, else one per CPU thread.

    Args:
        runtime: a target's name.
        threads: CPU threads of all sessions together; every core when None.
    """
    return target(runtime).sessions or threads or cores()
