"""What opens a source, and what people may see of it: passwords, keys and tokens stay out of every text for people.

A source may also be named by where it stands, so that no list of processes shows it: ``env:NAME`` is the text of an
environment variable, ``@FILE`` the text of a file.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote

from edge_yolov9.errors import SourceError
from edge_yolov9.text import printable

HIDDEN = "***"
LONGEST_NAME = 200
"""Characters of a source in a message."""
LONGEST_TEXT = 1 << 14
"""Characters of a source of which anything is shown, and bytes of a file that holds one."""
SECRET = re.compile(
    "pas|pw|psw|psk|key|secret|auth|token|sig|cred|jwt|bearer|session|ticket|cookie|header|hmac|streamid"
)
"""What the name of a query value or of a pipeline's property holds when its value is a secret."""
SECRET_NAMES = ("pin", "otp", "sid", "code", "user-id")
"""Names of secrets that are too short to look for inside others, or belong to one."""
NAME = r"(?:[\w.~-]|%[0-9A-Fa-f]{2})+"
ASSIGNMENT = re.compile(rf"(?<![\w.~%-])(?P<name>{NAME})\s*=\s*")
HARMLESS = (
    "channel|ch|stream|streamtype|subtype|profile|proto|transport|unicast|multicast|mode|codec|resolution|res|size|width|"
    "height|fps|rate|quality|latency|timeout|user|username|format|type|camera|cam|video|audio"
)
"""Names of query values that are shown."""
NEXT_ASSIGNMENT = re.compile(rf"[&;](?:{HARMLESS}|id)=", re.IGNORECASE)
"""What certainly ends the value of a secret in a query. A password may hold & and = itself."""
LITERAL_PATH = re.compile(r"\.{0,2}/(?!/)|~|[A-Za-z]:[/\\]")
VALUE = re.compile(rf"(?<=[?&;])(?!(?:{HARMLESS})=)(?P<name>[^=&;#\s]*=)?[^&;#\s]+", re.IGNORECASE)
"""A query value that is not known as harmless, with or without a name."""
STREAM_KEY = re.compile(r"(rtmp\w{0,2}:[/\\]+[^/]*/[^/]+/).+", re.IGNORECASE | re.DOTALL)
"""Behind the application's name, the path of RTMP is a secret as a rule."""
SCHEME = re.compile(r"[A-Za-z][\w+.-]+[:;]+[/\\]*|(?:[A-Za-z][\w+.-]*)?[:;]*[/\\]{2,}")
"""The beginning of a URL, also one that is mistyped."""
INNER_SCHEME = re.compile(r"(?<![\w+.-])[A-Za-z][\w+.-]*:[/\\]+")
ADDRESS = r"(?:\d+\.\d+\.\d+\.\d+|\[[0-9A-Fa-f:.%]+\]|localhost)"
DOTTED = r"[\w-]+(?:\.[\w-]+)+"
HOST = rf"{ADDRESS}|{DOTTED}|[\w-]+:\d"
"""The beginning of a host."""
PIPELINE = re.compile(r"\s!\s")
ATOM = r"""(?:'[^']*(?:'|$)|"(?:\\.|[^"\\])*(?:"|$)|\\.|[^\s'"\\]|\\$)+"""
WORD = re.compile(rf"({ATOM}(?:(?:(?<==)\s+(?!!)|\s+(?==)){ATOM})*)(\s*)", re.DOTALL)
"""A word of a pipeline as gst-launch-1.0 splits it, ``name = value`` as one, and the space behind it."""
QUOTED = re.compile(r"""'([^']*)'?|"((?:\\.|[^"\\])*)"?|\\(.)""", re.DOTALL)


@dataclass(frozen=True)
class Address:
    """A source's text."""

    text: str = field(repr=False)
    """What opens it; it may hold a password."""

    @property
    def name(self) -> str:
        """The text without its secrets."""
        return masked(self.text)

    @property
    def short(self) -> str:
        """``name`` for messages, at most ``LONGEST_NAME`` characters."""
        return shortened(self.name)

    @property
    def hint(self) -> str:
        """How to write the password of a URL where it holds what ends it; "" where it holds none."""
        scheme = SCHEME.match(self.text)
        rest = self.text[scheme.end() :] if scheme else ""
        raw = re.search(r"[/\\?#@]", rest[: max(0, _credentials_end(rest) - 1)])
        return "; in a user name or password write / ? # @ as %2F %3F %23 %40" if raw else ""


def shortened(name: str) -> str:
    """``name``, or its beginning where it is longer than ``LONGEST_NAME`` characters."""
    return name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 3]}..."


def read_address(text: str, environment: Mapping[str, str] = os.environ) -> Address:
    """What ``text`` names: itself, or the text of the environment variable or file that it points at.

    Args:
        text: a source, ``env:NAME`` or ``@FILE``.
        environment: the environment variables.

    Raises:
        SourceError: there is no such variable or file, or it is empty.
    """
    variable = re.fullmatch(r"env:(\w+)", text)
    if variable is not None:
        content = environment.get(variable.group(1), "").strip()
        if not content:
            raise SourceError(f"the environment variable {shortened(variable.group(1))} is not set; expected a source")
        return Address(content)
    if text.startswith("@"):
        return Address(_content(Path(text[1:])))
    return Address(text)


def masked(text: str) -> str:
    """``text`` (a URL, also a mistyped one, a pipeline, or a line of a log) without its secrets, on one line.

    User names and passwords of URLs go, and so do the values of what is called password, key, token or alike, in
    queries as in properties, raw or percent-encoded, every query value whose name does not say that it is harmless, and
    the stream's name of RTMP. Where it is not certain where a password ends, more goes.
    """
    if len(text) > LONGEST_TEXT:
        return HIDDEN
    is_url = SCHEME.match(text) and not LITERAL_PATH.match(text)
    return printable(_masked_value(text) if is_url else WORD.sub(_masked_word, text))


def _content(path: Path) -> str:
    shown = shortened(str(path))
    try:
        if not path.is_file():
            raise SourceError(f"there is no file {shown} to read a source from")
        with path.open("rb") as file:
            content = file.read(LONGEST_TEXT).decode("utf-8").strip()
    except (OSError, ValueError) as error:
        reason = (isinstance(error, OSError) and error.strerror) or "it is no text"
        raise SourceError(f"cannot read a source from {shown}: {reason}") from None
    if not content:
        raise SourceError(f"the file {shown} is empty; write a source into it")
    return content


def _decoded(text: str) -> str:
    for _ in range(5):  # a URL in the query of a URL is encoded twice
        decoded = unquote(text)
        if decoded == text:
            break
        text = decoded
    return text


def _masked_value(text: str) -> str:
    """A URL, or whatever stands in one word of a pipeline, without secrets."""
    shown = _masked_as_written(text)
    decoded = _decoded(shown)
    return shown if _masked_as_written(decoded) == decoded else _masked_as_written(decoded)


def _masked_as_written(text: str) -> str:
    shown = STREAM_KEY.sub(rf"\1{HIDDEN}", _without_values(text))
    return _without_query(_without_credentials(shown, hid_the_end="@" in text and "@" not in shown))


def _masked_word(match: re.Match[str]) -> str:
    word, space = match.groups()
    plain = QUOTED.sub(lambda quoted: next((part for part in quoted.groups() if part is not None), ""), word)
    if re.match(r"user-(id|pw)\s*=", plain):
        return ""
    name = re.match(r"[\w:.-]+\s*=\s*", plain)
    start = name.end() if name else 0
    shown = HIDDEN if name and _is_secret(name.group()) else _masked_value(plain[start:])
    return (word if shown == plain[start:] else plain[:start] + shown) + space


def _without_values(text: str) -> str:
    """Values of secrets, each to what certainly ends it."""
    parts, at = [], 0
    for match in ASSIGNMENT.finditer(text):
        if match.start() >= at and _is_secret(match["name"]):
            following = NEXT_ASSIGNMENT.search(text, match.end())
            parts += [text[at : match.end()], HIDDEN]
            at = len(text) if following is None else following.start()
    return "".join(parts) + text[at:]


def _without_query(text: str) -> str:
    """A URL without the values of its query that are not known as harmless."""
    start = text.find("?")
    if start < 0 or not INNER_SCHEME.search(text, 0, start):
        return text
    return text[:start] + VALUE.sub(lambda match: (match["name"] or "") + HIDDEN, text[start:])


def _is_secret(name: str) -> bool:
    plain = _decoded(name).lower().rstrip("= ")
    return SECRET.search(plain) is not None or re.split(r"[^a-z0-9-]+", plain)[-1] in SECRET_NAMES


def _without_credentials(text: str, hid_the_end: bool) -> str:
    """A URL without user name and password.

    Args:
        text: the URL.
        hid_the_end: whether a value that was hidden before held every @: one of them may have ended a password.
    """
    if LITERAL_PATH.match(text):
        return text
    scheme = SCHEME.match(text) or INNER_SCHEME.search(text)
    start = scheme.end() if scheme else 0
    rest = text[start:]
    if scheme is None and not re.match(r"[^@]*:", rest.rpartition("@")[0]):
        return text
    rest = rest[_credentials_end(rest) :]
    place = re.match(r"[^/\\?#]*", rest)
    host = place.group() if place else ""
    with_port = r"([^:]*|\[[^\]]*\])(:\d{0,5})?" if not hid_the_end else rf"[^:]*|{ADDRESS}(:\d{{0,5}})?"
    if scheme and scheme.group().endswith(("/", "\\")) and not re.fullmatch(with_port, host):
        rest = HIDDEN  # a password, whose host is missing or not told from it
    return text[:start] + rest


def _credentials_end(rest: str) -> int:
    """Where the host begins in what follows a URL's scheme.

    Behind the last @, for a password may hold any letter; but an @ in the path of what is certainly a host is none.
    """
    end = rest.rfind("@") + 1
    place = re.match(r"[^/\\?#]*", rest)
    host = place.group() if place else ""
    path = rest[len(host) : end]
    if "@" in host or ":" in path:
        return end
    is_address = re.fullmatch(rf"{ADDRESS}(:\d{{1,5}})?", host)
    is_name = re.fullmatch(DOTTED, host) and re.fullmatch(r"(/[^?#]*)?/@", path) and not re.match(HOST, rest[end:])
    return 0 if is_address or is_name else end
