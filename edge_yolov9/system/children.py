"""Commands for processes of our own, which load nothing from the current folder."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PRELUDE = "import sys\nif sys.path[:1] == ['']:\n    del sys.path[0]\n"
"""Python puts the current folder first for ``-c`` (before 3.11 there is no option against it)."""


LIBRARIES = "LD_LIBRARY_PATH"
NOWHERE = "/nonexistent"


def environment() -> dict[str, str]:
    """The environment variables for a process that is started.

    OpenCV's import ends LD_LIBRARY_PATH in a colon, and an empty entry there is the current folder: its libc.so.6 would
    be every process's.
    """
    names = dict(os.environ)
    if LIBRARIES in names:
        names[LIBRARIES] = _folders(names[LIBRARIES]) or NOWHERE
    return names


def _folders(path: str) -> str:
    """A search path without its empty entries."""
    return ":".join(part for part in path.split(":") if part)


def python(code: str, *words: str) -> list[str]:
    """The command that runs ``code`` in this Python, with ``words`` in its ``sys.argv[1:]``."""
    safe = ["-P"] if sys.version_info >= (3, 11) else []
    return [sys.executable, *safe, "-c", PRELUDE + code, *words]


def python_module(name: str, *words: str) -> list[str]:
    """The command that runs a module as ``python -m`` does, but for the current folder."""
    return python(f"import runpy\nrunpy.run_module({name!r}, run_name='__main__', alter_sys=True)", *words)


def program(name: str) -> str | None:
    """The absolute path of a program on the PATH; folders of the PATH that are relative do not count."""
    found = shutil.which(name)
    if found is None or Path(found).is_absolute():
        return found
    places = [place for place in os.environ.get("PATH", os.defpath).split(os.pathsep) if Path(place).is_absolute()]
    return shutil.which(name, path=os.pathsep.join(places))


@contextmanager
def current_folder_kept_out() -> Iterator[None]:
    """Let processes that libraries start load nothing from the current folder either (Python 3.11 and later).

    OpenCV, imported in here, puts its own folder before a library path that has no empty entry.
    """
    before = {name: os.environ.get(name) for name in ("PYTHONSAFEPATH", LIBRARIES)}
    os.environ["PYTHONSAFEPATH"] = before["PYTHONSAFEPATH"] or "1"
    os.environ[LIBRARIES] = _folders(before[LIBRARIES] or "") or NOWHERE
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
