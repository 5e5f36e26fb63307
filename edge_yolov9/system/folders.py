"""Folders: whole or absent, held by one process at a time, cleaned of what killed runs left.

What is being written has a name of its own beside the destination (:data:`edge_yolov9.files.PARTIAL`) and is held by
a lock of the system, which ends with the process. A name of that kind that nobody holds is litter.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
import stat
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from edge_yolov9.errors import InputError
from edge_yolov9.files import PARTIAL, lock, partial_name, sync_folder

NEW, OLD = "new", "old"
"""What is in the hidden folder beside a destination: what will be there, and what was there, for a moment."""

STALE_S = 24 * 3600.0
"""Age at which a hidden name is litter where the file system has no locks."""

LONG_NAME = 220
"""Bytes up to which a hidden name holds the whole name of its destination."""

PATIENCE_S = 20.0
"""How long a process waits for another that holds a folder: for the renaming of a few files, or for its end."""


@contextmanager
def replacing(destination: Path, check: Callable[[Path], None]) -> Iterator[Path]:
    """A new folder that becomes ``destination`` when the block ends, and vanishes when it fails.

    Args:
        destination: no link, see :func:`followed`; what is there stays whole until the new folder is complete.
        check: raises when what stands at a path must not be replaced. It is asked before the block, and after it
            once more about the folder that has been taken out of the way, which comes back when it may not go.

    Raises:
        OSError: the folder cannot be written.
    """
    _check_standing(destination, check)
    destination.parent.mkdir(parents=True, exist_ok=True)
    tidy(destination.parent)
    with _work(destination) as work:
        (work / NEW).mkdir()
        yield work / NEW
        _swap(work, destination, check)
        sync_folder(destination.parent)


def _check_standing(destination: Path, check: Callable[[Path], None]) -> None:
    """Ask ``check`` about what stands at ``destination``, again where another process replaced it meanwhile."""
    while (before := _identity(destination)) is not None:
        try:
            check(destination)
            return
        except Exception:
            if _identity(destination) == before:
                raise


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        about = path.lstat()
    except FileNotFoundError:
        return None
    return about.st_dev, about.st_ino


def _swap(work: Path, destination: Path, check: Callable[[Path], None]) -> None:
    """Put ``work / NEW`` in the place of ``destination``; what was there is removed, or comes back.

    Needs no lock: a rename fails while another process has put its own folder there, which is then taken out in turn.
    """
    for _ in range(100):
        try:
            (work / NEW).rename(destination)  # nothing is there, or an empty folder
            return
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
        with contextlib.suppress(FileNotFoundError):  # another process has just taken it out
            destination.rename(work / OLD)
            try:
                check(work / OLD)
            except BaseException:
                _give_back(work / OLD, destination)
                raise
            shutil.rmtree(work / OLD)
    raise InputError(f"other processes write to {destination} all the time; choose another folder")


def _give_back(old: Path, destination: Path) -> None:
    try:
        old.rename(destination)
    except OSError:  # another process was faster; nothing is lost
        old.rename(destination.with_name(f"{destination.name}.{secrets.token_hex(4)}"))


@contextmanager
def scratch() -> Iterator[Path]:
    """A folder for intermediate files, readable by this user alone; removed at the end, or by the next run."""
    temporary = Path(tempfile.gettempdir())
    tidy(temporary)
    with _work(temporary / "scratch", 0o700) as work:
        (work / NEW).mkdir()
        yield work / NEW


@contextmanager
def _work(beside: Path, mode: int = 0o777) -> Iterator[Path]:
    """A hidden folder beside a path, held as long as the block runs."""
    while True:
        work = partial_name(beside)
        work.mkdir(mode)
        handle = _held(work)
        if handle is not None:
            break
    try:
        yield work
    finally:
        shutil.rmtree(work, ignore_errors=True)
        os.close(handle)


def _held(folder: Path) -> int | None:
    """A handle that holds a folder; None when another process does, or has removed it."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except FileNotFoundError:
        return None
    except PermissionError:  # Windows opens no folders, and has no locks of this kind
        return os.open(os.devnull, os.O_RDONLY)
    if lock(handle) is not False and os.fstat(handle).st_nlink:
        return handle
    os.close(handle)
    return None


@contextmanager
def turn(folder: Path, patience_s: float = PATIENCE_S) -> Iterator[bool]:
    """One process at a time in this block, per folder. It is entered after ``patience_s`` in any case.

    Yields:
        Whether the folder is held; False when another process still holds it.

    Raises:
        OSError: there is no such folder.
    """
    end = time.monotonic() + patience_s
    while (handle := _held(folder)) is None and time.monotonic() < end:
        time.sleep(0.02)
    try:
        yield handle is not None
    finally:
        if handle is not None:
            os.close(handle)


def followed(path: Path) -> Path:
    """The folder that a link points to, or ``path`` where it is none: a folder is written where the link leads.

    Raises:
        InputError: the link leads nowhere, or in a circle.
    """
    if not path.is_symlink():
        return path
    try:
        return path.resolve(strict=True)
    except (OSError, RuntimeError):  # RuntimeError: a circle, before Python 3.13
        raise InputError(f"{path} is a link that leads nowhere; remove it or choose another folder") from None


def is_stream(file: Path) -> bool:
    """Whether a file is written to and never replaced: a device, a pipe, a name of a handle such as /dev/stdout."""
    try:
        kind = file.stat().st_mode
        named = file.is_symlink() and file.parent.resolve() in (Path("/dev"), Path(f"/proc/{os.getpid()}/fd"))
    except (OSError, RuntimeError, ValueError):
        return False
    return named or not (stat.S_ISREG(kind) or stat.S_ISDIR(kind))


def tidy(folder: Path) -> None:
    """Remove what killed runs of this user left in ``folder``; what a running process holds stays."""
    with contextlib.suppress(OSError):
        names = [entry.name for entry in os.scandir(folder) if PARTIAL.fullmatch(entry.name)]
        for name in names:
            with contextlib.suppress(OSError):
                _remove_abandoned(folder / name)


def _remove_abandoned(path: Path) -> None:
    about = path.lstat()
    kind = stat.S_IFMT(about.st_mode)
    if kind not in (stat.S_IFREG, stat.S_IFDIR) or (hasattr(os, "geteuid") and about.st_uid != os.geteuid()):
        return
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))
    try:
        free = lock(handle)
        if free is None:
            free = about.st_mtime < time.time() - STALE_S
        if not free or not os.path.samestat(os.fstat(handle), path.lstat()):
            return
        if kind == stat.S_IFREG:
            path.unlink()
        elif {entry.name for entry in path.iterdir()} <= {NEW, OLD}:
            _remove_work(path)
    finally:
        os.close(handle)


def _remove_work(work: Path) -> None:
    """Remove the hidden folder of a killed run; a folder that it had taken out of the way comes back."""
    match = PARTIAL.fullmatch(work.name)
    destination = work.with_name(match[1] if match else "")
    if (work / OLD).exists():
        if len(os.fsencode(destination.name)) > LONG_NAME:
            return
        if not os.path.lexists(destination):
            (work / OLD).rename(destination)
    shutil.rmtree(work)
