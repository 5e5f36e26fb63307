"""A bundle that is opened in a process of its own first: what crashes the vendor's reader there crashes no one else.

For models that are not plainly what the compiler writes. A session that knows the plain ones asks for a trial of any
other; bundles that a key vouches for, and drafts of the compiler, need none.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

import numpy as np

from edge_yolov9 import bundle as bundles
from edge_yolov9.bundle import Bundle
from edge_yolov9.errors import BundleError, EdgeYoloError
from edge_yolov9.system import children

PATIENCE_S = 120.0
"""Longest that opening a model and one frame may take."""
_survived: set[tuple[str, str]] = set()
"""Bundles, by digest, that a runtime has opened in a trial of this process, or is opening in the process of a trial."""


def trust(bundle: Bundle, runtime: str, check: Callable[[], None]) -> None:
    """Return when a runtime may read a bundle's model in this process.

    Args:
        bundle: a checked bundle.
        runtime: the target whose session opens it.
        check: raises ValueError where the model is not plainly what the compiler writes.

    Raises:
        BundleError: opening the model or running a frame ended the process that tried, or did not end.
    """
    if bundle.key is not None or not bundle.manifest.files:
        return
    try:
        check()
    except ValueError as error:
        if (bundle.digest, runtime) not in _survived:
            run_apart(bundle, runtime, str(error))
            _survived.add((bundle.digest, runtime))


def run_apart(bundle: Bundle, runtime: str, why: str) -> None:
    import subprocess  # as good as no bundle needs it

    odd = f"{bundle.path}: the model is not as the compiler writes it ({why})"
    if getattr(sys, "frozen", False) or not sys.executable:
        raise BundleError(f"{odd}; compile the bundle again")
    code = f"from edge_yolov9.registry import trial\ntrial.main({str(bundle.path)!r}, {bundle.digest!r}, {runtime!r})"
    try:
        done = subprocess.run(
            children.python(code),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=PATIENCE_S,
            check=False,
            env=children.environment(),
        )
    except subprocess.TimeoutExpired:
        raise BundleError(f"{odd}, and {runtime} does not end with it; do not use the bundle") from None
    except OSError as error:
        raise BundleError(f"{odd}, and cannot be tried in a process of its own: {error.strerror or error}") from None
    if done.returncode < 0:
        raise BundleError(f"{odd}, and {runtime} crashes on it (signal {-done.returncode}); do not use the bundle")
    if done.returncode:
        last = (done.stderr.decode(errors="replace").strip().splitlines() or ["no reason given"])[-1]
        raise BundleError(f"{odd}, and cannot be tried in a process of its own: {last[:200]}")


def main(path: str, digest: str, runtime: str) -> None:
    """The process of a trial. Deliberate errors are none here: they come again where the bundle is opened."""
    from edge_yolov9.registry import open_session

    bundle = bundles.read(path)
    if bundle.digest != digest:
        raise SystemExit("the bundle was changed meanwhile")
    _survived.add((digest, runtime))
    try:
        session = open_session(bundle, runtime)
        session.infer(np.full((bundle.manifest.input.height, bundle.manifest.input.width, 3), 114, np.uint8))
        session.close()
    except EdgeYoloError:
        return
