"""The run: epochs of batches, validation of the moving average, saving, stopping, going on.

Folder.fresh ─> Trainer(...).run()          Folder(path) ─> Trainer(..., resume=True).run()
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NoReturn

from edge_yolov9.checkpoint import Checkpoint
from edge_yolov9.errors import InputError, TrainingError
from edge_yolov9.model import YOLOv9
from edge_yolov9.scoring.accuracy import Accuracy
from edge_yolov9.system.cpu import free_memory
from edge_yolov9.train.dataset import Batch, Loader, Order, Picture, TrainingSet
from edge_yolov9.train.distributed import Group
from edge_yolov9.train.engine import Engine, EngineState
from edge_yolov9.train.fault import NotFinite
from edge_yolov9.train.folder import Folder
from edge_yolov9.train.interrupt import Interrupt
from edge_yolov9.train.optimizer import Schedule
from edge_yolov9.train.progress import Progress
from edge_yolov9.train.settings import Settings
from edge_yolov9.train.state import Position
from edge_yolov9.train.tensorboard import Board

Validate = Callable[[YOLOv9], Accuracy]
"""COCO figures of a model in eval mode, on its own device."""


@dataclass(frozen=True)
class Task:
    """What is learnt from what."""

    pictures: Sequence[Picture]
    names: tuple[str, ...]
    validate: Validate
    data: str = ""
    """The DATA file."""
    digest: str = ""
    """Digest of the training images and labels, by which a resumed run sees whether they changed."""


@dataclass(frozen=True)
class Result:
    """How a run ended."""

    finished: bool
    """False when it was interrupted; ``--resume`` goes on."""
    best_ap: float
    best_epoch: int
    """Counts from 1; 0 when no epoch was finished."""
    folder: Path
    """Where the run lies: ``best.safetensors``, ``last.safetensors``, ``results.csv``, figures and the state."""


class Trainer:
    """One process of a run."""

    def __init__(
        self,
        model: YOLOv9,
        task: Task,
        settings: Settings,
        folder: Folder,
        group: Group = Group(),  # noqa: B008
        *,
        facts: dict[str, Any] | None = None,
        resume: bool = False,
        loud: bool = True,
    ) -> None:
        """``facts`` go into every checkpoint. ``resume`` goes on from the folder's state."""
        if settings.batch < group.world or settings.batch % group.world:
            raise InputError(f"--batch must be a multiple of the {group.world} processes, got {settings.batch}")
        if not task.pictures:
            raise InputError("there are no training images")
        self.task, self.settings, self.folder, self.group = task, settings, folder, group
        self.facts = facts or {}
        self.engine = Engine(model, settings, group)
        self.position = Position()
        repaired = self._restore() if resume else ""
        self.data = TrainingSet(task.pictures, settings)
        self.order = Order(len(task.pictures), settings, group.rank, group.world)
        self.schedule = Schedule(settings, self.order.batches)
        self.progress = Progress(settings, self.order.batches, loud and group.leads)
        if repaired:
            self.progress.say(repaired)
        self.board = Board(folder.path)
        self._saved = time.monotonic()

    @property
    def _run(self) -> dict[str, Any]:
        """What must be the same when the run is resumed."""
        settings = self.settings.as_dict()
        return {"settings": settings, "data": self.task.data, "digest": self.task.digest, "facts": self.facts}

    def run(self) -> Result:
        """Train to the end, to an early stop or to an interruption."""
        loader = self._loader()
        with contextlib.closing(self.board), Interrupt() as interrupt:
            while self.position.epoch < self.settings.epochs:
                if self._stale():
                    self.progress.say(f"stopped: no better AP in {self._epochs_since_best()} epochs")
                    break
                if not self._epoch(loader, interrupt):
                    self.progress.say(f"\ninterrupted and saved; go on with --resume {self.folder.path}")
                    return self._result(False)
        return self._result(True)

    def _loader(self) -> Loader:
        cached = self.data.fill_cache(free_memory() // self.group.world)
        cuda = self.group.device.type == "cuda"
        workers = self.settings.workers
        if workers is None:
            workers = min(8, max(1, (os.cpu_count() or 1) // self.group.world - 1)) if cuda else 0
        self.progress.say(
            f"{self.settings.model}: {len(self.data)} images ({'in memory' if cached else 'read from disk'}), "
            f"{self.order.batches} batches of {self.settings.batch}, {workers} workers, {self.group.device}"
        )
        return Loader(self.data, self.order, workers, pin=cuda)

    def _epoch(self, loader: Loader, interrupt: Interrupt) -> bool:
        """One epoch, or the rest of one. False when it was interrupted, and saved."""
        epoch, started, first = self.position.epoch, time.monotonic(), self.position.batch
        self.engine.train()
        for number, batch in enumerate(loader.epoch(epoch, first), first):
            last = number + 1 == self.order.batches
            stepped = self._iteration(epoch, number, batch, last)
            if last or not stepped:
                continue
            if self.group.any(interrupt.asked):
                self.save()
                return False
            if self.group.from_first(time.monotonic() - self._saved) > 60 * self.settings.save_minutes:
                self.save()
        images = self.order.size - first * self.settings.batch
        self._finish_epoch(epoch, images / (time.monotonic() - started), time.monotonic() - started)
        return not self.group.any(interrupt.asked) or self.position.epoch >= self.settings.epochs

    def _iteration(self, epoch: int, number: int, batch: Batch, last: bool) -> bool:
        """Forward and backward, and a step when enough gradients are there; whether there was a step."""
        rates, skipped = self.schedule.at(epoch, number, self.position.skipped), self.position.skipped
        step = last or self.engine.pending + 1 >= rates.accumulate
        size = min(self.settings.batch, self.order.size - number * self.settings.batch)
        try:
            outcome = self.engine.gradients(batch, size, step)
            pending = self.engine.pending
            if step and not self.engine.step(rates):
                skipped += pending
        except NotFinite as fault:
            self._stop_on_bad(batch, epoch, number, fault)
        sums = tuple(a + b for a, b in zip(self.position.sums, outcome.terms, strict=True))
        updates = self.engine.average.updates
        self.position = replace(self.position, batch=number + 1, updates=updates, skipped=skipped, sums=sums)
        self.progress.iteration(epoch, number, sums, outcome, rates.lr)
        return step

    def _finish_epoch(self, epoch: int, speed: float, seconds: float) -> None:
        """Validate the average in process 0, and save."""
        position = self.position
        mean = [value / self.order.batches for value in position.sums]
        accuracy = self.task.validate(self.engine.average.model) if self.group.leads else None
        figures = {name: (accuracy.figures[name] or 0.0) if accuracy else 0.0 for name in ("AP", "AP50", "AP75")}
        best = figures["AP"] > position.best_ap
        row = {"epoch": epoch + 1, "class": mean[0], "box": mean[1], "dfl": mean[2]}
        row |= {"lr": self.schedule.at(epoch, self.order.batches - 1, position.skipped).lr, **figures}
        row |= {"images_per_s": round(speed, 2), "seconds": round(seconds, 2)}
        self.position = Position(
            epoch=epoch + 1,
            updates=position.updates,
            skipped=position.skipped,
            history=(*position.history, row),
            best_epoch=int(self.group.from_first(epoch if best else position.best_epoch)),
            best_ap=self.group.from_first(figures["AP"] if best else position.best_ap),
        )
        if self.group.leads:
            self.folder.save_epoch(self._checkpoint(epoch, row), self.position.history, best)
            self.board.epoch(row)
            self.progress.epoch(row, self.position.best_ap)
        self.save()

    def _checkpoint(self, epoch: int, row: dict[str, float] | None = None) -> Checkpoint:
        """The moving average as a checkpoint."""
        training = {"epoch": epoch + 1, "settings": self.settings.as_dict(), "data": self.task.data}
        if row:
            training["accuracy"] = {key: row[key] for key in ("AP", "AP50", "AP75")}
        size = self.settings.imgsz, self.settings.imgsz
        return Checkpoint(self.engine.average.model, self.task.names, size, {"training": training, **self.facts})

    def save(self) -> None:
        """Make this the place where ``--resume`` goes on. Not inside an accumulation of gradients."""
        self._saved = time.monotonic()
        state = self.engine.state()
        self.position = replace(self.position, updates=state.updates, scaler=state.scaler)
        if self.group.leads:
            self.folder.save_state(state.tensors, self.position, self._run)

    def _restore(self) -> str:
        """Go back to where the folder's state stands; what had to be repaired."""
        tensors, self.position, run = self.folder.read()
        self.facts = run["facts"]
        wrong = Settings.from_dict(run["settings"]).differences(self.settings)
        if wrong:
            raise InputError(f"{self.folder.path} was trained with other settings: {'; '.join(wrong)}")
        if run["digest"] != self.task.digest:
            raise InputError(f"the training images or labels of {self.task.data} changed since the run began")
        return self.engine.restore(EngineState(tensors, self.position.updates, self.position.scaler))

    def _stale(self) -> bool:
        """Whether the best AP is older than the patience."""
        patience = self.settings.patience
        return patience > 0 and bool(self.position.history) and self._epochs_since_best() >= patience

    def _epochs_since_best(self) -> int:
        return self.position.epoch - 1 - self.position.best_epoch

    def _stop_on_bad(self, batch: Batch, epoch: int, number: int, fault: NotFinite) -> NoReturn:
        """Name and keep the batch that cannot be used, and end the run."""
        files = [str(self.task.pictures[i].path) for i in batch.indices]
        kept = self.folder.save_batch(batch, files, self.group.rank)
        raise TrainingError(
            f"epoch {epoch + 1}, batch {number + 1} ({', '.join(files[:3])}, ...), kept as {kept}: {fault}"
        ) from fault

    def _result(self, finished: bool) -> Result:
        return Result(finished, max(self.position.best_ap, 0.0), self.position.best_epoch + 1, self.folder.path)
