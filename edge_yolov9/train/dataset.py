"""Training batches. What an image looks like depends on (seed, epoch, index) alone, so neither the number of
workers nor an interruption changes it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from edge_yolov9.data.objects import Outline
from edge_yolov9.geometry import Image, Letterbox
from edge_yolov9.images import read_image
from edge_yolov9.train.augment import Boxes, Sample, affine, copy_paste, flip, mixup, mosaic, place, shift_colours
from edge_yolov9.train.settings import Settings

Key = tuple[int, int]
"""(epoch, index of the image)."""


@dataclass(frozen=True)
class Picture:
    """One labelled image file."""

    path: Path
    boxes: Boxes
    """(N, 5) float32 rows (class, x1, y1, x2, y2), pixels of the file."""
    outlines: tuple[Outline, ...] = ()
    """One per box, in fractions of the image; empty where no object has one."""


@dataclass(frozen=True)
class Batch:
    """What one iteration sees."""

    images: Tensor
    """(B, S, S, 3) uint8 RGB."""
    boxes: Tensor
    """(G, 6) float32 rows (image in the batch, class, x1, y1, x2, y2), pixels of the input."""
    indices: tuple[int, ...]
    """Which images of the data set lead the batch (a mosaic shows three more)."""

    def pin_memory(self) -> Batch:
        """Copy into page-locked memory (called by the loader)."""
        return Batch(self.images.pin_memory(), self.boxes.pin_memory(), self.indices)


Indexed = tuple[int, Sample]
"""The index of the image that leads a sample, and the sample."""


class TrainingSet(Dataset[Indexed]):
    """Augmented samples of one split."""

    def __init__(self, pictures: Sequence[Picture], settings: Settings) -> None:
        self.pictures = list(pictures)
        self.settings = settings
        self._memory: list[Sample] | None = None

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, key: Key) -> Indexed:
        """The sample for ``(epoch, index)``, with its index."""
        return key[1], self.sample(*key)

    def sample(self, epoch: int, index: int) -> Sample:
        """An augmented image (S, S, 3) uint8 RGB and its boxes (N, 5) in pixels of it."""
        s = self.settings
        rng = np.random.default_rng((s.seed, epoch, index))
        if epoch >= s.epochs - s.close_mosaic:
            sample = place(self.load(index), s.imgsz)
        elif rng.random() < s.mosaic:
            sample = self._mosaic(index, rng)
            if rng.random() < s.mixup:
                sample = mixup(sample, self._mosaic(int(rng.integers(len(self))), rng), s.mixup_beta, rng)
        else:
            sample = affine(place(self._pasted(index, rng), s.imgsz), s.imgsz, s, rng)
        sample = shift_colours(sample[0], s, rng), sample[1]
        if rng.random() < s.flip:
            sample = flip(sample)
        return np.asarray(cv2.cvtColor(sample[0], cv2.COLOR_BGR2RGB), np.uint8), sample[1]

    def _mosaic(self, index: int, rng: np.random.Generator) -> Sample:
        others = (int(i) for i in rng.integers(len(self), size=3))
        parts = [self._pasted(i, rng) for i in (index, *others)]
        return affine(mosaic(parts, self.settings.imgsz, rng), self.settings.imgsz, self.settings, rng)

    def _pasted(self, index: int, rng: np.random.Generator) -> Sample:
        """One image with more objects than it came with, where their outlines are known."""
        sample, fractions = self.load(index), self.pictures[index].outlines
        if not fractions:
            return sample
        size = np.array(sample[0].shape[1::-1], np.float32)
        outlines = [tuple(part * size for part in outline) for outline in fractions]
        return copy_paste(sample, outlines, self.settings.copy_paste, rng)

    def load(self, index: int) -> Sample:
        """One image, resized so that its long side is the input's, and its boxes. Not to be written to."""
        return self._read(index) if self._memory is None else self._memory[index]

    def _read(self, index: int) -> Sample:
        picture, size = self.pictures[index], self.settings.imgsz
        image = read_image(picture.path)
        h, w = Letterbox.fit((image.shape[0], image.shape[1]), (size, size)).resized
        scale_x, scale_y = w / image.shape[1], h / image.shape[0]
        scale = np.array([1, scale_x, scale_y, scale_x, scale_y])
        return _resize(image, h, w), (picture.boxes * scale).astype(np.float32)

    def fill_cache(self, available_bytes: int) -> bool:
        """Keep every image in memory if all of them fit in half of ``available_bytes``; says whether they do."""
        if not self.settings.cache or len(self) * self.settings.imgsz**2 * 3 > available_bytes / 2:
            return False
        with ThreadPoolExecutor() as pool:
            self._memory = list(pool.map(self._read, range(len(self))))
        return True


def _resize(image: Image, height: int, width: int) -> Image:
    if image.shape[:2] == (height, width):
        return image
    shrinks = height * width < image.shape[0] * image.shape[1]
    rule = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(image, (width, height), interpolation=rule), np.uint8)


class Order:
    """The keys of one process's share of every batch of one epoch, from batch ``start`` on."""

    def __init__(self, size: int, settings: Settings, rank: int = 0, world: int = 1) -> None:
        self.settings, self.rank, self.world = settings, rank, world
        self.size = -(-size // world) * world  # a multiple of the processes: the first images fill up
        self._images = size
        self.epoch = self.start = 0

    def __len__(self) -> int:
        return self.batches - self.start

    @property
    def batches(self) -> int:
        """Batches of a whole epoch."""
        return -(-self.size // self.settings.batch)

    def __iter__(self) -> Iterator[list[Key]]:
        order: NDArray[np.int64] = np.random.default_rng((self.settings.seed, self.epoch)).permutation(self._images)
        order = np.resize(order, self.size)
        for first in range(self.start * self.settings.batch, self.size, self.settings.batch):
            mine = order[first : first + self.settings.batch][self.rank :: self.world]
            yield [(self.epoch, int(index)) for index in mine]


class Loader:
    """Iterates over the batches of an epoch, prepared here or by worker processes."""

    def __init__(self, data: TrainingSet, order: Order, workers: int, pin: bool) -> None:
        self.order = order
        self._loader: DataLoader[Indexed] = DataLoader(
            data,
            batch_sampler=order,
            num_workers=workers,
            collate_fn=collate,
            pin_memory=pin,
            persistent_workers=workers > 0,
            worker_init_fn=_one_thread,
            generator=torch.Generator(),  # of its own: the loader draws one number per epoch
        )

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """Batches ``start``, ``start + 1``, ... of an epoch."""
        self.order.epoch, self.order.start = epoch, start
        yield from self._loader


def _one_thread(_: int) -> None:
    cv2.setNumThreads(0)
    torch.set_num_threads(1)


def collate(samples: Sequence[Indexed]) -> Batch:
    """Stack images; number the boxes by their image."""
    images = torch.from_numpy(np.stack([image for _, (image, _) in samples]))
    rows = [np.insert(boxes, 0, i, axis=1) for i, (_, (_, boxes)) in enumerate(samples)]
    boxes = torch.from_numpy(np.concatenate(rows).astype(np.float32))
    return Batch(images, boxes, tuple(index for index, _ in samples))
