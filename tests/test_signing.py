"""Signed bundles: minisign's form, both ways, and every way in which a signature does not hold."""

from __future__ import annotations

import base64
import shutil
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner

from edge_yolov9 import Detector
from edge_yolov9.bench import child, latency, startup, worker
from edge_yolov9.bundle import MANIFEST, read, seal, writing
from edge_yolov9.bundle.manifest import SIGNATURE
from edge_yolov9.cli import main
from edge_yolov9.errors import BundleError, InputError
from tests.conftest import DATA
from tests.test_bundle import PLAIN

pytest.importorskip("cryptography", reason="needs the extra sign")
from edge_yolov9.bundle import signing

needs_minisign = pytest.mark.skipif(shutil.which("minisign") is None, reason="needs minisign (Debian: minisign)")


def make(folder: Path, weights: bytes) -> Path:
    with writing(folder) as draft:
        (draft / "model.onnx").write_bytes(weights)
        seal(draft, PLAIN)
    return folder


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    return make(tmp_path / "bundle", b"weights")


@pytest.fixture
def keys(tmp_path: Path) -> tuple[Path, Path]:
    return signing.new_key(tmp_path / "fleet")


def test_a_signed_bundle_opens_with_its_key_alone(bundle: Path, keys: tuple[Path, Path], tmp_path: Path) -> None:
    secret, public = keys
    signing.sign(bundle, secret)
    line = public.read_text().splitlines()[1]
    for key in (public, str(public), line):
        assert read(bundle, key=key).manifest.names == ("a", "b")
    assert read(bundle).manifest.names == ("a", "b")
    _, other = signing.new_key(tmp_path / "other")
    with pytest.raises(BundleError, match="signed by another key"):
        read(bundle, key=other)
    assert secret.stat().st_mode & 0o077 == 0


def test_a_bundle_that_is_not_signed(bundle: Path, keys: tuple[Path, Path]) -> None:
    with pytest.raises(BundleError, match="is not signed"):
        read(bundle, key=keys[1])
    with pytest.raises(BundleError, match="is not signed"):
        Detector(bundle, key=keys[1])
    with pytest.raises(BundleError, match="is not signed"):
        Detector(read(bundle), key=keys[1])


def test_what_was_changed_after_signing(bundle: Path, keys: tuple[Path, Path]) -> None:
    secret, public = keys
    signing.sign(bundle, secret)
    text = (bundle / MANIFEST).read_text()
    (bundle / MANIFEST).write_text(text + " ")
    with pytest.raises(BundleError, match="does not fit"):
        read(bundle, key=public)
    (bundle / MANIFEST).write_text(text)
    (bundle / "model.onnx").write_bytes(b"WEIGHTS")
    with pytest.raises(BundleError, match="was changed"):
        read(bundle, key=public)


def test_the_signature_of_another_bundle(bundle: Path, keys: tuple[Path, Path], tmp_path: Path) -> None:
    other = make(tmp_path / "other", b"others")
    shutil.copy(signing.sign(other, keys[0]), bundle)
    with pytest.raises(BundleError, match="does not fit"):
        read(bundle, key=keys[1])


def test_a_signature_that_is_cut_or_edited(bundle: Path, keys: tuple[Path, Path]) -> None:
    secret, public = keys
    file = signing.sign(bundle, secret)
    whole = file.read_text()
    lines = whole.splitlines()
    for text in (
        "", "\n\n\n\n", whole[:40], "\n".join(lines[:3]), whole.replace("timestamp", "timestomp"),
        "\n".join([lines[0], "AAAA", *lines[2:]]), "\n".join([*lines[:3], "AAAA"]),
        "\n".join([lines[0], lines[3], lines[2], lines[1]]),
        whole.replace(lines[1], base64.b64encode(b"XX" + base64.b64decode(lines[1])[2:]).decode()),
    ):  # fmt: skip
        file.write_text(text)
        with pytest.raises(BundleError, match=r"damaged|does not fit"):
            read(bundle, key=public)
    file.write_bytes(b"\xff" * 100)
    with pytest.raises(BundleError, match="damaged"):
        read(bundle, key=public)
    file.unlink()
    file.symlink_to(bundle / MANIFEST)
    with pytest.raises(BundleError, match="link"):
        read(bundle, key=public)


def test_keys_that_are_none(bundle: Path, keys: tuple[Path, Path], tmp_path: Path) -> None:
    secret, public = keys
    (tmp_path / "nonsense").write_text("a\nb\n")
    for key in (tmp_path / "nothing", tmp_path / "nonsense", tmp_path, secret, "RW" + "?" * 54):
        with pytest.raises(InputError):
            read(bundle, key=key)
    for key in (tmp_path / "nothing", tmp_path / "nonsense", public):
        with pytest.raises(InputError):
            signing.sign(bundle, key)
    with pytest.raises(InputError, match="never replaced"):
        signing.new_key(secret)


def test_the_verbs(bundle: Path, tmp_path: Path) -> None:
    def run(*words: object) -> tuple[int, str]:
        result = CliRunner().invoke(main, [str(word) for word in words])
        return result.exit_code, result.output

    key = tmp_path / "key"
    assert run("verify", bundle, "--key", key)[0] == 1
    assert run("sign", "--new-key", key)[0] == 0
    assert "is not signed" in run("verify", bundle, "--key", f"{key}.pub")[1]
    assert run("sign", bundle, "--key", key)[0] == 0
    assert run("verify", bundle, "--key", f"{key}.pub")[0] == 0
    assert run("sign", bundle)[0] == 2
    (bundle / "model.onnx").write_bytes(b"other")
    assert run("verify", bundle, "--key", f"{key}.pub")[0] == 1
    assert run("sign", bundle, "--key", key)[0] == 1


@pytest.mark.parametrize("by", ["option", "environment"])
@pytest.mark.parametrize(
    "words",
    [
        "info B",
        "val B --data D",
        "detect B P",
        "report B -o O",
        "report table B",
        "jetson build B",
        "jetson check B",
        "verify B",
    ],
)
def test_every_verb_that_opens_a_bundle_takes_a_key(
    bundle: Path, keys: tuple[Path, Path], tmp_path: Path, words: str, by: str
) -> None:
    if words.startswith("val"):
        pytest.importorskip("yaml")
    (tmp_path / "1.jpg").write_bytes(b"")
    names = {"B": bundle, "D": DATA, "P": tmp_path / "1.jpg", "O": tmp_path / "out"}
    command = [str(names.get(word, word)) for word in words.split()]
    given = ["--key", str(keys[1])] if by == "option" else []
    environment = {} if given else {"EDGE_YOLOV9_KEY": str(keys[1])}
    result = CliRunner(env=environment).invoke(main, [*command, *given])
    assert result.exit_code == 1
    assert result.output == f"Error: {bundle} is not signed; expected manifest.json.minisig of edge-yolov9 sign in it\n"


@pytest.mark.parametrize("verb", ["info", "val"])
def test_a_checkpoint_does_not_pass_for_a_signed_bundle(keys: tuple[Path, Path], tmp_path: Path, verb: str) -> None:
    (tmp_path / "best.safetensors").write_bytes(b"")
    words = [verb, str(tmp_path / "best.safetensors"), *(["--data", "d.yaml"] if verb == "val" else [])]
    result = CliRunner().invoke(main, [*words, "--key", str(keys[1])])
    assert "is no bundle, and only bundles are signed" in result.output


def test_processes_that_measure_a_signed_bundle_check_it_again(bundle: Path, keys: tuple[Path, Path]) -> None:
    signing.sign(bundle, keys[0])
    opened = read(bundle, key=keys[1])
    assert opened.key == str(keys[1])
    (bundle / SIGNATURE).unlink()
    for module, settings in (
        ("startup", startup.Settings(str(bundle), None, None, 0.0, opened.key)),
        ("latency", latency.Settings(str(bundle), None, opened.key)),
        ("worker", worker.Settings(str(bundle), (), None, None, 1, 1.0, opened.key)),
    ):
        with pytest.raises(BundleError, match="is not signed"):
            child.run(module, settings, object, lambda text: None)


def test_signing_writes_no_key_into_a_bundle_and_replaces_no_other_file(bundle: Path, keys: tuple[Path, Path]) -> None:
    result = CliRunner().invoke(main, ["sign", "--new-key", str(bundle / "key")])
    assert "lies in the bundle" in result.output
    (bundle / SIGNATURE).write_text("mine")
    result = CliRunner().invoke(main, ["sign", str(bundle), "--key", str(keys[0])])
    assert "is there and no signature of minisign" in result.output
    assert (bundle / SIGNATURE).read_text() == "mine"


def test_compiling_again_replaces_a_signed_bundle(bundle: Path, keys: tuple[Path, Path]) -> None:
    signing.sign(bundle, keys[0])
    make(bundle, b"newer")
    assert not (bundle / SIGNATURE).exists()


@needs_minisign
def test_minisign_reads_ours_and_we_read_its(bundle: Path, keys: tuple[Path, Path], tmp_path: Path) -> None:
    def minisign(*words: object) -> None:
        subprocess.run(["minisign", *map(str, words)], check=True, capture_output=True, stdin=subprocess.DEVNULL)

    secret, public = keys
    signing.sign(bundle, secret)
    minisign("-Vm", bundle / MANIFEST, "-p", public)
    minisign("-Sm", bundle / MANIFEST, "-s", secret)  # a key of ours
    read(bundle, key=public)
    theirs, shown = tmp_path / "minisign.key", tmp_path / "minisign.pub"
    minisign("-GW", "-s", theirs, "-p", shown)
    for legacy in ([], ["-l"]):
        minisign("-S", *legacy, "-m", bundle / MANIFEST, "-s", theirs)
        read(bundle, key=shown)
    signing.sign(bundle, theirs)
    minisign("-Vm", bundle / MANIFEST, "-p", shown)
