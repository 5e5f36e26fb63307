"""One compilation from checkpoint to bundle."""

from __future__ import annotations

import importlib.metadata
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from onnx import load as load_onnx

from edge_yolov9 import bundle as bundles
from edge_yolov9 import registry
from edge_yolov9.bundle import Bundle, Manifest
from edge_yolov9.checkpoint import Checkpoint, load
from edge_yolov9.compiler import calibration, verify
from edge_yolov9.compiler.calibration import CalibrationSet
from edge_yolov9.compiler.export import export_onnx
from edge_yolov9.compiler.fold import fold
from edge_yolov9.compiler.gate import Gate, check_budget
from edge_yolov9.compiler.job import EmitJob, Emitted, emitter
from edge_yolov9.compiler.prune import prune
from edge_yolov9.compiler.quantization import Plan, make
from edge_yolov9.compiler.reference import checked_input_size
from edge_yolov9.compiler.search import Search
from edge_yolov9.data import Split, check_names, image_paths
from edge_yolov9.errors import CalibrationError, DataError, TargetError
from edge_yolov9.model import RawHeads
from edge_yolov9.model.session import TorchSession
from edge_yolov9.registry import Board
from edge_yolov9.scoring.accuracy import labelled_split

PARITY_IMAGES = 8, 4
"""Of the images that were named, and synthetic where there are none."""


@dataclass(frozen=True)
class CompileOptions:
    """What ``edge-yolov9 compile`` was asked for. None means the board's or the checkpoint's own."""

    target: str
    device: str | None = None
    precision: str | None = None
    input_size: tuple[int, int] | None = None
    calibration: str | Path | None = None
    calibration_images: int = 128
    seed: int = 0
    data: Path | None = None
    """DATA file to measure AP on; for INT8 the one that calibrates, when its val split is labelled."""
    max_drop: float = 1.0
    """Most AP points (0 to 100) that the artifact may lose against the float checkpoint on ``data``."""
    fine_tuning: int = 100
    """INT8 that loses too much: steps in which its weights are fine-tuned on the calibration images; 0 for none."""
    preset: str | None = None
    """What another program needs, written beside the model: one of the target's ``presets``."""
    target_options: Mapping[str, object] = field(default_factory=dict)
    """What the target alone can be asked for: values by the names of its ``options`` in :mod:`edge_yolov9.registry`,
    e.g. {"camera": (720, 1280)}."""


Stage = Callable[[str], AbstractContextManager[None]]


def compile_checkpoint(path: Path, options: CompileOptions, destination: Path, report: Callable[[str], None]) -> Bundle:
    """Compile ``path`` into a bundle at ``destination``, which exists only if everything went well.

    Args:
        path: checkpoint, ours or published.
        options: see there.
        destination: folder of the bundle; an older bundle there is replaced.
        report: takes one line of progress per finished stage.

    Raises:
        EdgeYoloError: the subclass and its one line say what is wrong and what to do.
    """
    target = registry.target(options.target)
    board, precision = _resolve(options)
    if precision == "int8" and options.calibration is None:
        raise CalibrationError("INT8 needs calibration images; add --calibration DATA or FOLDER (128 images do well)")
    timings: dict[str, float] = {}
    stage = _stages(report, timings)
    with stage("load checkpoint"):
        checkpoint = load(path)
    size = checked_input_size(options.input_size or checkpoint.input_size)
    check_budget(options.max_drop)
    scored = _scored(options, precision, checkpoint.names)
    images = _calibration(options, precision, size, checkpoint.names, scored and scored[0])
    with tempfile.TemporaryDirectory() as scratch, bundles.writing(destination) as folder:
        job = _prepare(checkpoint, size, precision, images, board, Path(scratch), stage, options)
        job = replace(job, samples=_samples(options, precision, size, checkpoint.names))
        budget = scored and Gate(TorchSession(job.heads), checkpoint.names, size, *scored, options.max_drop)
        draft = _Draft(path, checkpoint, options, job)
        made = draft.search(budget, report) if budget else draft.unmeasured()
        report(f"{'total':<24}{sum(timings.values()):7.1f} s")
        shutil.copytree(made.path, folder, dirs_exist_ok=True)
        if options.preset is not None:
            with registry.guarded(target, f"failed to write the preset {options.preset}"):
                registry.module(target.name, options.preset).write(folder, made.manifest)
        bundles.seal(folder, replace(made.manifest, extra={**made.manifest.extra, "compile_seconds": timings}))
    return bundles.read(destination)


def _resolve(options: CompileOptions) -> tuple[Board, str]:
    """The board, and a precision that it allows."""
    target = registry.target(options.target)
    registry.check_preset(options.preset, target.name)
    target.check_options(options.target_options)
    board = registry.board(target.name, options.device)
    precision = options.precision or board.precision
    if precision not in board.precisions:
        why = board.refused.get(precision, f"expected one of {', '.join(board.precisions)}")
        raise TargetError(f"{board.name} does not take {precision}; {why}")
    with registry.guarded(target, "cannot check what it was asked for"):
        emitter(target.name).check(board, precision, options.target_options)
    return board, precision


def _scored(options: CompileOptions, precision: str, names: tuple[str, ...]) -> tuple[Path, Split] | None:
    """What AP is measured on, a DATA file and its val split: the file that calibrates when none is given and it can be.

    Raises:
        DataError: the classes differ, or the file that was asked for cannot be measured on.
    """
    if options.data is not None:
        return options.data, _val_split(options.data, names)
    if precision != "int8" or options.calibration is None or not Path(options.calibration).is_file():
        return None
    try:
        return Path(options.calibration), _val_split(Path(options.calibration), names)
    except DataError:
        return None


def _val_split(data: Path, names: tuple[str, ...]) -> Split:
    split = labelled_split(data, "val")
    check_names(names, split.names)
    return split


def _calibration(
    options: CompileOptions, precision: str, size: tuple[int, int], names: tuple[str, ...], data: Path | None
) -> CalibrationSet | None:
    if precision != "int8" or options.calibration is None:
        return None
    images = calibration.choose(options.calibration, options.calibration_images, options.seed, size, names)
    scored: frozenset[Path] = frozenset()
    if data is not None:
        scored = frozenset(path.resolve() for path in image_paths(data, split="val"))
    calibration.check(images, scored)
    return images


def _samples(
    options: CompileOptions, precision: str, size: tuple[int, int], names: tuple[str, ...]
) -> CalibrationSet | None:
    """Images that nothing calibrates on, to compare a float artifact on."""
    if precision == "int8" or options.calibration is None:
        return None
    return calibration.choose(options.calibration, PARITY_IMAGES[0], options.seed, size, names)


def _prepare(
    checkpoint: Checkpoint,
    size: tuple[int, int],
    precision: str,
    images: CalibrationSet | None,
    board: Board,
    scratch: Path,
    stage: Stage,
    options: CompileOptions,
) -> EmitJob:
    with stage("prune and fold"):
        heads = RawHeads(fold(prune(checkpoint.model))).eval()
    with stage("export ONNX"):
        onnx = export_onnx(heads, size, scratch / "float.onnx")
    plan = None
    if images is not None:
        with stage(f"plan INT8 on {len(images)} images"):
            plan = make(load_onnx(onnx), images, emitter(options.target).SCHEME)
    asked = options.target_options
    return EmitJob(heads, onnx, size, precision, images, board, scratch, scratch, stage, plan, target_options=asked)


def _manifest(path: Path, checkpoint: Checkpoint, options: CompileOptions, job: EmitJob, emitted: Emitted) -> Manifest:
    described = None
    if job.calibration is not None and options.calibration is not None:
        described = calibration.describe(job.calibration, options.calibration, options.seed)
    own = {"edge-yolov9": importlib.metadata.version("edge-yolov9"), "torch": torch.__version__}
    facts = dict(checkpoint.facts)
    model = checkpoint.model
    source = {"file": path.name, "sha256": bundles.sha256(path), "variant": checkpoint.variant, "facts": facts}
    return Manifest(
        variant=f"gelan-{model.variant.size}",
        names=checkpoint.names,
        target=options.target,
        board=job.board.name,
        precision=job.precision,
        input=emitted.input,
        outputs=emitted.outputs,
        model=emitted.model,
        tools={**own, **emitted.tools},
        calibration=described,
        source={**source, "options": model.options.changed()},
        licence={part: str(facts.get(f"{part}_licence", "not stated")) for part in ("weights", "data")},
        extra={**emitted.extra, **({"plan": job.plan.describe()} if job.plan else {})},
    )


@dataclass(frozen=True)
class _Draft:
    """Makes artifacts of one compilation, each in a folder of its own."""

    path: Path
    checkpoint: Checkpoint
    options: CompileOptions
    job: EmitJob

    @property
    def runtime(self) -> str | None:
        """What runs the artifacts here."""
        return registry.target(self.options.target).stand_in

    def emit(self, plan: Plan | None) -> Bundle:
        """Files and an unsealed manifest."""
        folder = Path(tempfile.mkdtemp(prefix="artifact-", dir=self.job.scratch))
        scratch = Path(tempfile.mkdtemp(prefix="emit-", dir=self.job.scratch))
        job = replace(self.job, folder=folder, scratch=scratch, plan=plan)
        with registry.guarded(registry.target(self.options.target), "failed to emit its artifact"):
            emitted = emitter(self.options.target).emit(job)
        shutil.rmtree(scratch)
        return Bundle(folder, _manifest(self.path, self.checkpoint, self.options, job, emitted))

    def vouch(self, draft: Bundle) -> Bundle:
        """The draft with parity in its manifest.

        Raises:
            ParityError: it does not compute what the checkpoint computes.
        """
        with self.job.stage("compare with float"):
            session = registry.open_session(draft, self.runtime)
            try:
                parity = verify.compare(TorchSession(self.job.heads), session, draft, self.job.pictures(*PARITY_IMAGES))
            finally:
                session.close()
        parity["runtime"] = self.runtime or self.options.target
        parity["on"] = self.job.pictures_are
        return Bundle(draft.path, replace(draft.manifest, parity=parity))

    def unmeasured(self) -> Bundle:
        """The one artifact that is made where nothing is labelled."""
        made = self.vouch(self.emit(self.job.plan))
        verify.check_boxes(made.manifest.parity)
        return made

    def search(self, budget: Gate, report: Callable[[str], None]) -> Bundle:
        """An artifact within the budget, with its figures.

        Raises:
            AccuracyError: there is none.
        """
        search = Search(budget, self.emit, self.vouch, self.runtime, self.job.stage, report, self.options.fine_tuning)
        best = search.run(self.job.plan)
        assert best.after is not None
        manifest = best.draft.manifest
        found = {**manifest.extra, "search": search.record()}
        return Bundle(best.draft.path, replace(manifest, accuracy=budget.record(best.after), extra=found))


def _stages(report: Callable[[str], None], timings: dict[str, float]) -> Stage:
    @contextmanager
    def stage(name: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        spent = time.perf_counter() - start
        timings[name] = round(timings.get(name, 0.0) + spent, 2)
        report(f"{name:<24}{spent:7.1f} s")

    return stage
