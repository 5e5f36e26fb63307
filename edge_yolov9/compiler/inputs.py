"""What a compilation starts from, read once and shared by every precision: the checkpoint, its float graph, images."""

from __future__ import annotations

from contextlib import suppress
from functools import cache, cached_property
from pathlib import Path

from edge_yolov9 import bundle as bundles
from edge_yolov9.checkpoint import Checkpoint, load
from edge_yolov9.compiler import calibration
from edge_yolov9.compiler.calibration import CalibrationSet, judge
from edge_yolov9.compiler.calibration.recipe import open_recipe
from edge_yolov9.compiler.export import export_onnx
from edge_yolov9.compiler.fold import fold
from edge_yolov9.compiler.gate import Gate, check_budget
from edge_yolov9.compiler.job import OUTPUT_NAMES, Pictures
from edge_yolov9.compiler.options import CompileOptions
from edge_yolov9.compiler.prune import prune
from edge_yolov9.compiler.reference import checked_input_size
from edge_yolov9.compiler.stages import Stages
from edge_yolov9.data import Split, check_names, load_data, read_data
from edge_yolov9.data.reader import listed_split
from edge_yolov9.errors import CalibrationError, DataError
from edge_yolov9.model import RawHeads
from edge_yolov9.model.session import TorchSession
from edge_yolov9.scoring.accuracy import check_labelled

PARITY_IMAGES = 8
"""Images of the user's on which a float artifact is compared with the float model."""


class CompileInputs:
    """A checkpoint and the images of one set of options. Everything is read or computed on first use, once."""

    def __init__(self, path: Path, options: CompileOptions, scratch: Path, stages: Stages) -> None:
        """Nothing is read yet.

        Args:
            path: the checkpoint's file.
            options: target, board and precision of them are not looked at.
            scratch: folder for files that nobody keeps.
            stages: what reading and exporting is reported to.
        """
        self.path, self.options, self.scratch, self.stages = path, options, scratch, stages
        self._load_data, self._open_recipe, self._gate_on = cache(load_data), cache(open_recipe), cache(self._open_gate)
        self._read_data = cache(self._val)

    @cached_property
    def checkpoint(self) -> Checkpoint:
        """The checkpoint; errors as for :func:`edge_yolov9.checkpoint.load`."""
        with self.stages("load checkpoint"):
            return load(self.path, self._names())

    def _names(self) -> tuple[str, ...] | None:
        """Class names for a checkpoint that states none, where something else does."""
        if self.options.names is not None:
            return self.options.names
        for file in (self.options.data, self.options.calibration):
            if file is not None and (file is self.options.data or Path(file).suffix in (".yaml", ".yml")):
                with suppress(DataError):
                    return self._load_data(Path(file)).names
        return None

    @cached_property
    def source(self) -> dict[str, object]:
        """What the manifest keeps of the checkpoint: file, digest, variant, training facts, options of its graph."""
        return {
            "file": self.path.name,
            "sha256": bundles.sha256(self.path),
            "variant": self.checkpoint.variant,
            "facts": dict(self.checkpoint.facts),
            "options": self.checkpoint.model.options.changed(),
        }

    @cached_property
    def input_size(self) -> tuple[int, int]:
        """(height, width) of the model's input, pixels.

        Raises:
            InputError: a side is no multiple of 32, or too large.
        """
        return checked_input_size(self.options.input_size or self.checkpoint.input_size)

    @cached_property
    def heads(self) -> RawHeads:
        """Pruned and folded float32 model in eval mode."""
        model = self.checkpoint.model
        with self.stages("prune and fold"):
            return RawHeads(fold(prune(model))).eval()

    @cached_property
    def onnx(self) -> Path:
        """ONNX file of ``heads``, simplified."""
        heads, size = self.heads, self.input_size
        with self.stages("export ONNX"):
            return export_onnx(heads, size, self.scratch / "float.onnx")

    @cached_property
    def reference(self) -> TorchSession:
        """The float model, which artifacts are compared with."""
        return TorchSession(self.heads)

    def check(self, precision: str) -> None:
        """Read what the user handed over, all of it, before anything is computed.

        Raises:
            CheckpointError: the checkpoint is missing or cannot be used.
            InputError: the input size or the budget is out of range.
            DataError: what is to be measured on cannot be used.
            CalibrationError: the calibration images cannot be used.
        """
        _ = self.checkpoint, self.input_size, self.gate(precision), self.pictures(precision)

    def gate(self, precision: str) -> Gate | None:
        """Float figures on a data set, and the budget: of ``--data``, or of the DATA file that calibrates INT8 where
        its val split is labelled; None where there is nothing to measure AP on.

        Raises:
            DataError: the classes differ, or the file that was asked for cannot be measured on.
            InputError: the budget is no number of AP points.
        """
        check_budget(self.options.max_drop)
        if self.options.data is not None:
            return self._gate_on(self.options.data)
        return self._implied if precision == "int8" else None

    def pictures(self, precision: str) -> Pictures:
        """Frames on which an artifact is compared with the float model."""
        if precision == "int8":
            return Pictures(self.input_size, self.calibration, "calibration images")
        images = self._samples
        return Pictures(self.input_size, images, "real images" if images else "synthetic images")

    @cached_property
    def calibration(self) -> CalibrationSet:
        """The images that calibrate INT8, none of them among those that AP is measured on.

        Raises:
            CalibrationError: none is named, one does not decode, or is among those that AP is measured on.
        """
        if self.options.calibration is None:
            raise CalibrationError(
                "INT8 needs calibration images; add --calibration DATA or FOLDER (128 images do well)"
            )
        gate = self.gate("int8")
        images = self._choose(self.options.calibration, self.options.calibration_images)
        scored = () if gate is None else gate.split.images
        calibration.check(images, frozenset(record.path.resolve() for record in scored))
        with self.stages("look at calibration"):
            self._judge(images, gate)
        return images

    def _judge(self, images: CalibrationSet, gate: Gate | None) -> None:
        """Refuse images that show nothing where no AP is measured; a warning where it is.

        Raises:
            CalibrationError: they show nothing, and there is no gate, or a warning is an error.
        """
        seen = judge.shown(self.reference, images.few(judge.JUDGED), self.input_size)
        why = seen.nothing
        if gate is not None and not why:
            scored = CalibrationSet(tuple(record.path for record in gate.split.images), self.input_size)
            shares = judge.beyond(self.reference, scored.few(judge.SCORED), seen.ranges)
            worst, name = max(zip(shares, OUTPUT_NAMES, strict=True))
            if worst > judge.BEYOND:
                why = f"{100 * worst:.0f} % of {name} on the images that are scored lies beyond its range on them"
        if not why:
            return
        line = f"the calibration images hardly show what INT8 has to keep: {why}"
        choose = "choose others, e.g. by edge-yolov9 calibration select"
        if gate is None:
            raise CalibrationError(f"{line}; {choose}, or add --data, so that AP is measured")
        if self.options.strict:
            raise CalibrationError(f"--strict: {line}; {choose}")
        self.stages.report(f"Warning: {line}; {choose}")

    @cached_property
    def _samples(self) -> CalibrationSet | None:
        """Images that nothing calibrates on, to compare a float artifact on."""
        source = self.options.calibration
        return None if source is None else self._choose(source, PARITY_IMAGES)

    def _choose(self, source: str | Path, count: int) -> CalibrationSet:
        seed, size, names = self.options.seed, self.input_size, self.checkpoint.names
        images = calibration.choose(source, count, seed, size, names, self._load_data, self._open_recipe)
        return calibration.usable(images, self.options.strict, self.stages.report)

    @cached_property
    def _implied(self) -> Gate | None:
        if self.options.calibration is None or not Path(self.options.calibration).is_file():
            return None
        file = Path(self.options.calibration)
        try:
            dataset = self._load_data(file)
            check_names(self.checkpoint.names, dataset.names)
            listed_split(dataset, "val")
        except DataError:
            return None
        split = self._read_data(file)
        return self._gate_on(file) if any(len(record.class_id) for record in split.images) else None

    def _val(self, file: Path) -> Split:
        """The val split of a DATA file, which is there."""
        with self.stages("check data"):
            reading = read_data(self._load_data(file), ("val",), strict=self.options.strict, tell=self.stages.report)
        return reading.splits["val"]

    def _open_gate(self, file: Path) -> Gate:
        check_names(self.checkpoint.names, self._load_data(file).names)
        split = self._read_data(file)
        check_labelled(split, file)
        return Gate(self.reference, self.checkpoint.names, self.input_size, file, split, self.options.max_drop)
