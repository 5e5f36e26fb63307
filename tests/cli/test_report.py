"""``edge-yolov9 report``: measure, score elsewhere, compare, table; and one line for whatever is wrong."""

from __future__ import annotations

import copy
import html
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from edge_yolov9 import bundle as bundles
from edge_yolov9.bench import footprint, suite
from edge_yolov9.bench.measured import Measured
from edge_yolov9.bench.spread import few
from edge_yolov9.cli import main, model_table
from edge_yolov9.errors import BundleError, InferenceError, RuntimeNotInstalled
from edge_yolov9.outputs import RECORD
from edge_yolov9.registry import TARGETS, Target
from edge_yolov9.report import document, render
from tests.conftest import Compiled
from tests.reporting import MEASURED, measured, sections, small_data
from tests.test_files import names


def report(*words: object) -> Result:
    return CliRunner().invoke(main, ["report", *map(str, words)])


def fine(*words: object) -> Result:
    result = report(*words)
    assert result.exit_code == 0, result.output
    return result


def refused(*words: object, says: str) -> None:
    result = report(*words)
    assert result.exit_code == 1, (words, result.output)
    assert isinstance(result.exception, SystemExit)
    assert says in result.stderr, result.stderr
    assert result.stderr.count("Error:") == 1
    assert len(result.stderr.splitlines()[-1]) < 1000


def loaded(path: Path) -> Any:
    return json.loads(path.read_text())


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Nothing is timed; holds the bundles that would have been."""
    asked: list[Path] = []

    def measure_bundle(bundle: Path, **_: Any) -> Measured:
        asked.append(bundle)
        return measured(float(len(asked)), ("the governor is powersave",))

    monkeypatch.setattr(suite, "measure_bundle", measure_bundle)
    return asked


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_data(tmp_path_factory.mktemp("set") / "few", 4)


@pytest.fixture(scope="module")
def good(compiled: Compiled, data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``report.json`` of a board without matplotlib; do not change it, copy its folder."""
    out = tmp_path_factory.mktemp("good") / "board"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(suite, "measure_bundle", lambda bundle, **_: measured(1.0, ("the governor is powersave",)))
        patch.setattr(render, "has_plots", lambda: False)
        fine(compiled("onnx", "fp32"), "--data", data, "-o", out)
    return out / "report.json"


@pytest.mark.slow
def test_a_real_measurement(compiled: Compiled, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The one test that measures: everything is there, and the page has it."""
    monkeypatch.setattr(suite, "FRAMES", 20)
    monkeypatch.setattr(footprint, "STARTS", 1)
    bundle = compiled("onnx", "fp32")
    fine(bundle, "--data", data, "-o", tmp_path / "out", "--seconds", 1)
    made = loaded(tmp_path / "out" / "report.json")
    (column,) = made["columns"]
    assert (made["schema"], made["schema_version"]) == ("edge-yolov9-report", 1)
    assert made["partial"] == bool(column["missing"])
    assert set(column["missing"]) <= {"power", "temperatures", "clocks"}
    assert column["footprint"]["bundle_mb"] == pytest.approx(column["bundle"]["bytes"] / 1e6, abs=1e-3)
    assert {*MEASURED, "accuracy"} <= set(column)
    assert column["latency"]["stages"]["total"]["p50"] > column["latency"]["stages"]["inference"]["p50"] > 0
    assert any("sustained run took" in warning for warning in column["warnings"])
    accuracy = column["accuracy"]
    assert len(accuracy["replicates"]["AP"]) == 4
    assert 0.4 < accuracy["AP"] < 1
    assert accuracy["standard_error"]["AP"] > 0
    page = (tmp_path / "out" / "report.html").read_text()
    assert page.index("Mind, when reading") < page.index("Summary") < page.index(f"{accuracy['AP']:.4f}")
    assert page.count("data:image/png") == 4
    assert page.count("data:image/jpeg") == 2
    listed = CliRunner().invoke(main, ["val", str(bundle), "--data", str(data), "--json", "-"])
    assert json.loads(listed.stdout)["AP"] == accuracy["AP"]


def test_bundles_become_columns(quick: list[Path], compiled: Compiled, tmp_path: Path) -> None:
    first, second = (compiled("onnx", "fp32"), shutil.copytree(compiled("onnx", "fp32"), tmp_path / "other"))
    result = fine(first, second, "-o", tmp_path / "out")
    columns = loaded(tmp_path / "out" / "report.json")["columns"]
    labels = [column["label"] for column in columns]
    assert quick == [first, second]
    assert labels == ["gelan-t onnx fp32 (onnx-fp32)", "gelan-t onnx fp32 (other)"]
    page = (tmp_path / "out" / "report.md").read_text()
    assert f"| stage | {labels[0]} | {labels[1]} |" in page.replace("\\", "")
    row = next(line for line in page.splitlines() if line.startswith("| total"))
    assert [float(cell.split()[0]) for cell in row.split("|")[2:4]] == pytest.approx([10, 20], rel=0.01)
    assert page.count("the governor is powersave") == 1
    assert "the governor is powersave" in result.stdout
    for line in page.splitlines():
        if line.startswith("!["):
            assert (tmp_path / "out" / line.rpartition("(")[2].rstrip(")")).is_file()


def test_a_report_without_plots_gets_them_elsewhere(good: Path, tmp_path: Path) -> None:
    plain = good.with_name("report.html").read_text()
    assert "matplotlib is not installed here" in plain
    assert "data:image/png" not in plain
    assert "nothing there" in plain  # the confusion matrix as a table
    result = fine(good, "-o", tmp_path / "desk", "--json", "-")
    assert json.loads(result.stdout)["columns"] == loaded(good)["columns"]
    assert "AP (IoU .50:.95)" in result.stderr
    page = (tmp_path / "desk" / "report.html").read_text()
    assert "matplotlib is not installed here" not in page
    assert page.count("data:image/png") == 4
    assert page.count("data:image/jpeg") == plain.count("data:image/jpeg") == 2
    assert loaded(good)["columns"] == loaded(tmp_path / "desk" / "report.json")["columns"]


@pytest.mark.parametrize("name", ["report.html", "report.md", "report.json", "figures/confusion-0.png"])
def test_a_file_of_the_users_is_not_replaced_by_a_report(good: Path, tmp_path: Path, name: str) -> None:
    file = tmp_path / "out" / name
    file.parent.mkdir(parents=True)
    file.write_bytes(b"mine")
    result = CliRunner().invoke(main, ["report", str(good), "-o", str(tmp_path / "out")])
    assert result.exit_code == 1
    assert f"holds {name}, which is not as edge-yolov9 wrote it there" in result.output
    assert result.output.count("\n") == 1
    assert [entry.read_bytes() for entry in (tmp_path / "out").rglob("*") if entry.is_file()] == [b"mine"]


def test_detections_are_scored_elsewhere(
    quick: list[Path], good: Path, compiled: Compiled, data: Path, tmp_path: Path
) -> None:
    """From a folder without labels, the figures are those of scoring in one go."""
    bundle = compiled("onnx", "fp32")
    folder = shutil.copytree(data.parent / "images", tmp_path / "on-the-board")
    fine(bundle, "--data", folder, "--detections-only", "-o", tmp_path / "board")
    assert names(tmp_path / "board") == [RECORD, "detections.json"]
    detections = loaded(tmp_path / "board" / "detections.json")
    assert detections["partial"]
    assert "accuracy" not in detections["columns"][0]
    fine("--score", tmp_path / "board" / "detections.json", "--data", data, "-o", tmp_path / "scored")
    (scored,), (once,) = (loaded(path)["columns"] for path in (tmp_path / "scored" / "report.json", good))
    assert scored["accuracy"] == once["accuracy"]
    assert (scored["missing"], "detections" in scored) == ({"power": "no INA3221"}, False)
    detections["columns"][0]["bundle"]["accuracy"] = {"float": {"AP": 1}}
    (tmp_path / "bad.json").write_text(json.dumps(detections))
    refused(
        "--score",
        tmp_path / "bad.json",
        "--data",
        data,
        "-o",
        tmp_path / "x",
        says="manifest is malformed",
    )
    other = small_data(tmp_path / "more", 6)
    refused("--score", tmp_path / "board" / "detections.json", "--data", other, "-o", tmp_path / "x", says="2 without")
    changed = shutil.copytree(data.parent, tmp_path / "changed")
    pictures = sorted((changed / "images").iterdir())
    shutil.copy(pictures[0], pictures[1])
    words = ("--score", tmp_path / "board" / "detections.json", "--data", changed / "data.yaml", "-o", tmp_path / "x")
    refused(*words, says="is not the picture that the detections are of")


def test_a_file_name_that_is_not_utf8(quick: list[Path], compiled: Compiled, data: Path, tmp_path: Path) -> None:
    bundle, name = compiled("onnx", "fp32"), "x\udcff"
    folder = shutil.copytree(data.parent, tmp_path / "copy")
    for kind in ("images", "labels"):
        first = min((folder / kind).iterdir())
        first.rename(first.with_name(f"{name}{first.suffix}"))
    words = ("--detections-only", "-o", tmp_path / "board", "--json", tmp_path / "copy.json")
    fine(bundle, "--data", folder / "images", *words)
    assert loaded(tmp_path / "copy.json") == loaded(tmp_path / "board" / "detections.json")
    words = ("--data", folder / "data.yaml", "-o", tmp_path / "scored")
    fine("--score", tmp_path / "board" / "detections.json", *words)
    assert f"{name}.jpg" in loaded(tmp_path / "board" / "detections.json")["columns"][0]["detections"]["images"]
    made = loaded(tmp_path / "scored" / "report.json")
    made["columns"][0]["label"] = name
    (tmp_path / "made.json").write_text(json.dumps(made))
    fine(tmp_path / "made.json", "-o", tmp_path / "again")
    assert ">x?<" in (tmp_path / "again" / "report.html").read_text()


DEVICE = """
import sys
for name in ("torch", "yaml", "pycocotools", "matplotlib", "onnx", "openvino"):
    sys.modules[name] = None
from edge_yolov9.bench import suite
from tests.reporting import measured
suite.measure_bundle = lambda bundle, **_: measured()
from edge_yolov9.cli import main
sys.argv[1:1] = ["report"]
main()
"""


def test_a_device_needs_numpy_opencv_and_its_runtime(compiled: Compiled, data: Path, tmp_path: Path) -> None:
    def run(*words: object) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", DEVICE, *map(str, words)]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    bundle, folder = compiled("onnx", "fp32"), data.parent / "images"
    done = run(bundle, "--data", folder, "--detections-only", "-o", tmp_path / "board")
    assert done.returncode == 0, done.stderr
    fine("--score", tmp_path / "board" / "detections.json", "--data", data, "-o", tmp_path / "scored")
    done = run(bundle, "--data", data, "-o", tmp_path / "x")
    assert done.returncode == 1
    assert "--detections-only" in done.stderr
    assert "Traceback" not in done.stderr
    done = run(bundle, "-o", tmp_path / "plain")
    assert done.returncode == 0, done.stderr
    assert "matplotlib is not installed here" in (tmp_path / "plain" / "report.html").read_text()


def test_what_is_missing_is_said(
    quick: list[Path], compiled: Compiled, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = compiled("onnx", "fp32")
    fine(bundle, "-o", tmp_path / "latency")
    made = loaded(tmp_path / "latency" / "report.json")
    assert made["partial"]
    assert made["columns"][0]["missing"] == {"power": "no INA3221", "accuracy": "no --data was given"}
    page = (tmp_path / "latency" / "report.html").read_text()
    assert page.index("This report is partial") < page.index("Summary")

    def broken(bundle: Path, **_: Any) -> Measured:
        raise InferenceError("the runtime fell over")

    monkeypatch.setattr(suite, "measure_bundle", broken)
    fine(bundle, "--data", data, "-o", tmp_path / "accuracy")
    (column,) = loaded(tmp_path / "accuracy" / "report.json")["columns"]
    assert "fell over" in column["missing"]["latency, power, heat, footprint"]
    assert column["accuracy"]["AP"] > 0.4
    refused(bundle, "-o", tmp_path / "nothing", says="the runtime fell over")
    assert not (tmp_path / "nothing" / "report.json").exists()


def test_sigterm_ends_the_process_that_measures_too(compiled: Compiled, tmp_path: Path) -> None:
    """Else it would keep the cores busy while the next report measures."""
    words = ("report", str(compiled("onnx", "fp32")), "--seconds", "60", "-o", str(tmp_path / "out"))
    command = [sys.executable, "-m", "edge_yolov9", *words]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        next(line for line in process.stderr if "start-up" in line)
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        deadline = time.monotonic() + 20
        while not (found := children.read_text().split()) and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 1
        deadline = time.monotonic() + 5
    assert found
    while (alive := [child for child in found if Path(f"/proc/{child}").exists()]) and time.monotonic() < deadline:
        time.sleep(0.05)  # it hears of its parent's end a moment later
    assert not alive
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.skipif(TARGETS["jetson"].runtime is not None, reason="TensorRT is installed here")
def test_a_bundle_for_another_machine(quick: list[Path], compiled: Compiled, tmp_path: Path) -> None:
    mine, other = compiled("onnx", "fp32"), compiled("jetson", "fp32")
    refused(other, "-o", tmp_path / "alone", says="whose runtime (tensorrt) is not installed here")
    result = fine(mine, other, "-o", tmp_path / "both")
    assert "This report is partial" in result.stdout
    columns = loaded(tmp_path / "both" / "report.json")["columns"]
    assert "latency" in columns[0]
    assert "a bundle for jetson" in columns[1]["missing"]["everything"]
    assert quick == [mine]


def test_a_runtime_that_pip_brings_is_named(compiled: Compiled, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = bundles.read(compiled("onnx", "fp32"))
    monkeypatch.setattr(document, "target", lambda name: Target(name, "", ("absent_runtime",), name))
    with pytest.raises(RuntimeNotInstalled, match=r'pip install "edge-yolov9\[onnx\]"'):
        document.check_runtime(opened)


@pytest.mark.parametrize("accuracy", [{}, {"artifact": 5}, [1]])
def test_figures_in_a_manifest_that_are_none(compiled: Compiled, accuracy: Any) -> None:
    opened = bundles.read(compiled("onnx", "fp32"))
    odd = replace(opened, manifest=replace(opened.manifest, accuracy=accuracy))
    with pytest.raises(BundleError, match="the accuracy in its manifest is malformed"):
        model_table.point_of_bundle(odd, "odd", few([1.0]), counting=False)


def test_compare(good: Path, tmp_path: Path) -> None:
    later = loaded(good)
    later["columns"][0].update(sections(2.0))
    (tmp_path / "tuesday.json").write_text(json.dumps(later))
    files = (good, tmp_path / "tuesday.json")
    result = fine("--compare", *files, "-o", tmp_path / "out", "--json", tmp_path / "changes.json")
    rows = {line.partition("  ")[0]: line for line in result.stdout.splitlines()}
    assert rows["latency: stages, total"].endswith("beyond noise, worse")
    assert rows["AP"].endswith("within noise")
    (pair,) = loaded(tmp_path / "changes.json")["pairs"]
    total = next(change for change in pair["changes"] if change["name"] == "stages, total")
    assert (total["beyond_noise"], total["better"]) == (True, False)
    assert total["second"] == pytest.approx(2 * total["first"], rel=0.02)
    assert "beyond noise, worse" in (tmp_path / "out" / "comparison.html").read_text()


@pytest.mark.slow
def test_the_model_table(good: Path, tmp_path: Path) -> None:
    words = ("--model-table", "--imgsz", 64, "--models", "t", "--target", "onnx")
    result = fine(*words, "-o", tmp_path / "out", "--json", tmp_path / "table.json")
    rows = {row["model"]: row for row in loaded(tmp_path / "table.json")["models"]}
    assert [row["published"]["AP"] for row in rows.values()] == [38.3, 46.8, 51.4, 53.0, 55.6]
    assert [round(row["counted"]["parameters"] / 1e6, 1) for row in rows.values()] == [2.4, 7.1, 20.0, 25.3, 57.3]
    assert [round(row["counted"]["gflops_640"], 1) for row in rows.values()] == [9.8, 26.4, 76.3, 102.1, 189.0]
    timed = rows["YOLOv9-T"]["measured"]
    assert timed["latency_ms"]["n"] == 3
    assert timed["latency_ms"]["median"] > 0
    assert timed["what"] == "onnx fp32 64 x 64, random weights"
    assert rows["YOLOv9-E"]["measured"] is None
    assert "random weights" in result.stdout
    assert (tmp_path / "out" / "models.html").read_text().count("data:image/png") == 2
    fine("--model-table", good, "--json", tmp_path / "table.json")
    (point,) = loaded(tmp_path / "table.json")["points"]
    assert point["AP"] == loaded(good)["columns"][0]["accuracy"]["AP"]
    assert point["data"] == "data.yaml"
    assert point["parameters"] < 2.0e6  # three classes


def test_bad_input_is_one_line(quick: list[Path], compiled: Compiled, data: Path, tmp_path: Path) -> None:
    bundle, out = compiled("onnx", "fp32"), tmp_path / "out"
    other = tmp_path / "other.yaml"
    other.write_text(f"path: {data.parent}\nval: images\nnames: [RBC, White, Platelets]\n")
    (tmp_path / "none").mkdir()
    empty = tmp_path / "empty.yaml"
    empty.write_text("val: none\nnames: [RBC, WBC, Platelets]\n")
    blank = small_data(tmp_path / "blank", 2)
    for label in (blank.parent / "labels").iterdir():
        label.write_text("")
    for words, says in (
        ((bundle, "--data", other, "-o", out), "differ from class 1 on"),
        ((bundle, "--data", empty, "-o", out), "val holds no image"),
        ((bundle, "--data", blank, "-o", out), "no object is labelled in the val split"),
        ((bundle, "--data", tmp_path / "gone.yaml", "-o", out), "cannot read the data file"),
        ((bundle, "--data", data), "-o FOLDER is missing"),
        ((), "name a bundle"),
        ((tmp_path / "gone", "-o", out), "there is nothing at"),
        ((data.parent, "-o", out), "not a bundle"),
        ((bundle, "-o", data), "is not a folder; choose another folder"),
        ((bundle, "--detections-only", "-o", out), "--detections-only needs --data"),
        ((bundle, "--seconds", 0, "-o", out), "--seconds must be positive"),
        ((bundle, "--seconds", "nan", "-o", out), "--seconds must be positive"),
        (("--score", "--compare", bundle), "choose one of --score, --compare"),
        (("--compare", data), "--compare takes two"),
        (("--model-table", "--models", "tx"), "--models takes letters of tsmce"),
        (("--model-table", "--imgsz", 64, bundle), "with bundles or reports nothing is compiled"),
        ((bundle, "--target", "onnx", "-o", out), "are for --model-table"),
        ((data, "--data", data, "-o", out), "--data is for bundles that are measured"),
        (("--model-table", tmp_path / "gone"), "there is nothing at"),
    ):
        refused(*words, says=says)
    assert quick == []
    assert not (out / "report.json").exists()


def test_reports_that_are_none(good: Path, data: Path, tmp_path: Path) -> None:
    made = loaded(good)
    bad = tmp_path / "bad.json"

    def edited(**changes: Any) -> str:
        return json.dumps({**made, "columns": [{**made["columns"][0], **changes}]})

    def figure(section: str, *keys: str, **changes: Any) -> Any:
        """A section with something changed below ``keys``."""
        copied = copy.deepcopy(made["columns"][0][section])
        inner = copied
        for key in keys:
            inner = inner[key]
        inner.update(changes)
        return copied

    for content, says in (
        ("", "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        ('{"schema": NaN}', "it holds NaN"),
        ("{}", "is not a report of edge-yolov9"),
        (json.dumps({**made, "schema_version": 2}), "reads up to 1; update edge-yolov9"),
        (json.dumps({**made, "schema_version": "1"}), "report schema '1'"),
        (json.dumps({**made, "columns": []}), "malformed: its content: expected 1 to 100 columns, got 0"),
        (json.dumps({**made, "columns": made["columns"] * 101}), "expected 1 to 100 columns, got 101"),
        (json.dumps({**made, "columns": [5]}), "malformed: its content: columns[0] must be an object, got 5"),
        (edited(label=None), "columns[0].label must be a text, got None"),
        (edited(accuracy=[1]), "columns[0].accuracy must be an object, got [1]"),
        (edited(accuracy={"AP": 1}), "columns[0].accuracy.AP50 is missing"),
        (edited(latency=figure("latency", "stages", "total", p50="fast")), "stages.total.p50 must be a finite number"),
        (edited(latency=figure("latency", "stages", "total", p50=1e300)), "below 1e+15, got 1e+300"),
        (edited(latency=figure("latency", "stages", "total", "histogram", counts=[1])), "one edge more than counts"),
        (edited(latency=figure("latency", "sustained", "timeline", t=[1.0])), "as there are times"),
        (edited(throughput=figure("throughput", "fps", median=10**400)), "fps.median must be a finite number"),
        (edited(accuracy=figure("accuracy", classes=[{"name": 5}])), "classes[0].name must be a text, got 5"),
        (edited(accuracy=figure("accuracy", "confusion", matrix=[[1]])), "must have 4 rows and columns"),
        (edited(accuracy=figure("accuracy", "confusion", matrix=[[-1] * 4] * 4)), "numbers of objects"),
        (edited(bundle=figure("bundle", bytes=10**4000)), "the size of a bundle in bytes"),
        (edited(bundle={}), "columns[0].bundle.path is missing"),
        (edited(label="x" * 5_000_000, created=5), "columns[0].created must be a text"),
    ):
        bad.write_text(content)
        refused(bad, "-o", tmp_path / "out", says=says)
        refused("compare", good, bad, says=says)
    bad.write_text(json.dumps(made))
    refused("--score", bad, "--data", data, "-o", tmp_path / "out", says="holds no detections to score")
    bad.write_text(edited(detections={"images": {"a": {}}}))
    refused("--score", bad, "--data", data, "-o", tmp_path / "out", says="malformed")


def test_a_report_cannot_name_files_outside_its_folder(good: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(good.parent, tmp_path / "folder")
    (tmp_path / "secret.jpg").write_bytes(b"secret")
    made = loaded(good)
    made["columns"][0]["worst_pictures"] = ["../secret.jpg", 5, {}]
    (folder / "report.json").write_text(json.dumps(made))
    fine(folder / "report.json", "-o", tmp_path / "again")
    assert "data:image/jpeg" not in (tmp_path / "again" / "report.html").read_text()


def test_what_may_never_end_is_no_report(good: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero"), tmp_path):
        refused("compare", good, path, says="is not a file")
    refused(tmp_path / "pipe", "-o", tmp_path / "out", says="is not a file")
    folder = shutil.copytree(good.parent, tmp_path / "folder")
    sheet = folder / "figures" / "worst-0-0.jpg"
    sheet.unlink()
    (tmp_path / "secret").write_bytes(b"\xff\xd8secret")
    for make in (
        lambda: sheet.symlink_to(tmp_path / "secret"),
        lambda: os.mkfifo(sheet),
        lambda: sheet.write_text("x"),
    ):
        make()
        fine(folder / "report.json", "-o", tmp_path / "again")
        assert (tmp_path / "again" / "report.html").read_text().count("data:image/jpeg") == 1
        sheet.unlink()


def test_a_bug_of_ours_is_not_blamed_on_the_file(good: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> Any:
        raise KeyError("our own key")

    monkeypatch.setattr(render, "page", broken)
    result = report(good, "-o", tmp_path / "out")
    assert isinstance(result.exception, KeyError)
    assert "malformed" not in result.output


def test_subcommands_and_old_options_do_the_same(good: Path, data: Path, tmp_path: Path) -> None:
    for new, old in (
        (("compare", good, good), ("--compare", good, good)),
        (("table", good), ("--model-table", good)),
    ):
        first, second = (json.loads(fine(*words, "--json", "-").stdout) for words in (new, old))
        for made in (first, second):
            made.pop("created", None)
        assert first == second
    listed = fine("--help").output
    for name in ("score", "compare", "table"):
        assert f"  {name} " in listed
        assert f"report {name} [OPTIONS]" in fine(name, "--help").output
    refused("compare", good, says="takes two report.json, got 1")
    refused("table", "--imgsz", 64, good, says="with bundles or reports nothing is compiled")
    refused("score", good, "-o", tmp_path / "out", says="takes one detections.json and --data DATA")
    folder = shutil.copytree(good.parent, tmp_path / "compare")
    fine(f"{folder}/report.json", "-o", tmp_path / "out")


BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FRAME = """<!doctype html><body style="margin:0"><iframe id="page" style="width:360px;height:4000px;border:0"
srcdoc="{page}"></iframe><script>onload = () => {{
  const page = document.getElementById("page").contentDocument, images = [...page.images];
  document.title = JSON.stringify({{
    width: page.documentElement.scrollWidth, images: images.length, broken: images.filter(i => !i.naturalWidth).length,
    small: [...page.querySelectorAll("p, td, li")].filter(e => parseFloat(getComputedStyle(e).fontSize) < 12).length,
    loaded: page.defaultView.performance.getEntriesByType("resource").filter(e => !e.name.startsWith("data:")).length,
  }});
}}</script>"""


def browse(*words: str) -> str:
    command = [str(BROWSER), "--headless", "--no-sandbox", "--disable-gpu", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout


@pytest.mark.slow
@pytest.mark.skipif(BROWSER is None, reason="Chromium is not installed here")
def test_the_page_in_a_browser(good: Path, tmp_path: Path) -> None:
    """On a phone of 360 pixels nothing sticks out; every picture is there, nothing is fetched; it prints."""
    fine(good, good, "-o", tmp_path / "out")
    page = tmp_path / "out" / "report.html"
    (tmp_path / "frame.html").write_text(FRAME.format(page=html.escape(page.read_text())))
    shown = browse("--window-size=1000,4000", "--dump-dom", (tmp_path / "frame.html").as_uri())
    seen = json.loads(html.unescape(shown.partition("<title>")[2].partition("</title>")[0]))
    assert 300 < seen["width"] <= 360
    assert (seen["images"], seen["broken"], seen["small"], seen["loaded"]) == (12, 0, 0, 0)
    browse(f"--print-to-pdf={tmp_path / 'out.pdf'}", "--no-pdf-header-footer", page.as_uri())
    printed = (tmp_path / "out.pdf").read_bytes()
    assert printed.startswith(b"%PDF")
    assert 2 <= printed.count(b"/Type /Page\n") <= 15
