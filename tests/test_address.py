"""What people may see of a source: no password, key or token, wherever and however it is written."""

from __future__ import annotations

import random
import string
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, quote_plus

import pytest

from edge_yolov9.errors import SourceError
from edge_yolov9.video.address import Address, masked, read_address
from edge_yolov9.video.source import open_source

WORD = "geheim"
"""What a secret is made of, between other characters; nothing else in the made texts holds it."""
QUERY = [
    *("password", "Passwd", "pwd", "psw", "passphrase", "loginpas", "apikey", "key", "X-Api-Key", "secret", "auth"),
    *("Authorization", "access_token", "sig", "X-Amz-Signature", "X-Amz-Credential", "streamid", "jwt", "pass%77ord"),
]
PROPERTIES = [
    "user-pw",
    "proxy-pw",
    "user-id",
    "passphrase",
    "location-password",
    "api-key",
    "extra-headers",
    "cookies",
]


def secret(rng: random.Random, characters: str) -> str:
    """A secret that holds any of ``characters``, and no piece of it without the word."""
    return "".join(WORD + rng.choice(characters) for _ in range(rng.randint(1, 3))) + WORD


def urls(rng: random.Random) -> Iterator[str]:
    """URLs, right and mistyped, with a secret each."""
    punctuation = "!$&'()*+,-.:;<=>[]^_`{|}~ %\"\\"
    raw = secret(rng, punctuation + "/?#@")
    encoded = quote(raw, safe="")
    scheme = rng.choice(["rtsp", "http", "https", "srt", "rtmp", "RTSP"])
    slashes = rng.choice(["://", ":/", ":", "//", "://", ":\\\\", ";//"])
    host = rng.choice(["127.0.0.1", "cam", "cam.example.com", "[::1]"]) + rng.choice(["", ":554", ":80"])
    path = rng.choice(["", "/", "/live/1", "/live?channel=1", "/x@1"])
    user = rng.choice(["admin", "", "a.b", "12", "a%40b"])
    for password in (raw, encoded, quote(encoded, safe="")):
        yield f"{scheme}{slashes}{user}:{password}@{host}{path}"
    yield f"{user}:{encoded}@{host}{path}"
    yield f"{scheme}://{user}:{encoded}"
    yield quote(f"{scheme}://{user}:{raw}@{host}{path}", safe=":/")
    value = secret(rng, punctuation.replace("&", "").replace(";", "") + "/?#@")
    name, more = rng.choice(QUERY), rng.choice(["", "&channel=1", ";channel=1"])
    for text in (value, quote(value, safe="")):
        for before in ("?", "?user=me&", "#", "/user=me_", "?a=1;"):
            yield f"{scheme}{slashes}{host}/v{before}{name}={text}{more}"
    yield f"http://{host}/v?url={quote(f'rtsp://{user}:{raw}@{host}/x?{name}={value}', safe='')}"


def pipelines(rng: random.Random) -> Iterator[str]:
    name, word = rng.choice(PROPERTIES), secret(rng, "/?#@&;,.:=%")
    spaced = secret(rng, " /?#@&,.:")
    equals = rng.choice(["=", " = ", "= ", " ="])
    for value in (word, f'"{spaced}"', f"'{spaced}'", spaced.replace(" ", "\\ ")):
        yield f"rtspsrc latency=1 {name}{equals}{value} ! decodebin"
        yield f"rtspsrc {name}{equals}{value}"
    yield f"rtspsrc '{name}={spaced}' ! decodebin"
    yield f"rtspsrc {name}='{spaced} ! decodebin"
    yield f'souphttpsrc extra-headers="h,Authorization=\\"Bearer {spaced}\\"" ! decodebin'
    for url in urls(rng):
        if " " not in url and "'" not in url and '"' not in url and "\\" not in url:
            yield f"rtspsrc location={url} latency=1 ! decodebin"
            yield f'rtspsrc location="{url}" ! decodebin'


def raw_secrets(rng: random.Random) -> Iterator[tuple[str, str]]:
    """(secret, text) with any printable characters in the secret, as written or percent-encoded."""
    secret = "".join(rng.choice(string.printable[:95] + "é日") for _ in range(rng.randint(6, 14)))
    host = rng.choice(["cam", "192.168.1.2", "cam.example.com:554", "[fe80::1]"])
    user = rng.choice(["admin", "us er", "a@b", ""])
    for written in (secret, quote(secret, safe=""), quote_plus(secret), "".join(f"%{b:02x}" for b in secret.encode())):
        for text in (
            f"rtsp://{user}:{{}}@{host}/live?a=1",
            f"http://{{}}@{host}/x",
            f"rtsp://{host}/x?{rng.choice(QUERY)}={{}}",
            f"rtsp://{host}/user={user}&password={{}}&channel=1",
            f"http://{host}/x?user=admin&pwd={{}}#part",
        ):
            yield written, text.format(written)


def test_no_piece_of_a_secret_of_any_characters_is_shown() -> None:
    rng = random.Random(1)
    for _ in range(1500):
        for written, text in raw_secrets(rng):
            shown, rest = masked(text), text.replace(written, "")
            pieces = [written[i : i + 6] for i in range(len(written) - 5)]
            assert not [piece for piece in pieces if piece in shown and piece not in rest], (text, shown)
            assert written not in repr(Address(text)) or written in rest


def test_no_secret_is_ever_shown() -> None:
    rng, count = random.Random(0), 0
    for _ in range(400):
        for text in (*urls(rng), *pipelines(rng)):
            shown, count = masked(text), count + 1
            assert WORD not in shown, (text, shown)
            assert shown.isprintable()
            assert masked(shown) == shown
    assert count > 10_000


@pytest.mark.parametrize(
    "text",
    [
        "rtsp://127.0.0.1:9/x@1",
        "http://[::1]:8080/stream?user=me&channel=1",
        "https://video.example/@channel",
        "v4l2src device=/dev/video0 ! image/jpeg,width=1280,height=720,framerate=30/1 ! jpegdec",
        "nvarguscamerasrc sensor-id=0 ! video/x-raw(memory:NVMM),width=1280 ! nvvidconv",
        "videotestsrc num-buffers=5 ! 'video/x-raw,format=RGB' ! identity",
        "/data/10:00@yard.mp4",
        "images/val@2x.png",
        "no such file.mp4",
    ],
)
def test_what_holds_no_secret_is_shown_as_it_is(text: str) -> None:
    assert masked(text) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("http://cam/x?a=geheim", "http://cam/x?a=***"),
        ("http://cam/x?geheim", "http://cam/x?***"),
        ("http://cam/x?channel=1&geheim", "http://cam/x?channel=1&***"),
        ("http://cam/x?id=geheim&channel=2", "http://cam/x?id=***&channel=2"),
        (
            "souphttpsrc location=http://cam/x?a=geheim ! decodebin",
            "souphttpsrc location=http://cam/x?a=*** ! decodebin",
        ),
        ("rtmp://cam/live/geheim", "rtmp://cam/live/***"),
        ("rtmps://cam:1935/live/geheim/more", "rtmps://cam:1935/live/***"),
        ('rtmpsrc location="rtmp://cam/live/geheim live=1" ! x', "rtmpsrc location=rtmp://cam/live/*** ! x"),
        ("what?is=this.mp4", "what?is=this.mp4"),
        ("films/what?.mp4", "films/what?.mp4"),
    ],
)
def test_query_values_and_names_of_streams_are_secrets(text: str, shown: str) -> None:
    assert masked(text) == shown


def test_a_text_of_any_length_is_masked_at_once() -> None:
    for text in ("a", "a=", "'", "%41", "&a", " ", "a ", "=", "@", "\\", '"', "x:/"):
        for length in (5_000, 1_000_000):
            many = text * length
            assert len(Address(f"rtsp://u:{WORD}@{many}").short) <= 200
            assert WORD not in masked(f"{many}?key={WORD}")


def message(spec: str) -> str:
    with pytest.raises(SourceError) as caught:
        open_source(spec)
    return str(caught.value)


@pytest.mark.parametrize(
    "spec",
    [
        f"srt://127.0.0.1:9?passphrase={WORD}",
        f"http://127.0.0.1:9/v?apikey={WORD}",
        f"rtsp:/user:{WORD}@127.0.0.1/x",
        f"user:{WORD}@127.0.0.1/x",
        f"file:///no/such/film.mp4?key={WORD}",
        f"-souphttpsrc proxy-pw='{WORD} {WORD}' ! decodebin",
        f"rtsp://u:{WORD}@127.0.0.1:9/{'x' * 5000}",
        "x" * 5000,
        "x\n" * 5000,
    ],
)
def test_errors_are_one_short_line_without_the_secret(spec: str, capfd: pytest.CaptureFixture[str]) -> None:
    said = message(spec)
    assert WORD not in said + "".join(capfd.readouterr())
    assert len(said) < 320
    assert "\n" not in said


def test_characters_that_end_a_password_are_hinted_at() -> None:
    for raw in "/?#@":
        assert message(f"rtsp://user:a{raw}b@127.0.0.1:9/x").endswith("write / ? # @ as %2F %3F %23 %40")
    assert "%2F" not in message("rtsp://user:ab@127.0.0.1:9/x")


def test_a_source_stands_in_the_environment_or_in_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAMERA", f" rtsp://u:{WORD}@127.0.0.1:9/x\n")
    (tmp_path / "camera").write_text(f"rtsp://u:{WORD}@127.0.0.1:9/x\n")
    for spec in ("env:CAMERA", f"@{tmp_path}/camera"):
        assert message(spec).startswith("rtsp://127.0.0.1:9/x does not open")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "env:CAMERA").write_text("a file of that name is a file")
    assert "neither an image nor a video" in message("env:CAMERA")


def test_where_no_source_stands_is_said(tmp_path: Path) -> None:
    (tmp_path / "empty").write_text(" \n")
    (tmp_path / "bytes").write_bytes(b"\xff\xfe")
    for spec, why in (
        ("env:CAMERA", "variable CAMERA is not set"),
        (f"@{tmp_path}", "there is no file"),
        (f"@{tmp_path}/gone", "there is no file"),
        ("@/dev/zero", "there is no file"),
        ("@\0", "there is no file"),
        (f"@{tmp_path}/empty", "is empty"),
        (f"@{tmp_path}/bytes", "it is no text"),
    ):
        with pytest.raises(SourceError, match=why):
            read_address(spec, {})
