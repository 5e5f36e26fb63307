"""Make .venv with the locked tools and this package in it; every way to fail is one line that says what to do.

    python3 requirements/install.py [WHAT PIP INSTALLS AS TORCH]

OpenCV comes first: what its desktop form wants of the system shows before gigabytes are fetched. Where that is missing,
.venv takes the headless form, the same cv2 without windows. The rest is requirements/lock.txt to the letter.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
VENV = HERE.parent / ".venv"
PYTHON = VENV / "bin" / "python"
OLDEST, NEWEST = (3, 10), (3, 13)
UNREACHABLE = re.compile(
    "NewConnectionError|NameResolution|name resolution|ConnectTimeout|ProxyError|unreachable", re.IGNORECASE
)


class Failure(Exception):
    """What to show in one line."""


def check_python() -> None:
    """This interpreter is one that the package supports, and can make environments."""
    version = sys.version_info[:2]
    name = "{}.{}".format(*version)
    if not OLDEST <= version <= NEWEST:
        raise Failure(f"Python 3.10 to 3.13 is needed, this is {name}; name one: make PYTHON=python3.13")
    try:
        import ensurepip  # noqa: F401
        import venv  # noqa: F401
    except ImportError:
        raise Failure(
            f"Python {name} makes no environments here; Debian, Ubuntu: apt install python{name}-venv"
        ) from None


def make_venv() -> None:
    """An empty environment, or the one of this Python that is there."""
    config = VENV / "pyvenv.cfg"
    version = "version = {}.{}.{}".format(*sys.version_info[:3])
    mine = config.is_file() and version in config.read_text(encoding="utf-8") and PYTHON.exists()
    command = [sys.executable, "-m", "venv", *([] if mine else ["--clear"]), str(VENV)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Failure(f"{VENV} cannot be made: {' '.join((done.stderr or done.stdout).split())[-300:]}")


def pip(*words: str) -> None:
    """One call of .venv's pip; silent unless it fails."""
    command = [str(PYTHON), "-m", "pip", "-q", "--disable-pip-version-check", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode == 0:
        return
    if UNREACHABLE.search(done.stderr):
        raise Failure(
            "no package registry is reachable: connect, or name a mirror (pip config set global.index-url URL)"
        )
    if "No space left" in done.stderr:
        raise Failure("the disk is full: torch with CUDA takes 8 GB, without 1 GB; see TORCH in the Makefile")
    errors = [line for line in done.stderr.splitlines() if line.strip() and "[notice]" not in line]
    wanted = [line for line in errors if line.startswith("ERROR")] or errors or ["no message"]
    raise Failure(f"pip {' '.join(words)[:80]}: {wanted[-1][:300]}")


def pins() -> Path:
    """The lock without torch and OpenCV, whose forms are chosen here."""
    lines = (HERE / "lock.txt").read_text(encoding="utf-8").splitlines(keepends=True)
    chosen = VENV / "lock.txt"
    chosen.write_text(
        "".join(line for line in lines if not re.match("(torch|opencv-python)==", line)), encoding="utf-8"
    )
    return chosen


def cv2_fault() -> str:
    """Why .venv's cv2 does not load; empty where it does."""
    done = subprocess.run([str(PYTHON), "-c", "import cv2"], capture_output=True, text=True, check=False)
    return done.stderr.strip().splitlines()[-1] if done.returncode else ""


def install_opencv(pinned: Path) -> None:
    """The desktop form of OpenCV where it loads, else the headless one of the same version."""
    pip("uninstall", "-y", "opencv-python-headless")
    pip("install", "--constraint", str(HERE / "lock.txt"), "opencv-python")
    fault = cv2_fault()
    if not fault:
        return
    shown = subprocess.run(
        [str(PYTHON), "-m", "pip", "show", "opencv-python"], capture_output=True, text=True, check=True
    )
    version = shown.stdout.partition("Version: ")[2].split()[0]
    pip("uninstall", "-y", "opencv-python")
    pip("install", "--constraint", str(pinned), f"opencv-python-headless=={version}")
    if cv2_fault():
        raise Failure(f"OpenCV does not load: {cv2_fault()}; Debian, Ubuntu: apt install libgl1 libxcb1 libglib2.0-0")
    print(f"no desktop here ({fault}): .venv takes opencv-python-headless, the same cv2 without windows", flush=True)


def main(torch: list[str]) -> None:
    """Everything, in the order in which it can fail."""
    check_python()
    make_venv()
    pinned = pins()
    print("setting up .venv: OpenCV, torch, then the tools of requirements/lock.txt (minutes)", flush=True)
    install_opencv(pinned)
    pip("install", "--constraint", str(pinned), *torch)
    pip("install", "--no-deps", "-r", str(pinned))
    pip("install", "--no-deps", "--no-build-isolation", "-e", str(HERE.parent))


if __name__ == "__main__":
    try:
        main(sys.argv[1:] or ["-r", str(HERE / "torch.txt")])
    except Failure as failure:
        sys.exit(f"make: {failure}")
