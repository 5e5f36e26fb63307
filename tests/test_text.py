"""Whatever a name holds, the places that show it keep their form: properties over random and over nasty texts."""

from __future__ import annotations

import csv
import html
import io
import json
import logging
import random
import re
import sys
import unicodedata
import xml.etree.ElementTree as ET

import pytest

from edge_yolov9 import text
from tests.conftest import ROOT

NASTY = (
    "", " ", "\n", "\r\n", "\t", "a\nb", "\x1b]0;title\x07", "\x1b[31mred", "\x7f", "\x85", "\x9b31m", "\u202eevil",
    "\u2066x\u2069", "\u200b", "\u200d", "\ufeff", "\u2028", "\u2029", "\ud800", "\udcff", "\U000e0001", "\ufffe",
    "\x00",
    "<script>alert(1)</script>", "\"'&<>", "&lt;b&gt;", "![x](http://evil)", "http://evil.example", "www.evil.example",
    "`a` | b", "# title", "- item", "1. item", "---", "===", "~~~", "*a* _b_", "$\\frac{1}{0}$", "=1+1", "+1", "-1",
    "@SUM(A1)", "\t=1", "\uff1d1", "yes", "null", "a: b # c", "{track}", "\\", "\"", "%YAML", "\u3164", "Fußgänger",
    "犬", "🐕", "e\u0301",
)  # fmt: skip


def random_texts(count: int) -> list[str]:
    choose = random.Random(17)
    pools = [NASTY, *(tuple(map(chr, span)) for span in (range(256), range(0x2000, 0x2100), range(0xD7F0, 0xE010)))]
    return [
        "".join(
            choose.choice(choose.choice(pools)) if choose.random() < 0.9 else chr(choose.randrange(sys.maxunicode + 1))
            for _ in range(choose.randrange(1, 12))
        )
        for _ in range(count)
    ]


TEXTS = [*NASTY, *random_texts(1500)]


def assert_printable(line: str) -> None:
    assert line.isprintable(), ascii(line)
    assert not any(unicodedata.category(char).startswith("C") or char in text.INVISIBLE for char in line)
    line.encode("utf-8")


def test_a_line_is_one_printable_line_and_as_long() -> None:
    for value in TEXTS:
        assert_printable(text.printable(value))
        assert len(text.printable(value)) == len(value)
        assert text.printable(text.printable(value)) == text.printable(value)
    for name in ("Fußgänger", "犬", "🐕", "e\u0301", "a $5 <b> & 'c'"):
        assert text.printable(name) == name


def test_several_lines_stay_several() -> None:
    assert text.lines("a\x1b\nb\r\nc") == "a?\nb \nc"


def test_json_is_exact_and_shows_nothing_that_a_terminal_obeys() -> None:
    for value in TEXTS:
        merged = value.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")  # JSON has no other way
        for indent in (None, 2):
            written = text.json_text({"name": [value]}, indent)
            assert json.loads(written) == {"name": [merged]}
            assert all(line.isprintable() for line in written.split("\n")), ascii(written)
    assert text.json_text(["犬", 0.1, 10**30]) == f'["犬", 0.1, {10**30}]'
    with pytest.raises(ValueError, match="JSON"):
        text.json_text(float("nan"))


def test_html_and_svg_hold_text_alone() -> None:
    for value in TEXTS:
        written = text.html(value)
        assert_printable(written)
        assert html.unescape(written) == text.printable(value)
        element = ET.fromstring(f'<svg a="{written}">{written}</svg>')
        assert not len(element)
        assert element.get("a") == (element.text or "") == text.printable(value)


def test_markdown_holds_no_markup() -> None:
    for value in TEXTS:
        written = text.markdown(value)
        assert_printable(written)
        bare = re.sub(r"\\[!-/:-@\[-`{-~]", "", written)  # what CommonMark takes for an escape
        assert not re.search(r"[\\`*_\[\]<>|#~&$]", bare), ascii(written)
        assert "://" not in bare
        assert not re.match(r"[-+=]|\d+[.)]", written), ascii(written)
        assert re.sub(r"\\([!-/:-@\[-`{-~])", r"\1", written) == " ".join(text.printable(value).split())


def test_yaml_reads_back_as_the_same_text() -> None:
    yaml = pytest.importorskip("yaml", reason="PyYAML is of the extra val")
    entries = "\n".join(f"  - {text.yaml_scalar(value)}" for value in TEXTS)
    assert yaml.safe_load(f"names:\n{entries}\n")["names"] == [text.printable(value) for value in TEXTS]


def test_a_spreadsheet_computes_nothing() -> None:
    out = io.StringIO()
    csv.writer(out).writerows([text.csv_cell(value), "end"] for value in TEXTS)
    rows = list(csv.reader(io.StringIO(out.getvalue())))
    assert len(rows) == len(TEXTS)
    for row, value in zip(rows, TEXTS, strict=True):
        assert row[1] == "end"
        assert not row[0].lstrip().startswith(("=", "+", "-", "@"))
        assert row[0] in (text.printable(value), "'" + text.printable(value))


def test_a_label_map_has_one_line_for_each_class() -> None:
    labels = [text.label(value, index) for index, value in enumerate(TEXTS)]
    assert all(label.strip() == label and label for label in labels)
    assert "\n".join(labels).splitlines() == labels
    assert text.label(" \n", 3) == "class 3"


def test_a_plot_reads_no_formula() -> None:
    assert text.plot("$\\frac$\x1b") == "\\$\\frac\\$?"


def test_a_value_in_a_message_is_short() -> None:
    many = {"k" * 999: list(range(10**5))}
    for value in (10**5000, "x" * 10**7, ["a" * 10**6] * 100, many, "\x1b]\n", float("inf"), None, b"\xff"):
        assert len(text.shown(value)) <= text.LONGEST
        assert_printable(text.shown(value))


def test_a_nested_value_in_a_message_is_short() -> None:
    nested: list[object] = []
    for _ in range(100_000):
        nested = [nested]
    assert text.shown(nested) == "[[[[...]]]]"
    while nested:
        nested = nested.pop()  # type: ignore[assignment]  # else Python frees it by recursion


def test_log_messages_are_one_printable_line(caplog: pytest.LogCaptureFixture) -> None:
    log = text.logger("edge_yolov9.test")
    assert text.logger("edge_yolov9.test").filters == log.filters
    with caplog.at_level(logging.INFO):
        log.warning("cannot read %s: %s", "a\x1b]0;b", OSError("no\nfile"))
    assert caplog.messages == ["cannot read a?]0;b: no file"]


@pytest.mark.parametrize(
    ("call", "homes"),
    [
        ("click.echo(", {"cli/common/terminal.py", "cli/common/output.py"}),
        ("html.escape(", set()),
        ("= logging.getLogger(__name__)", set()),
    ],
)
def test_nothing_passes_by(call: str, homes: set[str]) -> None:
    package = ROOT / "edge_yolov9"
    sources = {file.relative_to(package).as_posix(): file for file in package.rglob("*.py")}
    sources |= {file.relative_to(ROOT).as_posix(): file for file in (ROOT / "targets").rglob("*.py")}
    assert {name for name, file in sources.items() if call in file.read_text(encoding="utf-8")} == homes
