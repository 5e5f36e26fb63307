"""Files that commit 1757f0c wrote read, score, compare and render as they did there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from edge_yolov9.cli import main
from edge_yolov9.report import render
from tests.conftest import ROOT
from tests.reporting import small_data

OLD = ROOT / "tests" / "fixtures" / "report-1757f0c"
FIRST, SECOND = OLD / "this-machine.json", OLD / "pretended-pi.json"


def report(*words: object) -> str:
    """Standard output of ``edge-yolov9 report``."""
    result = CliRunner().invoke(main, ["report", *map(str, words)])
    assert result.exit_code == 0, result.output
    return result.stdout


def loaded(path: Path) -> Any:
    return json.loads(path.read_text())


def lines(page: str) -> list[str]:
    """The lines of a page without Markdown's escapes; the command and file names that made it are left out."""
    plain = (line.partition(", edge-yolov9 ")[0].replace("\\", "") for line in page.splitlines())
    return [line for line in plain if not line.startswith("First: ")]


@pytest.fixture(autouse=True)
def no_matplotlib(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(render, "has_plots", lambda: False)


def test_the_page_and_the_data_are_the_same(tmp_path: Path) -> None:
    printed = report(FIRST, SECOND, "-o", tmp_path)
    assert lines((tmp_path / "report.md").read_text()) == lines((OLD / "both.md").read_text())
    assert printed.splitlines()[:-1] == (OLD / "both.txt").read_text().splitlines()[:-1]
    for old, new in zip((FIRST, SECOND), loaded(tmp_path / "report.json")["columns"], strict=True):
        (before,) = loaded(old)["columns"]
        assert {**before, "label": new["label"], "worst_pictures": []} == new


def test_one_report_is_written_as_it_was_read(tmp_path: Path) -> None:
    report(SECOND, "-o", tmp_path)
    before, after = loaded(SECOND), loaded(tmp_path / "report.json")
    before["columns"][0]["worst_pictures"] = []  # the sheets themselves are not among the fixtures
    assert json.dumps(after["columns"], sort_keys=True) == json.dumps(before["columns"], sort_keys=True)
    assert (after["schema"], after["schema_version"]) == (before["schema"], before["schema_version"])


def test_the_comparison_is_the_same(tmp_path: Path) -> None:
    report("--compare", FIRST, SECOND, "-o", tmp_path)
    before, after = loaded(OLD / "comparison.json"), loaded(tmp_path / "comparison.json")
    (old,), (new,) = before["pairs"], after["pairs"]
    assert (new["first"], new["second"]) == (old["first"], old["second"])
    for theirs, ours in zip(old["changes"], new["changes"], strict=True):
        for key, value in theirs.items():  # the last digit of a root may differ
            assert ours[key] == (pytest.approx(value, rel=1e-12) if type(value) is float else value), (key, theirs)
    page = lines((tmp_path / "comparison.md").read_text())
    assert page == lines((OLD / "comparison.md").read_text())
    assert "| :-- | --: | --: |" in page


def test_old_detections_score_the_same(tmp_path: Path) -> None:
    data = small_data(tmp_path / "set", 3)
    report("--score", OLD / "detections.json", "--data", data, "-o", tmp_path / "out")
    (scored,), (once,) = (loaded(path)["columns"] for path in (tmp_path / "out" / "report.json", SECOND))
    assert scored["accuracy"] == once["accuracy"]
    (before,) = loaded(OLD / "detections.json")["columns"]
    for section in ("machine", "latency", "throughput", "power", "heat", "footprint", "bundle", "warnings"):
        assert scored[section] == before[section]


def test_the_model_table_takes_the_same_points(tmp_path: Path) -> None:
    report("--model-table", FIRST, "--json", tmp_path / "models.json")
    before, after = loaded(OLD / "models.json"), loaded(tmp_path / "models.json")
    assert after["points"] == before["points"]
    assert after["models"] == before["models"]
