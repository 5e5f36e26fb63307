"""From what the user asked for to a running :class:`Trainer`."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from edge_yolov9.checkpoint import load
from edge_yolov9.data import Split, load_data
from edge_yolov9.errors import EdgeYoloError, InputError
from edge_yolov9.model import YOLOv9, build
from edge_yolov9.scoring.accuracy import check_labelled
from edge_yolov9.system.imports import import_fault
from edge_yolov9.text import CLEAR_LINE, printable
from edge_yolov9.train import pictures
from edge_yolov9.train.check import splits, survey
from edge_yolov9.train.distributed import Group, joined
from edge_yolov9.train.engine import precision
from edge_yolov9.train.finetune import take_over
from edge_yolov9.train.folder import BEST, Folder
from edge_yolov9.train.loop import Result, Task, Trainer
from edge_yolov9.train.memory import check_batch, keep_freed_memory
from edge_yolov9.train.settings import RUNTIME, Settings
from edge_yolov9.train.validation import validate


@dataclass(frozen=True)
class Request:
    """One call of ``edge-yolov9 train``."""

    data: Path | None = None
    out: Path | None = None
    resume: Path | None = None
    pretrained: Path | None = None
    device: str = "auto"
    strict: bool = False
    licences: Mapping[str, str] = field(default_factory=dict)
    """``weights_licence`` and ``data_licence``, which compiled bundles repeat."""
    settings: Mapping[str, Any] | None = None
    """The settings that were given; others keep their default, or what the resumed run has."""


def train_checkpoint(
    data: str | Path | None,
    out: str | Path | None = None,
    *,
    settings: Settings | None = None,
    pretrained: str | Path | None = None,
    resume: str | Path | None = None,
    device: str = "auto",
    strict: bool = False,
) -> Result:
    """Train a detector, as ``edge-yolov9 train`` does; progress goes to standard error.

    Args:
        data: DATA file (YAML) with ``train``, ``val`` and ``names``; None with ``resume``, for the run's own.
        out: new folder of the run; ``runs/MODEL`` when None.
        settings: the recipe; the published one when None, or the resumed run's.
        pretrained: checkpoint whose weights are fine-tuned.
        resume: folder of an interrupted run that goes on.
        device: ``auto``, ``cpu``, ``cuda`` or the number of a GPU.
        strict: whether a problem in the data ends the run before it begins.

    Returns:
        Whether the run finished, its best AP in [0, 1] and epoch, and its folder with ``best.safetensors``.

    Raises:
        InputError, DataError: something that was asked for cannot be; nothing was overwritten.
        TrainingError: the run could not go on; what it saved is kept.
    """

    def path(value: str | Path | None) -> Path | None:
        return None if value is None else Path(value)

    given = None if settings is None else settings.as_dict()
    return start(Request(path(data), path(out), path(resume), path(pretrained), device, strict, {}, given))


def start(request: Request) -> Result:
    """Train, or go on training.

    Raises:
        InputError: something that was asked for cannot be; nothing was overwritten.
        TrainingError: the run could not go on; what it saved is kept.
    """
    if request.resume is not None and (request.out is not None or request.pretrained is not None):
        raise InputError("--resume goes on in its own folder with its own weights; leave out --out and --pretrained")
    settings, data = _settings_and_data(request)
    keep_freed_memory()
    with joined(request.device) as group, ExitStack() as held:
        return _run(request, settings, data, group, held)


def _settings_and_data(request: Request) -> tuple[Settings, Path]:
    """The settings of the run and its DATA file."""
    given = dict(request.settings or {})
    if request.resume is None:
        if request.data is None:
            raise InputError("--data is missing: the YAML that names train, val and the classes")
        settings = Settings(**given)
        if settings.head == "auto" and request.pretrained is not None:
            settings = replace(settings, head=load(request.pretrained, unnamed=True).model.options.head)
        return settings, request.data
    _, position, run = Folder(request.resume).read()
    settings = Settings.from_dict(run["settings"])
    wrong = settings.differences(replace(settings, **given))
    if wrong:
        raise InputError(f"the run in {request.resume} has other settings: {'; '.join(wrong)}; leave these out")
    if position.epoch >= settings.epochs:
        raise InputError(f"the run in {request.resume} is finished after {position.epoch} epochs; nothing to resume")
    return replace(settings, **{k: v for k, v in given.items() if k in RUNTIME}), request.data or Path(run["data"])


def _run(request: Request, settings: Settings, data: Path, group: Group, held: ExitStack) -> Result:
    def say(text: str) -> None:
        if group.leads:
            print(printable(text), file=sys.stderr, flush=True)

    dataset = load_data(data)
    train, val = splits(dataset)

    def looking(done: int, total: int) -> None:
        if group.leads and sys.stderr.isatty():
            shown = "" if done == total else f"look at {done} of {total} images"
            print(f"{CLEAR_LINE}{shown}", end="", file=sys.stderr, flush=True)

    checked = survey(train, val, looking)
    say(checked.summary)
    checked.findings.settle(request.strict, lambda line: None)  # the summary has every line
    check_labelled(checked.val, data)
    model, facts = _model(request, settings, dataset.names, say)
    check_batch(
        model,
        settings.imgsz,
        settings.batch // group.world,
        group.device,
        precision(settings, group.device) is not None,
    )
    folder = _folder(request, settings, group, held)
    task = Task(
        checked.pictures,
        dataset.names,
        lambda averaged: validate(averaged, checked.val, settings.imgsz),
        str(data.resolve()),
        checked.digest,
    )
    facts |= request.licences
    trainer = Trainer(model, task, settings, folder, group, facts=facts, resume=request.resume is not None)
    if request.resume is None:
        trainer.save()  # killed from here on, the run can be resumed
        if group.leads:
            pictures.training_batch(folder, trainer.data, dataset.names)
    result = trainer.run()
    if result.finished:
        say(f"best AP {result.best_ap:.4f} in epoch {result.best_epoch}: {folder.path / BEST}")
        if group.leads:
            _draw(folder, trainer.position.history, checked.val, settings.imgsz, say)
    return result


def _draw(folder: Folder, history: Sequence[Mapping[str, float]], val: Split, imgsz: int, say: Any) -> None:
    """Leave the run's figures; they never turn a finished run into a failed one."""
    try:
        pictures.outcome(folder, history, val, imgsz)
        say(f"figures and pictures: {folder.path}")
    except (EdgeYoloError, ImportError) as error:
        say(f"no figures: {import_fault(error) or error}")


def _model(request: Request, settings: Settings, names: tuple[str, ...], say: Any) -> tuple[YOLOv9, dict[str, Any]]:
    """A model whose random weights depend on the seed alone, and what to note about it."""
    torch.manual_seed(settings.seed)
    model = build(settings.model, len(names), settings.graph)
    if request.pretrained is None:
        return model, {}
    taken = take_over(model, request.pretrained, names)
    say(str(taken))
    return model, {"pretrained": {"source": taken.source, "fresh": list(taken.fresh)}}


def _folder(request: Request, settings: Settings, group: Group, held: ExitStack) -> Folder:
    """The folder of the run, which this run alone writes to as long as ``held`` lasts."""
    folder = Folder(request.resume or request.out or Path("runs") / settings.model)
    if group.leads:
        held.enter_context(folder.alone())
        if request.resume is None:
            return Folder.fresh(folder.path)
    return folder
