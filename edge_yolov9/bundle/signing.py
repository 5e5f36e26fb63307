"""Signatures of bundles in the form of minisign (https://jedisct1.github.io/minisign/), by ``cryptography``.

``manifest.json.minisig`` signs the bytes of ``manifest.json`` with Ed25519; the manifest holds the digests of all other
files. Keys and signatures are minisign's own: either program reads what the other writes.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import importlib
import os
import secrets
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge_yolov9.bundle import entries
from edge_yolov9.bundle.manifest import MANIFEST, SIGNATURE
from edge_yolov9.errors import BundleError, InputError
from edge_yolov9.files import write_whole
from edge_yolov9.text import printable, shown

ALGORITHM, HASHED, NO_PASSWORD, CHECKSUM = b"Ed", b"ED", b"\0\0", b"B2"
UNTRUSTED, TRUSTED = "untrusted comment: ", "trusted comment: "
LARGEST = 1 << 14
"""Bytes of a key or signature; minisign's comments have at most 8 KB."""


@dataclass(frozen=True)
class PublicKey:
    """Who may sign. ``identity`` is 8 bytes that a signature repeats, ``raw`` the 32 bytes of Ed25519."""

    identity: bytes
    raw: bytes


def read_public_key(key: str | Path) -> PublicKey:
    """A public key of minisign.

    Args:
        key: its file, or the line in it that begins with ``RW``.

    Raises:
        InputError: it cannot be read, or is no such key.
    """
    given = str(key)
    line = given if given.startswith("RW") and len(given) == 56 else _lines(Path(key))[1]
    data = _decoded(line, 42, given)
    if data[:2] != ALGORITHM:
        raise InputError(f"{printable(given)} is no public key of minisign; expected the file minisign.pub")
    return PublicKey(data[2:10], data[10:])


def check(folder: Path, manifest: bytes, key: str | Path) -> None:
    """Check a bundle's signature.

    Args:
        folder: the bundle.
        manifest: the bytes of its manifest.
        key: see :func:`read_public_key`.

    Raises:
        BundleError: the bundle is not signed, by another key, or for another manifest.
        InputError: the key cannot be used, or ``cryptography`` is not installed.
    """
    public = read_public_key(key)
    if not os.path.lexists(folder / SIGNATURE):
        raise BundleError(f"{folder} is not signed; expected {SIGNATURE} of edge-yolov9 sign in it")
    try:
        lines = entries.content(folder, SIGNATURE, LARGEST).decode("utf-8").splitlines()
        untrusted, signed, trusted, whole = lines[:4]
        signature, comment = base64.b64decode(signed, validate=True), base64.b64decode(whole, validate=True)
    except (ValueError, binascii.Error):
        raise BundleError(f"{folder / SIGNATURE} is damaged; sign the bundle again") from None
    sound = untrusted.startswith(UNTRUSTED) and trusted.startswith(TRUSTED) and len(signature) == 74
    if not sound or signature[:2] not in (ALGORITHM, HASHED):
        raise BundleError(f"{folder / SIGNATURE} is damaged; sign the bundle again")
    if signature[2:10] != public.identity:
        raise BundleError(f"{folder} is signed by another key than {printable(key)}; do not trust it")
    message = hashlib.blake2b(manifest).digest() if signature[:2] == HASHED else manifest
    ed25519, invalid = _library()
    verifier = ed25519.Ed25519PublicKey.from_public_bytes(public.raw)
    try:
        verifier.verify(signature[10:], message)
        verifier.verify(comment, signature[10:] + trusted.removeprefix(TRUSTED).encode())
    except invalid:
        raise BundleError(f"{folder}: the signature does not fit {MANIFEST}; do not trust the bundle") from None


def sign(folder: Path, key: Path) -> Path:
    """Write the signature of a checked bundle; an older one is replaced.

    Args:
        folder: the bundle.
        key: a secret key of ``edge-yolov9 sign --new-key`` or ``minisign -G -W``: one without a password.

    Returns:
        The signature's file.

    Raises:
        InputError: the key cannot be used, the file not be written, or ``cryptography`` is not installed.
        BundleError: the manifest cannot be read.
    """
    identity, seed = _secret(key)
    private = _library()[0].Ed25519PrivateKey.from_private_bytes(seed)
    signature = private.sign(hashlib.blake2b(entries.manifest_bytes(folder)).digest())
    comment = f"timestamp:{int(time.time())}\tfile:{MANIFEST}\thashed"
    whole = private.sign(signature + comment.encode())
    lines = (
        f"{UNTRUSTED}signature of a bundle of edge-yolov9",
        base64.b64encode(HASHED + identity + signature).decode(),
        f"{TRUSTED}{comment}",
        base64.b64encode(whole).decode(),
    )
    _write(folder / SIGNATURE, lines, 0o644)
    return folder / SIGNATURE


def new_key(path: Path) -> tuple[Path, Path]:
    """Make a pair of keys: ``path``, secret, and ``path`` with ``.pub`` behind it. Neither may be there.

    Raises:
        InputError: one of them exists, or cannot be written, or ``cryptography`` is not installed.
    """
    public_path = path.with_name(f"{path.name}.pub")
    for file in (path, public_path):
        if os.path.lexists(file):
            raise InputError(f"{file} exists; a key is never replaced, choose another name")
    private, identity = _library()[0].Ed25519PrivateKey.generate(), secrets.token_bytes(8)
    seed, public = private.private_bytes_raw(), private.public_key().public_bytes_raw()
    numbers = identity + seed + public
    checksum = hashlib.blake2b(ALGORITHM + numbers, digest_size=32).digest()
    secret = ALGORITHM + NO_PASSWORD + CHECKSUM + bytes(48) + numbers + checksum
    _write(path, (f"{UNTRUSTED}secret key of edge-yolov9, no password", base64.b64encode(secret).decode()), 0o600)
    text = base64.b64encode(ALGORITHM + identity + public).decode()
    _write(public_path, (f"{UNTRUSTED}public key of edge-yolov9", text), 0o644)
    return path, public_path


def _secret(key: Path) -> tuple[bytes, bytes]:
    """Identity and 32-byte seed of a secret key."""
    data = _decoded(_lines(key)[1], 158, str(key))
    if data[:2] != ALGORITHM or data[4:6] != CHECKSUM:
        raise InputError(f"{key} is no secret key of minisign; make one with edge-yolov9 sign --new-key FILE")
    if data[2:4] != NO_PASSWORD:
        raise InputError(f"{key} has a password; sign by minisign itself: minisign -Sm BUNDLE/{MANIFEST} -s {key}")
    seed = data[62:94]  # minisign leaves the checksum empty where there is no password
    if _library()[0].Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw() != data[94:126]:
        raise InputError(f"{key} is damaged; its halves do not fit together")
    return data[54:62], seed


def _lines(path: Path) -> list[str]:
    try:
        if not path.is_file() or path.stat().st_size > LARGEST:
            raise InputError(f"there is no key at {shown(str(path))}; expected a file of minisign, or its line RW...")
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise InputError(f"the key {shown(str(path))} cannot be read: {printable(error)}") from None
    if len(lines) < 2 or not lines[0].startswith(UNTRUSTED):
        raise InputError(f"{printable(path)} is no key of minisign; its first line is a comment, its second the key")
    return lines


def _decoded(line: str, length: int, name: str) -> bytes:
    try:
        data = base64.b64decode(line, validate=True)
    except (ValueError, binascii.Error):
        data = b""
    if len(data) != length:
        raise InputError(f"{shown(name)} is no key of minisign of the kind that is wanted here")
    return data


def _write(path: Path, lines: tuple[str, ...], mode: int) -> None:
    try:
        write_whole(path, "".join(f"{line}\n" for line in lines).encode(), mode)
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror or error}") from None


def _library() -> tuple[Any, type[Exception]]:
    """The module of Ed25519, and what it raises where a signature does not fit."""
    try:
        ed25519 = importlib.import_module("cryptography.hazmat.primitives.asymmetric.ed25519")
        invalid: type[Exception] = importlib.import_module("cryptography.exceptions").InvalidSignature
    except ModuleNotFoundError:
        raise InputError('signatures need cryptography; run: pip install "edge-yolov9[sign]"') from None
    return ed25519, invalid
