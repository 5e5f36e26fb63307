"""How a program ends that uses the package: what goes wrong is one line."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from edge_yolov9.errors import EdgeYoloError
from edge_yolov9.system.imports import import_fault
from edge_yolov9.text import printable


@contextmanager
def one_line_errors() -> Iterator[None]:
    """What goes wrong in the block is one line on standard error and ends the program.

    A program's imports may stand in such a block too: a package that is missing, or does not load, is one line then.
    Exceptions that are not an :class:`EdgeYoloError`, an ``OSError`` or a failed import pass through.

    Raises:
        SystemExit: with exit code 1; 130 after Ctrl-C.
    """
    try:
        yield
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:  # whatever a library raises while it loads
        line = str(error) if isinstance(error, EdgeYoloError) else import_fault(error)
        if not line and not isinstance(error, OSError):
            raise
        sys.exit(f"Error: {printable(line or error)}")
