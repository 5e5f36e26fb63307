import json
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from click.testing import CliRunner

from edge_yolov9.cli import main
from edge_yolov9.cli.common import output
from edge_yolov9.cli.common.output import JsonLines, check_writable, write_json
from edge_yolov9.errors import InputError


def test_writes_whole_files_with_the_usual_mode(tmp_path):
    file = tmp_path / "new" / "out.json"
    write_json({"a": [1, 2.5], "name": "Zelle é"}, file)
    assert json.loads(file.read_text(encoding="utf-8")) == {"a": [1, 2.5], "name": "Zelle é"}
    assert [item.name for item in file.parent.iterdir()] == ["out.json"]
    other = tmp_path / "plain"
    other.touch()
    assert file.stat().st_mode == other.stat().st_mode


def test_dash_is_standard_output(capsys):
    write_json([1], "-")
    assert json.loads(capsys.readouterr().out) == [1]


def test_standard_output_of_a_locale_without_utf8():
    code = "from edge_yolov9.cli.common.output import write_json; write_json('Gr\\u00f6sse', '-')"
    env = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, env=env, check=True)
    assert json.loads(done.stdout) == "Grösse"


def test_unserialisable_data_leaves_the_old_file(tmp_path):
    file = tmp_path / "out.json"
    write_json({"ap": 0.5}, file)
    with pytest.raises(ValueError, match="Out of range"):
        write_json({"ap": float("nan")}, file)
    assert json.loads(file.read_text()) == {"ap": 0.5}
    assert [item.name for item in tmp_path.iterdir()] == ["out.json"]


def test_bad_destinations_are_input_errors(tmp_path):
    with pytest.raises(InputError, match="folder"):
        write_json({}, tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot write"):
        write_json({}, tmp_path / "file" / "out.json")
    for path in (tmp_path, tmp_path / "file" / "out.json"):
        with pytest.raises(InputError, match="cannot write"):
            check_writable(path)
    check_writable(tmp_path / "out.json")
    check_writable("-")
    check_writable(None)
    assert [item.name for item in tmp_path.iterdir()] == ["file"]


def test_a_pipe_is_written_to_and_stays_one(tmp_path):
    pipe, read = tmp_path / "pipe", []
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: read.append(pipe.read_text()), daemon=True)
    reader.start()
    write_json([1], pipe)
    reader.join(5)
    assert read == ["[\n  1\n]\n"]
    assert pipe.is_fifo()


@pytest.mark.skipif(not Path("/dev/full").is_char_device(), reason="needs /dev/full, a disk that is full")
def test_a_full_disk_is_one_line(tmp_path):
    (tmp_path / "full.jsonl").symlink_to("/dev/full")
    with pytest.raises(InputError, match="No space left"), JsonLines(tmp_path / "full.jsonl") as lines:
        lines.write({"a": 1})
    with Path("/dev/full").open("w") as full:
        command = [sys.executable, "-m", "edge_yolov9", "targets"]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, "Error: No space left on device\n")


def test_a_pipe_that_nobody_reads_is_an_error_and_one_with_a_reader_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(output, "READER_S", 0.1)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(InputError, match="nobody reads this pipe"):
        write_json([1], pipe)
    with pytest.raises(InputError, match="nobody reads this pipe"):
        JsonLines(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    write_json([1], pipe)
    with JsonLines(pipe) as entries:
        entries.write({"a": 1})
    assert os.read(reader, 100) == b'[\n  1\n]\n{"a": 1}\n'
    os.close(reader)


@pytest.mark.parametrize(
    "words",
    [
        "info LONG",
        "val LONG --data d.yaml",
        "detect LONG x.jpg",
        "report LONG -o out",
        "detect x x.jpg --key LONG",
        "info x --json LONG",
        "report compare LONG LONG",
        "sign LONG --key LONG",
        "convert LONG -o x",
        "train --resume LONG",
        "visualize LONG -o out --figure 6",
        "compile LONG --target onnx -o LONG",
        "LONG",
    ],
)
def test_an_error_names_what_was_given_in_less_than_300_characters(words: str) -> None:
    for long in ("x" * 5000, "y/" * 2400):
        result = CliRunner().invoke(main, [long if word == "LONG" else word for word in words.split()])
        assert result.exit_code in (1, 2)
        last = result.output.strip().splitlines()[-1]
        assert last.startswith("Error: ")
        assert len(last) < 300
