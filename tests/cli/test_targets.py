"""``edge-yolov9 targets``."""

from __future__ import annotations

import json
import sys

import pytest
from click.testing import CliRunner

from edge_yolov9.cli import main
from edge_yolov9.registry import PRECISIONS, TARGETS, boards


def test_every_target_and_board_is_listed() -> None:
    result = CliRunner().invoke(main, ["targets"])
    assert result.exit_code == 0, result.output
    for name in TARGETS:
        assert name in result.stdout
        for board in boards(name):
            assert board in result.stdout


def test_json_on_standard_output() -> None:
    result = CliRunner().invoke(main, ["targets", "--json", "-"])
    assert set(json.loads(result.stdout)) == set(TARGETS)


@pytest.mark.parametrize("name", list(TARGETS))
def test_profiles_are_complete(name: str) -> None:
    for board, profile in boards(name).items():
        assert profile.precision in profile.precisions, board
        assert set(profile.precisions) <= set(PRECISIONS), board
        assert profile.title
        assert profile.name == board


def test_without_a_toml_reader_targets_are_still_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tomllib", None)
    monkeypatch.setitem(sys.modules, "tomli", None)
    result = CliRunner().invoke(main, ["targets"])
    assert result.exit_code == 0
    assert "openvino" in result.stdout
    assert "boards are not shown" in result.stderr
    one = CliRunner().invoke(main, ["targets", "--device", "orin-nano"])
    assert one.exit_code == 1
    assert "reading target.toml on Python 3.10 needs: pip install" in one.stderr
