"""Pages: nothing in a name becomes markup, and what is in the blocks is in the file."""

from __future__ import annotations

from edge_yolov9.report.page import Heading, Notice, Picture, Table, Text, as_html, as_markdown, as_text

EVIL = "<script>alert('x')</script> | a_b *c*"
PAGE = (
    Heading(f"Title {EVIL}", 1),
    Text(EVIL),
    Notice(EVIL, (EVIL,)),
    Table(("", EVIL), ((EVIL, "1.5"), ("b", "2"))),
    Picture("figures/x.png", b"\x89PNG", f'"{EVIL}'),
)


def test_html_is_one_file_in_which_nothing_runs_or_loads() -> None:
    page = as_html(PAGE)
    assert "<script" not in page
    assert page.count("&lt;script&gt;") == 9
    assert 'src="data:image/png;base64,iVBORw=="' in page
    assert 'alt="&quot;&lt;script' in page
    assert "http" not in page
    assert '<meta name="viewport"' in page
    assert "@media print" in page


def test_markdown_keeps_cells_together() -> None:
    page = as_markdown(PAGE)
    table = [line for line in page.splitlines() if line.startswith("| ")]
    assert len(table) == 4
    assert all(line.replace("\\|", "").count("|") == 3 for line in table)
    assert "\\<script\\>" in page
    assert "](figures/x.png)" in page
    assert "| b | 2 |" in page


def test_a_terminal_gets_aligned_columns_and_no_pictures() -> None:
    text = as_text((Table(("", "first"), (("long name", "1"), ("b", "2.5"))), Picture("x.png", b"", "gone")))
    assert text.splitlines() == ["           first", "long name      1", "b            2.5"]
