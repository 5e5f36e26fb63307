"""The bundle: a folder with ``manifest.json`` and the model files. The only bridge from compiler to device.

Writing is atomic (a hidden folder beside the destination, renamed at the end); reading is strict: nothing in the folder
that the manifest does not list, no link, no special file, every digest right. What a session loads are the bytes of
:meth:`Bundle.content`, whose digest has been compared.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path, PurePosixPath

from edge_yolov9.bundle import entries
from edge_yolov9.bundle.manifest import (
    LARGEST_MANIFEST,
    MANIFEST,
    SCHEMA_VERSION,
    SIGNATURE,
    InputRule,
    Manifest,
    TensorSpec,
    Thresholds,
    parse,
)
from edge_yolov9.errors import BundleError, InputError
from edge_yolov9.system import folders
from edge_yolov9.text import printable, shown

__all__ = [
    "MANIFEST",
    "SCHEMA_VERSION",
    "Bundle",
    "InputRule",
    "Manifest",
    "TensorSpec",
    "Thresholds",
    "read",
    "seal",
    "sha256",
    "writing",
]

DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)

Form = tuple[str, tuple[str, ...]]
"""Layout of a tensor, and the element types that it may have."""


@dataclass(frozen=True)
class Bundle:
    """A folder whose manifest has been read and checked."""

    path: Path
    manifest: Manifest
    key: str | None = None
    """The public key whose signature has been checked; other processes that open the bundle check it again."""

    @property
    def model_path(self) -> Path:
        """The file that the session opens."""
        return self.path / self.manifest.model

    def content(self, name: str) -> bytes:
        """A file's bytes, whose digest is the manifest's: what was checked is what a session loads.

        An artifact that is not sealed yet, in the compiler, lists no digest.

        Raises:
            BundleError: the manifest lists no such file, or it is missing, changed or no regular file.
        """
        digest = self.manifest.files.get(name)
        if digest is None and self.manifest.files:
            raise BundleError(
                f"{self.path}: the manifest lists no digest for {shown(name)}, which this target needs; "
                "compile the bundle again"
            )
        data = entries.content(self.path, name)
        if digest is not None and hashlib.sha256(data).hexdigest() != digest:
            raise entries.changed(self.path, name)
        return data

    def expect(self, image: Form, outputs: Form) -> None:
        """Check that the tensors are of the form that a session works with.

        Args:
            image: layout, and the element types that it takes, of the input.
            outputs: the same of every output.

        Raises:
            BundleError: the manifest says something else.
        """
        pairs = [(self.manifest.input.tensor, image), *((spec, outputs) for spec in self.manifest.outputs)]
        for spec, (layout, dtypes) in pairs:
            if spec.layout != layout or spec.dtype not in dtypes:
                raise BundleError(
                    f"{self.path}: {printable(spec.name)} is {spec.layout} {spec.dtype} in the manifest, a model for "
                    f"{printable(self.manifest.target)} has {layout} {' or '.join(dtypes)}; compile the bundle again"
                )

    @property
    def digest(self) -> str:
        """sha256 over the digests of the files that the manifest lists.

        The manifest itself is not in it: bundles that differ only in class names or thresholds have the same digest.
        """
        return hashlib.sha256(json.dumps(self.manifest.files, sort_keys=True).encode()).hexdigest()

    @property
    def bytes(self) -> int:
        """Size of its files, the manifest among them."""
        return sum((self.path / name).stat().st_size for name in (MANIFEST, *self.manifest.files))


def sha256(path: Path) -> str:
    """Hex digest of a file."""
    with path.open("rb") as file:
        digest = hashlib.sha256()
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


@contextmanager
def writing(destination: Path) -> Iterator[Path]:
    """A hidden folder beside ``destination`` that becomes it on success and vanishes on any failure.

    The caller fills it and calls :func:`seal` last. An older bundle at ``destination`` is replaced; anything else
    that stands there is left alone. A link to a folder stays; the folder that it points to is the destination.

    Raises:
        BundleError: ``destination`` exists and is not a bundle, or cannot be written.
    """
    if destination.name in ("", "..") or os.path.ismount(destination):
        raise BundleError(f"{destination} cannot become a bundle, which replaces the whole folder; name one inside it")
    try:
        place = folders.followed(destination)
        around = enclosing(place.parent)
    except InputError as error:
        raise BundleError(str(error)) from None
    if around is not None:
        raise BundleError(f"{destination} lies in the bundle {around}, which is complete; choose another folder")
    begun = False
    try:
        with folders.replacing(place, lambda found: _check_replaceable(found, destination)) as folder:
            begun = True
            yield folder
            if not (folder / MANIFEST).is_file():
                raise BundleError(f"nothing was sealed for {destination}")
    except shutil.Error as error:  # of copytree: a list of (from, to, why)
        raise BundleError(f"cannot write {destination}: {error.args[0][0][2]}") from error
    except OSError as error:
        if begun and error.errno not in DISK_ERRORS:
            raise
        raise BundleError(f"cannot write {destination}: {error.strerror or error}") from error


def _check_replaceable(folder: Path, name: Path) -> None:
    """Refuse to replace a folder that is neither empty nor a bundle as it was written, with nothing else in it.

    Raises:
        BundleError: which names ``name``, where the folder stands or stood.
        OSError: the folder cannot be read.
    """
    if folder.is_dir() and next(folder.iterdir(), None) is None:
        return
    if not folder.is_dir() or not (folder / MANIFEST).is_file():
        raise BundleError(f"{name} exists and is not a bundle; choose another -o or remove it")
    try:
        manifest = read(folder).manifest
    except BundleError as error:
        reason = str(error).replace(str(folder), str(name))
        raise BundleError(
            f"{name} exists and is not a bundle as it was written ({reason}); choose another -o"
        ) from None
    known = {MANIFEST, SIGNATURE, *manifest.files}
    known |= {parent.as_posix() for file in manifest.files for parent in PurePosixPath(file).parents}
    for entry in sorted(folder.rglob("*")):
        if entry.relative_to(folder).as_posix() not in known or entry.is_symlink():
            raise BundleError(
                f"{name} holds {entry.relative_to(folder)}, which is no part of the bundle there; move it away or "
                "choose another -o"
            )


def enclosing(path: Path) -> Path | None:
    """The bundle that ``path`` is or lies in, by whatever links; None where there is none."""
    try:
        place = path.resolve()
        for folder in (place, *place.parents):
            file = folder / MANIFEST
            if file.is_file() and file.stat().st_size <= LARGEST_MANIFEST:
                data = json.loads(file.read_bytes())
                if isinstance(data, dict) and isinstance(data.get("files"), dict) and "schema_version" in data:
                    return folder
    except (
        OSError,
        ValueError,
        RecursionError,
        RuntimeError,
    ):  # not to be read: no bundle; RuntimeError: links in a circle
        return None
    return None


def seal(folder: Path, manifest: Manifest) -> Bundle:
    """Hash every file in ``folder`` but manifest and signature, then write the manifest. Call it last."""
    digests = {
        file.relative_to(folder).as_posix(): sha256(file)
        for file in sorted(folder.rglob("*"))
        if file.is_file() and file.name not in (MANIFEST, SIGNATURE)
    }
    sealed = replace(manifest, files=digests)
    text = json.dumps(asdict(sealed), indent=2, ensure_ascii=False)
    with (folder / MANIFEST).open("w", encoding="utf-8") as file:
        file.write(text + "\n")
        file.flush()
        os.fsync(file.fileno())
    return Bundle(folder, sealed)


def read(path: str | Path, verify: bool = True, key: str | Path | None = None) -> Bundle:
    """Open a bundle.

    Args:
        path: the folder.
        verify: hash every file (a few milliseconds per 10 MB).
        key: public key of minisign, its file or text, that the bundle must be signed by; see
            :mod:`edge_yolov9.bundle.signing`.

    Raises:
        BundleError: missing, of a newer schema, malformed, incomplete, changed, or holding what the manifest does not
            list; with ``key``, not signed by it.
        InputError: ``key`` cannot be used.
    """
    folder = Path(path)
    raw = entries.manifest_bytes(folder)
    if key is not None:
        from edge_yolov9.bundle import signing

        signing.check(folder, raw, key)
    manifest = parse(raw, printable(folder / MANIFEST))
    present = entries.listed_files(folder, manifest)
    for name, digest in manifest.files.items():
        if name not in present:
            raise BundleError(f"{folder}: {name} is missing; copy the whole bundle folder again")
        if verify and entries.digest(folder, name) != digest:
            raise entries.changed(folder, name)
    return Bundle(folder, manifest, None if key is None else str(key))
